-- leader.lua: for scripts of the leader: is it still the one? Needs base.lua.

-- Is the caller, by id, incarnation and epoch, the leader, and its lease not over?
local function is_leader(key, id, incarnation, epoch)
    local l = call('HMGET', key, 'id', 'inc', 'epoch', 'deadline')
    return l[1] == id and l[2] == incarnation and l[3] == epoch and tonumber(l[4]) > EFF()
end
