#!lua flags=allow-oom
-- task_assign: leases a pending task to an instance; its next claim hands it over, before anything else.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: task.lease_ms; request: task id, instance id, 11 characters from the kernel
-- Returns as the envelope. Caller: worker, task.assign.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include held.lua
-- @include instance.lua
-- @include assign.lua

function op(r)
    local id, instance, secret = ARGV[r.a + 1], ARGV[r.a + 2], ARGV[r.a + 3]
    local key = KEYS[r.k + 1]
    local t = lease_read(key)
    if not t then
        return not_found(id)
    end
    if t.status ~= 'pending' then
        return conflict('state', t.status, 'the task is ' .. t.status)
    end
    local incarnation, code, message, data = assign_check(instance)
    if not incarnation then
        return nil, code, message, data
    end
    want_queue(t.queue, t.roles)
    local plan = assign_plan(t, t.lease_ms or op_arg(1), secret)
    queue_remove(id, t.queue, t.roles)
    queue_forget(t.queue, t.roles or '')
    assign_write(id, t, key, plan, instance, incarnation, t.attempts + 1)
    emit('task.assigned', {'id', id, 'to', instance, 'attempt', I(t.attempts + 1), 'queue', t.queue})
    return '{"taskId":"' .. id .. '","instanceId":' .. S(instance) .. ',"assignedAt":' .. ISO(NOW) .. '}'
end
-- @include commit.lua
