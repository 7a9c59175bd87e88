#!lua flags=allow-oom
-- task_reassign: takes a task from its holder: its token is stale from then on. It goes back to its queue, the attempt
-- not charged, or to another instance as task_assign leases it. A pending task can be given to an instance, too. Taken
-- with a reason, it is not for its old holder any more (include/deny.lua).
-- KEYS  the envelope's; request: the task
-- ARGV  operation: task.lease_ms
--       request: task id, instance id ('' = its queue), reason ('' = none), 11 characters from the kernel
-- Returns as the envelope. Caller: worker, task.reassign.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include held.lua
-- @include instance.lua
-- @include assign.lua
-- @include deny.lua

function op(r)
    local id, to, reason, secret = ARGV[r.a + 1], ARGV[r.a + 2], ARGV[r.a + 3], ARGV[r.a + 4]
    local key = KEYS[r.k + 1]
    local t = lease_read(key)
    if not t then
        return not_found(id)
    end
    local is_held = t.status == 'in_progress'
    if not is_held and t.status ~= 'pending' then
        return conflict('state', t.status, 'the task is ' .. t.status)
    end
    local result = '{"id":"' .. id .. '","assignedTo":' .. (to ~= '' and S(to) or 'null') .. '}'
    if not is_held and to == '' then
        return result, false -- it is where it is to go
    end
    local plan, incarnation, code, message, data
    if to ~= '' then
        incarnation, code, message, data = assign_check(to, is_held and t.assigned and t.holder == to)
        if not incarnation then
            return nil, code, message, data
        end
        plan = assign_plan(t, t.lease_ms or op_arg(1), secret)
    end
    want_moves()
    want_queue(t.queue, t.roles)
    if is_held then
        lease_want(t)
        unlease(id, t.holder, t.assigned)
    else
        queue_remove(id, t.queue, t.roles)
        queue_forget(t.queue, t.roles or '')
    end
    local before = is_held and math.max(0, t.attempts - 1) or t.attempts
    if plan then
        assign_write(id, t, key, plan, to, incarnation, before + 1)
    else
        to_pending(id, t.queue, t.priority, t.roles, before, 'in_progress')
    end
    if is_held and reason ~= '' then
        call('HSET', key, 'dn', deny_add(t.denied, t.holder))
    end
    emit('task.reassigned', {'id', id, 'from', is_held and t.holder or '', 'to', to, 'reason', reason, 'queue', t.queue})
    return result
end
-- @include commit.lua
