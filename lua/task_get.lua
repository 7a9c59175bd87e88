#!lua flags=allow-oom
-- task_get: one task, with payload and result, without its token.
-- KEYS  the envelope's; request: the task
-- ARGV  request: task id
-- Returns as the envelope. Caller: worker, task.get.
-- @include envelope.lua
-- @include task.lua
-- @include history.lua

function op(r)
    local id = ARGV[r.a + 1]
    local json = task_json(id, KEYS[r.k + 1])
    if not json then
        return not_found(id)
    end
    return json
end
-- @include commit.lua
