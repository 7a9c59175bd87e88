#!lua flags=allow-oom
-- task_get: one task, with payload and result, without its token.
-- KEYS  the envelope's; request: the task
-- ARGV  request: task id
-- Returns as the envelope. Caller: worker, task.get.
-- @include envelope.lua
-- @include task.lua

function op(r)
    local id = ARGV[r.a + 1]
    local t = call('HMGET', KEYS[r.k + 1], unpack(TASK_PUBLIC))
    if not t[2] then
        return not_found(id)
    end
    return '{' .. task_members(id, t) .. '}'
end
-- @include commit.lua
