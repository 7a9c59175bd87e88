-- cancel_group.lua: what follows when tasks were cancelled by requests. Needs cancel.lua; the operation's arguments are the four of
-- include/retention.lua.
function after_group()
    if cancelled > 0 then
        retention_after('cancelled', cancelled, retention_limits(op_arg, 1))
    end
end
