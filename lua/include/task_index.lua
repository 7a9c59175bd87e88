-- task_index.lua: the sets that tasks are found in, one after the other, for what looks at all of them page by page.
-- Needs task.lua.
local BEHIND_ALL = ' 1e999 t-0' -- score and id of a cursor that stands behind a whole set
local BEFORE_ALL = ' -1e999 t-0' -- the same, when it is gone through from its end
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

-- The same for who goes through the set from its end: the rank, counted from there, of the last member before (score, id).
local function rank_before(key, score, id)
    local there = call('ZSCORE', key, id) == score and 1 or 0
    return call('ZCARD', key) - rank_behind(key, score, id) + there
end

-- The key of a set that next_set() named.
local function index_key(stage, set)
    if stage ~= 'pending' then
        return P .. INDEX[stage]
    end
    local queue, role = string.match(set, '^([^/]+)/?(.*)$')
    return role ~= '' and role_key(queue, role) or queue_key(queue)
end

-- look(set, key) for the sets of a stage, from the one that a cursor names (nil: the first) on, until it returns something, which is
-- what this returns.
local function each_set(stage, set, look)
    local key
    if set then
        key = index_key(stage, set)
    else
        set, key = next_set(stage, '', '')
    end
    while set do
        local found = look(set, key)
        if found then
            return found
        end
        set, key = next_set(stage, set, '')
    end
end

-- A pending task with several roles lies in several sets: it is shown with the first one.
local function is_first_set(roles, set)
    local role = string.match(set, '/(.*)$')
    return not role or string.match(roles or '', '^%S*') == role
end
