#!lua flags=allow-oom
-- task_repair: takes entries out of indexes that lead nowhere, and puts counts right, as task_audit found them (claudebench doctor
-- --repair). All is looked at again: what has changed meanwhile stays as it is.
-- KEYS  the envelope's
-- ARGV  request: number of entries, then index, queue, role, task id and instance of each ('' = none); number of counts, then
--       queue, state, what it counts and what it should count, of each
-- Returns as the envelope. Caller: worker, task.repair.
-- @include envelope.lua
-- @include task.lua
-- @include task_index.lua

local function index_of(e)
    if e.index == 'held' then
        return held_key(e.instance)
    elseif e.index == 'assigned' then
        return assigned_key(e.instance)
    elseif e.index == 'dead' then
        return P .. 'queue:dead'
    elseif INDEX[e.index] then
        return P .. INDEX[e.index]
    end
    return e.role ~= '' and role_key(e.queue, e.role) or queue_key(e.queue)
end

-- Where a task of this state has to be. A pending one is told by its queue's own set.
local function is_listed_rightly(id, status, queue, roles)
    local role = string.match(roles or '', '%S+')
    local key = INDEX[status] and P .. INDEX[status] or role and role_key(queue or '', role) or queue_key(queue or '')
    return type(redis.pcall('ZSCORE', key, id)) == 'string'
end

-- Does the entry say something else than the task, which is found where it belongs (or is no more)?
local function is_stale(e)
    local f = task_read(task_key(e.id), {'s', 'c', 'ro'})
    if f.err then
        return false
    elseif not f[1] then
        return call('EXISTS', task_key(e.id)) == 0
    end
    local s, c, roles = task_state(f[1]), task_constants(f[2]), f[3] or ''
    local status, queue = s.status, c and c[6]
    if not is_listed_rightly(e.id, status, queue, roles) then
        return false
    elseif e.index == 'held' or e.index == 'assigned' then
        return status ~= 'in_progress' or not s.hold or s.hold[4] ~= e.instance
    elseif e.index == 'dead' or INDEX[e.index] then
        return status ~= (e.index == 'dead' and 'failed' or e.index)
    end
    return status ~= 'pending' or queue ~= e.queue or (e.role == '') ~= (roles == '')
end

local function repair_entry(e)
    local key, is_held = index_of(e), e.index == 'held'
    if not is_stale(e) or not has_type(is_held and 'set' or 'zset', key) then
        return false
    end
    local gone = call(is_held and 'SREM' or 'ZREM', key, e.id) == 1
    if gone and is_held then
        load_change(e.instance, -1)
    end
    return gone
end

local function repair_count(queue, state, counter, truth)
    local field = 'q:' .. queue .. ':' .. state
    if tonumber(call('HGET', COUNTS, field) or '0') ~= counter then
        return false
    end
    count_move(queue, state, nil, counter - truth)
    if truth > 0 then
        call('ZADD', P .. 'queues', 0, queue)
    end
    return true
end

-- Pending tasks are counted in all as well. Not with more queues than one call may look at.
local function repair_pending()
    local names, sum = call('ZRANGE', P .. 'queues', 0, 1000), 0
    if #names > 1000 then
        return false
    end
    for i = 1, #names do
        sum = sum + tonumber(call('HGET', COUNTS, 'q:' .. names[i] .. ':pending') or '0')
    end
    local before = tonumber(call('HGET', COUNTS, 'pending') or '0')
    call('HSET', COUNTS, 'pending', I(sum))
    return before ~= sum
end

function op(r)
    local a, removed, recounted = r.a + 1, 0, 0
    want('hash', COUNTS)
    want('zset', P .. 'queues')
    local entries = tonumber(ARGV[a])
    for i = 0, entries - 1 do
        local e = a + 5 * i
        if repair_entry({index = ARGV[e + 1], queue = ARGV[e + 2], role = ARGV[e + 3], id = ARGV[e + 4], instance = ARGV[e + 5]}) then
            removed = removed + 1
        end
    end
    a = a + 5 * entries + 1
    for i = 0, tonumber(ARGV[a]) - 1 do
        local c = a + 4 * i
        if repair_count(ARGV[c + 1], ARGV[c + 2], tonumber(ARGV[c + 3]), tonumber(ARGV[c + 4])) then
            recounted = recounted + 1
        end
    end
    counts_flush()
    if repair_pending() then
        recounted = recounted + 1
    end
    if removed + recounted > 0 then
        emit('tasks.repaired', {'entries', I(removed), 'counts', I(recounted)})
    end
    return '{"removed":' .. I(removed) .. ',"recounted":' .. I(recounted) .. '}'
end
-- @include commit.lua
