#!lua
-- task_create_batch: creates up to 100 tasks, all or none.
-- KEYS  the envelope's
-- ARGV  operation: task.max_pending; request: number of tasks, then the nine of include/create.lua for each
-- Returns as the envelope. Caller: worker, task.create_batch.
-- @include envelope.lua
-- @include task.lua
-- @include create.lua
local MAX_PENDING = tonumber(op_arg(1))

function op(r)
    local count, first = tonumber(ARGV[r.a + 1]), r.a + 1
    local wanted, extras = {}, {}
    for i = 0, count - 1 do
        local a = first + i * CREATE_ARGS
        extras[i] = create_extras(ARGV, a)
        local ok, code, message, data = create_check(ARGV, a, MAX_PENDING, wanted)
        if not ok then
            return nil, code, message, data
        end
    end
    local ids = {}
    for i = 0, count - 1 do
        ids[i + 1] = create_task(ARGV, first + i * CREATE_ARGS, extras[i])
    end
    emit('task.created', {'ids', table.concat(ids, ' ')})
    return '{"ids":["' .. table.concat(ids, '","') .. '"]}'
end
-- @include commit.lua
