-- held.lua: the tasks of an instance that is gone.
-- @include lease.lua
-- @include history.lua
-- @include dependents.lua
-- @include lost.lua

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
        local ok, t = pcall(lease_read, task_key(id))
        if not ok or not t or t.status ~= 'in_progress' or t.holder ~= instance then
            call('SREM', key, id)
            load_change(instance, -1)
        elseif (not keep_incarnation or t.incarnation ~= keep_incarnation) and lease_is_whole(id, t) then
            unlease(id, instance, t.assigned)
            if t.assigned then
                to_unstarted(id, t)
                again[#again + 1] = id
            elseif reason == 'unregistered' and t.attempts < t.max_attempts then
                to_pending(id, t.queue, t.priority, t.roles, t.attempts, 'in_progress')
                again[#again + 1] = id
            elseif to_lost(id, t, 'the worker was lost') then
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
