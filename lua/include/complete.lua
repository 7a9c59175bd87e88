-- complete.lua: ends attempts with success. Needs task.lua, lease.lua and dependents.lua.
local completed = 0

-- Said before the first write: what a completion writes has the right types, apart from the sets of the lease.
local function complete_want()
    want_moves()
    want('zset', ENDED.completed)
end

-- Writes the result; the indexes are the caller's to change. The fields of the holder stay: they say who
-- has completed it, and under which token, for a repeat (lease_check()).
local function complete_write(id, key, t, result)
    local numbers = numbers_text(t.version + 1, t.attempts, true)
    if result ~= '' then
        call('HSET', key, 'st', 'completed', 'n', numbers, 'result', result)
    else
        call('HSET', key, 'st', 'completed', 'n', numbers)
    end
    if t.assigned then -- and never handed over
        call('HSET', key, 'l', hold_text(t.hold[1], '0', t.hold[3], t.hold[4]))
    end
    count_move(t.queue, 'in_progress', 'completed')
    ended(id, t, 'completed', #result)
    completed = completed + 1
end
