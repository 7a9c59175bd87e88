-- held.lua: the tasks of an instance that is gone. Needs task.lua.

-- Moves at most `limit` of the tasks that `instance` holds back to their queues. With an incarnation, only
-- tasks of another one. The attempt stays charged. Returns the ids that moved, and how many it still holds.
local function held_release(instance, limit, keep_incarnation)
    local key = held_key(instance)
    local moved = {}
    want('zset', P .. 'leases')
    want('zset', P .. 'tasks:failed')
    want('zset', P .. 'queue:dead')
    local ids = call('SRANDMEMBER', key, limit)
    for i = 1, #ids do
        local id = ids[i]
        local t = call('HMGET', task_key(id), 'st', 'ho', 'hi', 'q', 'pr', 'ro', 'at', 'ma')
        if t[1] ~= 'in_progress' or t[2] ~= instance then
            call('SREM', key, id)
        elseif (not keep_incarnation or t[3] ~= keep_incarnation) and queue_fits(t[4], t[6]) then
            unlease(id, instance)
            if tonumber(t[7]) >= tonumber(t[8]) then
                to_dead(id, '"the worker was lost at the last attempt"')
            else
                to_pending(id, t[4], t[5], t[6], t[7])
            end
            moved[#moved + 1] = id
        end
    end
    return moved, call('SCARD', key)
end
