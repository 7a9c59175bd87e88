-- deny.lua: instances that failed a task, or from which it was taken with a reason, are not to get it again while another
-- one could: the field dn, ids joined by newlines (an id has none), the last DENY_MAX. Needs base.lua.
local DENY_MAX = 16

-- The list with one more id at its end.
local function deny_add(list, instance)
    local kept = {}
    for id in string.gmatch(list or '', '[^\n]+') do
        if id ~= instance then
            kept[#kept + 1] = id
        end
    end
    kept[#kept + 1] = instance
    return table.concat(kept, '\n', math.max(1, #kept - DENY_MAX + 1))
end
