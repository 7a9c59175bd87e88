#!lua flags=allow-oom
-- task_cancel: ends a task that has not ended, whoever works on it: a running attempt loses its lease at once.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: the four of include/retention.lua
--       request: task id, version that it must have ('' = any), reason (JSON or '')
-- Returns as the envelope. Caller: worker, task.cancel.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include history.lua
-- @include dependents.lua
-- @include leave.lua
-- @include retention.lua
-- @include cancel.lua
-- @include cancel_group.lua

function op(r)
    local id, key, reason = ARGV[r.a + 1], KEYS[r.k + 1], ARGV[r.a + 3]
    local t, code, message, data = version_read(id, key, ARGV[r.a + 2])
    if not t then
        return nil, code, message, data
    end
    local outcome = '{"id":"' .. id .. '","status":"cancelled"}'
    if t.status == 'cancelled' then
        return outcome
    end
    if ENDED[t.status] then
        return conflict('state', t.status, 'the task is ' .. t.status)
    end
    cancel_want(id, t, reason)
    cancel(id, t, reason)
    return outcome
end
-- @include commit.lua
