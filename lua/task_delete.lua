#!lua flags=allow-oom
-- task_delete: removes a task that nobody works on, from every index, with all that is kept of it.
-- KEYS  the envelope's; request: the task
-- ARGV  request: task id
-- Returns as the envelope. Caller: worker, task.delete.
-- @include envelope.lua
-- @include task.lua

-- The sets that list a task in this state, apart from a pending one's.
local INDEXES = {delayed = {'queue:delayed'}, completed = {'tasks:completed'}, failed = {'tasks:failed', 'queue:dead'},
    cancelled = {'tasks:cancelled'}}

function op(r)
    local id, key = ARGV[r.a + 1], KEYS[r.k + 1]
    local t = call('HMGET', key, 'st', 'q', 'ro')
    local status, queue, roles = t[1], t[2], t[3] or ''
    if not status then
        return not_found(id)
    end
    if status ~= 'pending' and not INDEXES[status] then
        return conflict('state', status, 'the task is ' .. status)
    end
    want_moves()
    for _, index in ipairs(INDEXES[status] or {}) do
        want('zset', P .. index)
    end
    if status == 'pending' then
        want_queue(queue, roles)
        queue_remove(id, queue, roles)
        queue_forget(queue, roles)
    end
    for _, index in ipairs(INDEXES[status] or {}) do
        call('ZREM', P .. index, id)
    end
    call('UNLINK', key)
    count_move(queue, status, nil)
    emit('task.deleted', {'id', id, 'state', status, 'queue', queue})
    return '{"id":"' .. id .. '","status":"deleted"}'
end
-- @include commit.lua
