-- hooks.lua: the chains of rule files, cb:hooks:<event>: elements {"name":…,"file":…[,"scope":…]}, score minus the priority.
-- Needs envelope.lua. The field `hooks` of cb:meta is another number after every change: workers look at it.
local HOOKS_MAX = 32

-- The element of that name and its score, or nil; and how many there are.
local function hooks_find(key, name)
    local list = call('ZRANGE', key, 0, -1, 'WITHSCORES')
    local start = '{"name":"' .. name .. '",' -- a name has nothing that JSON would escape
    for i = 1, #list, 2 do
        if string.sub(list[i], 1, #start) == start then
            return list[i], list[i + 1], #list / 2
        end
    end
    return nil, nil, #list / 2
end

local function hooks_changed()
    call('HSET', META, 'hooks', I(next_number()))
end
