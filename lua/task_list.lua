#!lua flags=allow-oom
-- task_list: a page of tasks. Looks at no more than 500 tasks and sets per call; what a state's index holds is exact.
-- KEYS  the envelope's
-- ARGV  request: state ('' = all), queue ('' = all), assigned to ('' = all), text that the task's text contains
--       ('' = all), limit, cursor ('' = from the start): stage, set, score and id of the last one looked at,
--       joined by spaces; `newest` when of those that have ended the last one comes first
-- Returns as the envelope. Caller: worker, task.list.
-- @include envelope.lua
-- @include task.lua
-- @include task_index.lua

local EXAMINE, BYTES = 500, 700000

local function matches(t, set, queue, assigned, text)
    local s = task_state(t[1])
    local hold = assigned ~= '' and s.status == 'in_progress' and s.hold
    return is_first_set(t[4], set) and (queue == '' or (task_constants(t[2]) or {})[6] == queue) and (assigned == '' or hold and hold[4] == assigned)
        and (text == '' or string.find(t[3], text, 1, true))
end

local function page_json(tasks, cursor)
    return '{"tasks":[' .. table.concat(tasks, ',') .. (cursor and '],"next":"' .. cursor .. '"}' or ']}')
end

function op(r)
    local a = r.a
    local status, queue, assigned, text = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
    local limit = tonumber(ARGV[a + 5])
    local is_newest = ARGV[a + 7] == 'newest'
    local stage, set, score, last = string.match(ARGV[a + 6], '^(%d+) (%S+) (%S+) (%S+)$')
    local out, examined, bytes = {}, 0, 0
    local columns = {}
    for i = 1, TASK_SUMMARY do
        columns[i] = TASK_PUBLIC[i]
    end
    for n = tonumber(stage or '1'), #STAGES do
        local state = STAGES[n]
        if status == '' or status == state then
            local is_reversed = is_newest and ENDED[state] ~= nil
            local name, key
            if set then
                name, key = set, index_key(state, set)
            else
                name, key = next_set(state, '', queue)
            end
            while name do
                local behind = is_reversed and rank_before or rank_behind
                local from = set and behind(key, score, last) or 0
                set = nil
                local to = from + EXAMINE - examined - 1
                local page = is_reversed and call('ZRANGE', key, from, to, 'REV', 'WITHSCORES') or call('ZRANGE', key, from, to, 'WITHSCORES')
                for i = 1, #page, 2 do
                    local t = task_read(task_key(page[i]), columns)
                    examined = examined + 1
                    if t.err then
                        error(t)
                    elseif t[1] and task_state(t[1]).status == state and matches(t, name, queue, assigned, text) then
                        out[#out + 1] = task_text(page[i], t)
                        bytes = bytes + #out[#out]
                    end
                    local cursor = n .. ' ' .. name .. ' ' .. page[i + 1] .. ' ' .. page[i]
                    if #out >= limit or bytes > BYTES or examined >= EXAMINE then
                        return page_json(out, cursor)
                    end
                end
                examined = examined + 1
                if examined >= EXAMINE then
                    return page_json(out, n .. ' ' .. name .. (is_reversed and BEFORE_ALL or BEHIND_ALL))
                end
                name, key = next_set(state, name, queue)
            end
        end
        set = nil
    end
    return page_json(out)
end
-- @include commit.lua
