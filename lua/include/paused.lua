-- paused.lua: queues from which nothing is to be claimed: cb:queues:paused, names, `*` for all of them. The field `paused` of
-- cb:clock, which every claim reads anyway, says that there are any. Needs base.lua.
local PAUSED, PAUSED_MAX = P .. 'queues:paused', 1000
local paused_known = {}

local function queue_is_paused(queue)
    EFF()
    if not has_paused then
        return false
    end
    if paused_known[queue] == nil then
        local found = call('SMISMEMBER', PAUSED, queue, '*')
        paused_known[queue] = found[1] == 1 or found[2] == 1
    end
    return paused_known[queue]
end
