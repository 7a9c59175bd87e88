#!lua
-- task_create_batch: creates up to 100 tasks, all or none.
-- KEYS  the envelope's
-- ARGV  operation: task.max_pending; request: number of tasks, then the ten of include/create.lua for each
-- Returns as the envelope. Caller: worker, task.create_batch.
-- @include envelope.lua
-- @include task.lua
-- @include create.lua
local MAX_PENDING = tonumber(op_arg(1))

function op(r)
    local count = tonumber(ARGV[r.a + 1])
    local first = r.a + 1
    local wanted = {}
    for i = 0, count - 1 do
        local a = first + i * CREATE_ARGS
        local key = create_first_key(a)
        wanted[key] = (wanted[key] or 0) + 1
        if queue_room(key, MAX_PENDING) < wanted[key] then
            return create_full(ARGV[a + 3])
        end
    end
    want('stream', EVENTS)
    for i = 0, count - 1 do
        local a = first + i * CREATE_ARGS
        want_queue(ARGV[a + 3], ARGV[a + 10])
    end
    local ids = {}
    for i = 0, count - 1 do
        ids[i + 1] = create_task(first + i * CREATE_ARGS)
    end
    emit('task.created', {'ids', table.concat(ids, ' ')})
    return '{"ids":["' .. table.concat(ids, '","') .. '"]}'
end
-- @include commit.lua
