-- complete.lua: ends attempts with success. Needs task.lua, lease.lua and dependents.lua.
local completed = 0

-- Said before the first write: what a completion writes has the right types, apart from the sets of the lease.
local function complete_want()
    want_moves()
    want('zset', ENDED.completed)
end

-- Writes the result; the indexes are the caller's to change. The hold, handed over or not, and the fields of the holder stay: they
-- say who has completed it, and under which token, for a repeat (lease_check()).
local function complete_write(id, key, t, result)
    local s = t.state
    local text = s.completed
    if not text then
        local hold = s.hold
        text = state_text('completed', (s[1] or 0) + 1, s[2] or 0, t.assigned and hold_text(hold[1], '0', hold[3], hold[4]) or s.held)
        s.completed = text
    end
    if result ~= '' then
        call('HSET', key, 's', text, 'result', result)
    else
        call('HSET', key, 's', text)
    end
    count_move(t.queue, 'in_progress', 'completed')
    ended(id, t, 'completed', #result)
    completed = completed + 1
end
