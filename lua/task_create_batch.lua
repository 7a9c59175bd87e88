#!lua
-- task_create_batch: creates up to 100 tasks, all or none.
-- KEYS  the envelope's
-- ARGV  operation: task.max_pending; request: number of tasks, then the nine of include/create.lua for each
-- Returns as the envelope. Caller: worker, task.create_batch.
-- @include envelope.lua
-- @include task.lua
-- @include create_extras.lua
local MAX_PENDING = tonumber(op_arg(1))
create_together()

-- A batch in which at least one task has extras.
local function batch_special(count, first, extras)
    local ids, made, old, new, failed = {}, {}, {}, {}, {}
    for i = 0, count - 1 do
        local id, status, is_old = create_task(ARGV, first + i * CREATE_ARGS, extras[i], made)
        ids[i + 1], made[i + 1] = id, {id, status}
        table.insert(is_old and old or new, id)
        if status == 'failed' then
            table.insert(failed, id)
        end
    end
    if #new > 0 then
        emit('task.created', {'ids', table.concat(new, ' ')})
    end
    create_told(failed)
    return '{"ids":["' .. table.concat(ids, '","') .. '"]'
        .. (#old > 0 and ',"existing":["' .. table.concat(old, '","') .. '"]}' or '}')
end

function op(r)
    local count, first = tonumber(ARGV[r.a + 1]), r.a + 1
    local wanted, extras, has_extras = {}, {}, false
    for i = 0, count - 1 do
        local a = first + i * CREATE_ARGS
        local its = create_extras(ARGV, a)
        if its then
            extras[i], has_extras = its, true
        end
        local ok, code, message, data = create_check(ARGV, a, its, MAX_PENDING, wanted, its and 'tasks[' .. i .. '].')
        if not ok then
            return nil, code, message, data
        end
    end
    if has_extras then
        return batch_special(count, first, extras)
    end
    local ids = {}
    for i = 0, count - 1 do
        ids[i + 1] = create_task(ARGV, first + i * CREATE_ARGS)
    end
    emit('task.created', {'ids', table.concat(ids, ' ')})
    return '{"ids":["' .. table.concat(ids, '","') .. '"]}'
end
-- @include commit.lua
