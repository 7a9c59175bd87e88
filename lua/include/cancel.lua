-- cancel.lua: ends a live task. Needs task.lua, lease.lua, history.lua, dependents.lua, leave.lua.
local cancelled = 0

local function cancel_want(id, t, reason)
    leave_want(id, t)
    ended_want(id, t, #reason)
    want('zset', P .. 'tasks:cancelled')
end

local function cancel(id, t, reason)
    local key = task_key(id)
    leave(id, t)
    call('HSET', key, 's', state_text('cancelled', t.version + 1, t.attempts, ''))
    if reason ~= '' then
        call('HSET', key, 'err', reason)
    end
    if t.status == 'in_progress' and not t.assigned then
        history_add(id, t, 'cancelled', reason, '')
    end
    call('ZADD', P .. 'tasks:cancelled', NOW, id)
    count_move(t.queue, t.status, 'cancelled')
    ended(id, t, 'cancelled', #reason)
    emit('task.cancelled', {'id', id, 'queue', t.queue, 'from', t.status, 'worker', t.holder or ''})
    cancelled = cancelled + 1
end
