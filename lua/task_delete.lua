#!lua flags=allow-oom
-- task_delete: removes a task that nobody works on, from every index, with all that is kept of it.
-- KEYS  the envelope's; request: the task
-- ARGV  request: task id, version that it must have ('' = any)
-- Returns as the envelope. Caller: worker, task.delete.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include dependents.lua
-- @include leave.lua

function op(r)
    local id, key = ARGV[r.a + 1], KEYS[r.k + 1]
    local t, code, message, data = version_read(id, key, ARGV[r.a + 2])
    if not t then
        return nil, code, message, data
    end
    if t.status == 'in_progress' then
        return conflict('state', t.status, 'the task is ' .. t.status)
    end
    leave_want(id, t)
    ended_want(id, t, 0)
    leave(id, t)
    ended(id, t, 'deleted', 0)
    if meta_read()[5] then
        partitions().name_of(id) -- for the event, when its hash is gone
    end
    call('UNLINK', key)
    count_move(t.queue, t.status, nil)
    emit('task.deleted', {'id', id, 'state', t.status, 'queue', t.queue})
    return '{"id":"' .. id .. '","status":"deleted"}'
end
-- @include commit.lua
