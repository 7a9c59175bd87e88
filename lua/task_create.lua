#!lua
-- task_create: creates a task and puts it on its queue.
-- KEYS  the envelope's (include/envelope.lua)
-- ARGV  operation: task.max_pending; request: the nine of include/create.lua
-- Returns as the envelope. Caller: worker, task.create.
-- @include envelope.lua
-- @include task.lua
-- @include create_extras.lua
local MAX_PENDING = tonumber(op_arg(1))
create_together()

local function created(a, id, status, at)
    return '{"id":"' .. id .. '","text":' .. ARGV[a + 1] .. ',"status":"' .. status .. '","priority":' .. ARGV[a + 2]
        .. ',"createdAt":' .. ISO(at) .. '}'
end

-- The task that has the unique key already, as it is.
local function existing(id)
    local t = task_read(task_key(id), {'s', 'c', 'text'})
    local s, c = task_state(t[1]), task_constants(t[2])
    return '{"id":"' .. id .. '","text":' .. t[3] .. ',"status":"' .. s.status .. '","priority":' .. c[1] .. ',"createdAt":'
        .. ISO(c[4]) .. ',"existing":true}'
end

local TOLD = {'queue', 'priority'} -- of a task.created

function op(r)
    local a = r.a
    local extras = create_extras(ARGV, a)
    local ok, code, message, data = create_check(ARGV, a, extras, MAX_PENDING)
    if not ok then
        return nil, code, message, data
    end
    local id, status, is_old = create_task(ARGV, a, extras)
    if is_old then
        return existing(id)
    end
    emit_together('task.created', 'id', id, TOLD, ARGV[a + 3], ARGV[a + 2])
    if status == 'failed' then
        create_told({id})
    end
    return created(a, id, status, NOW), status == 'pending' and id or id .. ' ' .. status
end

-- The repeat has the same params, so that its text and priority need not be kept.
function op_replay(r, memo, at)
    local id, status = string.match(memo, '^(%S+) ?(%S*)$')
    return created(r.a, id, status ~= '' and status or 'pending', at)
end
-- @include commit.lua
