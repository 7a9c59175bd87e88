-- complete_group.lua: completions, for scripts whose requests end a task, or many, each. Needs task.lua, lease.lua, dependents.lua
-- and retention.lua; the operation's arguments 2 to 5 are those of include/retention.lua.
-- @include complete.lua
-- @include indexes.lua

-- Ends the attempt.
local function complete(id, key, t, result)
    complete_write(id, key, t, result)
    index_change('zset', LEASES, id, false)
    index_change('set', held_key(t.holder), id, false)
    index_change('zset', ENDED.completed, id, NOW_TEXT)
    load_change(t.holder, -1)
    if t.assigned then
        call('ZREM', assigned_key(t.holder), id)
    end
end

-- Finished tasks leave at least as fast as they come.
function after_group()
    if completed > 0 then
        index_flush(ENDED.completed) -- retention looks at it
        retention_after('completed', completed, retention_limits(op_arg, 2))
    end
end
