#!lua flags=allow-oom
-- task_renew: extends a lease, counted from now.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: task.lease_ms; request: task id, lease token, extend_ms ('' = the task's lease_ms, or what the
--       claim asked for if that is longer)
-- Returns as the envelope. Caller: worker, task.renew.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua

function op(r)
    local a, key = r.a, KEYS[r.k + 1]
    local id = ARGV[a + 1]
    local t = lease_read(key)
    if not t then
        return not_found(id)
    end
    if t.status ~= 'in_progress' or t.token ~= ARGV[a + 2] or not t.state.hold then
        return conflict('stale_lease', t.status, 'the lease is not the current one')
    end
    want('zset', P .. 'leases')
    local asked = ARGV[a + 3] ~= '' and ARGV[a + 3] or nil
    return '{"lease_until":' .. ISO(extend_lease(id, t.state, asked, t.lease_ms or op_arg(1))) .. '}'
end
-- @include commit.lua
