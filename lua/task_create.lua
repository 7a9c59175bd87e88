#!lua
-- task_create: creates a task and puts it on its queue.
-- KEYS  the envelope's (include/envelope.lua)
-- ARGV  operation: task.max_pending; request: the ten of include/create.lua
-- Returns as the envelope. Caller: worker, task.create.
-- @include envelope.lua
-- @include task.lua
-- @include create.lua
local MAX_PENDING = tonumber(op_arg(1))

function op(r)
    local a = r.a
    if queue_room(create_first_key(a), MAX_PENDING) < 1 then
        return create_full(ARGV[a + 3])
    end
    want('stream', EVENTS)
    want_queue(ARGV[a + 3], ARGV[a + 10])
    local id = create_task(a)
    emit('task.created', {'id', id, 'queue', ARGV[a + 3], 'priority', ARGV[a + 2]})
    return '{"id":"' .. id .. '","text":' .. ARGV[a + 1] .. ',"status":"pending","priority":'
        .. ARGV[a + 2] .. ',"createdAt":' .. ISO(NOW) .. '}'
end
-- @include commit.lua
