-- held.lua: the tasks of an instance that is gone. Needs task.lua.

-- Said before the first write: what held_release() writes has the right types (it sees the queues' own).
local function held_want(instance)
    want_moves()
    want('zset', P .. 'leases')
    want('zset', P .. 'tasks:failed')
    want('zset', P .. 'queue:dead')
    want('set', held_key(instance))
    want('zset', assigned_key(instance))
end

-- Moves at most `limit` of the tasks that `instance` holds back to their queues; one at its last attempt is dead.
-- With an incarnation, only tasks of another one. The attempt stays charged. Returns the ids that left it, and
-- how many it still holds.
local function held_release(instance, limit, keep_incarnation, reason, emit_event)
    local key = held_key(instance)
    local moved, again, dead = {}, {}, {}
    held_want(instance)
    local ids = call('SRANDMEMBER', key, limit)
    for i = 1, #ids do
        local id = ids[i]
        local t = redis.pcall('HMGET', task_key(id), 'st', 'ho', 'hi', 'q', 'pr', 'ro', 'at', 'ma', 'cc',
            'mc', 'as')
        if t[1] ~= 'in_progress' or t[2] ~= instance then
            call('SREM', key, id)
            load_change(instance, -1)
        elseif (not keep_incarnation or t[3] ~= keep_incarnation) and t[4] and t[5] and t[7] and t[8]
            and queue_fits(t[4], t[6]) then
            unlease(id, instance, t[11])
            local lost = {queue = t[4], priority = t[5], roles = t[6], attempts = tonumber(t[7]),
                max_attempts = tonumber(t[8]), losses = t[9], max_losses = t[10]}
            if t[11] then
                to_unstarted(id, t[4], t[5], t[6], t[7])
                again[#again + 1] = id
            elseif reason == 'unregistered' and lost.attempts < lost.max_attempts then
                to_pending(id, t[4], t[5], t[6], t[7], 'in_progress')
                again[#again + 1] = id
            elseif to_lost(id, lost, 'the worker was lost') then
                dead[#dead + 1] = id
            else
                again[#again + 1] = id
            end
            moved[#moved + 1] = id
        end
    end
    if #again > 0 then
        emit_event('task.reassigned', {'ids', table.concat(again, ' '), 'from', instance, 'reason', reason})
    end
    if #dead > 0 then
        emit_event('task.failed', {'ids', table.concat(dead, ' '), 'dead', '1', 'from', instance, 'reason',
            'worker lost: ' .. reason})
    end
    return moved, call('SCARD', key)
end
