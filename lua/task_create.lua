#!lua
-- task_create: creates a task and puts it on its queue.
-- KEYS  the envelope's (include/envelope.lua)
-- ARGV  operation: task.max_pending; request: the nine of include/create.lua
-- Returns as the envelope. Caller: worker, task.create.
-- @include envelope.lua
-- @include task.lua
-- @include create.lua
local MAX_PENDING = tonumber(op_arg(1))

local function created(a, id, at)
    return '{"id":"' .. id .. '","text":' .. ARGV[a + 1] .. ',"status":"pending","priority":' .. ARGV[a + 2]
        .. ',"createdAt":' .. ISO(at) .. '}'
end

function op(r)
    local a = r.a
    local extras = create_extras(ARGV, a)
    local ok, code, message, data = create_check(ARGV, a, MAX_PENDING, {})
    if not ok then
        return nil, code, message, data
    end
    local id = create_task(ARGV, a, extras)
    emit('task.created', {'id', id, 'queue', ARGV[a + 3], 'priority', ARGV[a + 2]})
    return created(a, id, NOW), id
end

-- The repeat has the same params, so that its text and priority need not be kept.
function op_replay(r, id, at)
    return created(r.a, id, at)
end
-- @include commit.lua
