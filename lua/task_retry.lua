#!lua flags=allow-oom
-- task_retry: brings a task that failed for good, or was cancelled, back to its queue. What waited for it and failed is not
-- brought back, and it waits for nobody.
-- KEYS  the envelope's; request: the task
-- ARGV  request: task id, version that it must have ('' = any), further attempts ('' = all of them anew)
-- Returns as the envelope. Caller: worker, task.retry.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include dependents.lua
-- @include leave.lua

-- Its unique key must not be another live task's by now. Returns true, or nil and the error.
local function take_unique(id, t)
    local name = t.extra and dependents().has_mark(t, 'u') and call('HGET', task_key(id), 'uk')
    if not name then
        return true
    end
    local key = dependents().unique_key(t.queue, name)
    want('string', key)
    local other = dependents().unique_holder(key)
    if other and other ~= id then
        return nil, -32005, 'another live task has the unique key', '{"reason":"unique_key","state":"' .. t.status
            .. '","id":"' .. other .. '"}'
    end
    return true, key
end

function op(r)
    local id, key, more = ARGV[r.a + 1], KEYS[r.k + 1], ARGV[r.a + 3]
    local t, code, message, data = version_read(id, key, ARGV[r.a + 2])
    if not t then
        return nil, code, message, data
    end
    if t.status ~= 'failed' and t.status ~= 'cancelled' then
        return conflict('state', t.status, 'the task is ' .. t.status)
    end
    leave_want(id, t)
    want_queue(t.queue, t.roles)
    local free, unique, why, details = take_unique(id, t)
    if not free then
        return nil, unique, why, details
    end
    leave(id, t)
    if unique then
        call('SET', unique, id)
    end
    local attempts = 0
    if more ~= '' then
        attempts = t.attempts
        local c = t.constants
        call('HSET', key, 'c', constants_text(c[1], I(t.attempts + tonumber(more)), c[3], c[4], c.marks, c[6]))
    end
    call('HDEL', key, 'cc', 'dn', 'dop', 'dtk', 'dby', 'dou')
    to_pending(id, t.queue, t.priority, t.roles, attempts, t.status)
    emit('task.retried', {'id', id, 'queue', t.queue, 'from', t.status})
    return '{"id":"' .. id .. '","status":"pending"}'
end
-- @include commit.lua
