#!lua flags=allow-oom
-- task_list: a page of tasks. Looks at no more than 500 tasks and sets per call; what a state's index holds is exact.
-- KEYS  the envelope's
-- ARGV  request: state ('' = all), queue ('' = all), assigned to ('' = all), text that the task's text contains
--       ('' = all), limit, cursor ('' = from the start): stage, set, score and id of the last one looked at,
--       joined by spaces
-- Returns as the envelope. Caller: worker, task.list.
-- @include envelope.lua
-- @include task.lua

local EXAMINE, BYTES = 500, 700000
local BEHIND_ALL = ' 1e999 t-0' -- score and id of a cursor that stands behind a whole set
local STAGES = {'pending', 'delayed', 'blocked', 'in_progress', 'completed', 'failed', 'cancelled'}
local INDEX = {delayed = 'queue:delayed', blocked = 'queue:blocked', in_progress = 'leases', completed = 'tasks:completed',
    failed = 'tasks:failed', cancelled = 'tasks:cancelled'}

-- The set behind a stage that follows `after` ('' = the first): pending tasks lie in many sets, whose names
-- (queue, or queue and role) are in cb:queues; every other state has one.
local function next_set(stage, after, queue)
    if stage ~= 'pending' then
        return after == '' and stage or nil, P .. INDEX[stage]
    end
    local from = after == '' and (queue == '' and '-' or '[' .. queue) or '(' .. string.gsub(after, '/', ' ')
    local name = call('ZRANGEBYLEX', P .. 'queues', from, '+', 'LIMIT', 0, 1)[1]
    if not name then
        return nil
    end
    local q, role = string.match(name, '^(%S+) ?(%S*)$')
    if queue ~= '' and q ~= queue then
        return nil -- "queue" and "queue role" sort before any other name that begins so
    end
    return (string.gsub(name, ' ', '/')), role ~= '' and role_key(q, role) or queue_key(q)
end

-- Rank of the first member behind (score, id): the one looked at last may have gone meanwhile.
local function rank_behind(key, score, id)
    local rank = call('ZRANK', key, id)
    if rank and call('ZSCORE', key, id) == score then
        return rank + 1
    end
    local low, high = 0, call('ZCARD', key)
    while low < high do
        local middle = math.floor((low + high) / 2)
        local m = call('ZRANGE', key, middle, middle, 'WITHSCORES')
        local s = tonumber(m[2])
        if s < tonumber(score) or s == tonumber(score) and m[1] <= id then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

-- A pending task with several roles lies in several sets: it is shown with the first one.
local function is_first_set(t, set)
    local role = string.match(set, '/(.*)$')
    return not role or string.match(t[10] or '', '^%S*') == role
end

local function matches(t, set, queue, assigned, text)
    return is_first_set(t, set) and (queue == '' or t[4] == queue) and (assigned == '' or t[11] == assigned)
        and (text == '' or string.find(t[1], text, 1, true))
end

local function page_json(tasks, cursor)
    return '{"tasks":[' .. table.concat(tasks, ',') .. (cursor and '],"next":"' .. cursor .. '"}' or ']}')
end

function op(r)
    local a = r.a
    local status, queue, assigned, text = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
    local limit = tonumber(ARGV[a + 5])
    local stage, set, score, last = string.match(ARGV[a + 6], '^(%d+) (%S+) (%S+) (%S+)$')
    local out, examined, bytes = {}, 0, 0
    local columns = {}
    for i = 1, TASK_SUMMARY do
        columns[i] = TASK_PUBLIC[i]
    end
    for n = tonumber(stage or '1'), #STAGES do
        local state = STAGES[n]
        if status == '' or status == state then
            local name, key
            if set then
                if state == 'pending' then
                    local q, role = string.match(set, '^([^/]+)/?(.*)$')
                    name, key = set, role ~= '' and role_key(q, role) or queue_key(q)
                else
                    name, key = set, P .. INDEX[state]
                end
            else
                name, key = next_set(state, '', queue)
            end
            while name do
                local from = set and rank_behind(key, score, last) or 0
                set = nil
                local page = call('ZRANGE', key, from, from + EXAMINE - examined - 1, 'WITHSCORES')
                for i = 1, #page, 2 do
                    local t = call('HMGET', task_key(page[i]), unpack(columns))
                    examined = examined + 1
                    if t[2] == state and matches(t, name, queue, assigned, text) then
                        out[#out + 1] = '{' .. task_members(page[i], t) .. '}'
                        bytes = bytes + #out[#out]
                    end
                    local cursor = n .. ' ' .. name .. ' ' .. page[i + 1] .. ' ' .. page[i]
                    if #out >= limit or bytes > BYTES or examined >= EXAMINE then
                        return page_json(out, cursor)
                    end
                end
                examined = examined + 1
                if examined >= EXAMINE then
                    return page_json(out, n .. ' ' .. name .. BEHIND_ALL)
                end
                name, key = next_set(state, name, queue)
            end
        end
        set = nil
    end
    return page_json(out)
end
-- @include commit.lua
