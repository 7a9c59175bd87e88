-- lost.lua: attempts that ended without their holder saying so. Needs task.lua, lease.lua, history.lua, dependents.lua.

-- Can a task in progress be taken from its holder and put anywhere?
local function lease_is_whole(id, t)
    return t.is_whole and t.token and queue_fits(t.queue, t.roles) and has_type('set', held_key(t.holder or ''))
        and (not t.assigned or has_type('zset', assigned_key(t.holder or ''))) and pcall(ended_want, id, t, 0)
end

-- The holder of a task was lost, or let its lease end; `t` as lease_read() gives it, already off its holder. Returns true
-- when that was the last attempt, or one loss too many: a task that kills its workers does not get all attempts.
local function to_lost(id, t, what)
    local losses = tonumber(t.losses or '0') + 1
    local is_last = t.attempts >= t.max_attempts
    call('HSET', task_key(id), 'cc', losses)
    history_add(id, t, 'lost', S(what), '')
    if is_last or losses >= tonumber(t.max_losses or '3') then
        dependents().to_dead(id, t, S(what .. (is_last and ' at the last attempt' or ' once too often')),
            is_last and 'attempts' or 'crashes')
        return true
    end
    to_pending(id, t.queue, t.priority, t.roles, t.attempts, 'in_progress')
    return false
end
