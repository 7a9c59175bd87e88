-- complete.lua: ends attempts with success. Needs task.lua, lease.lua, dependents.lua and retention.lua; the
-- operation's arguments 2 to 5 are those of include/retention.lua.
local completed = 0

-- Said before the first write: what a completion writes has the right types, apart from what unlease() does.
local function complete_want()
    want_moves()
    want('zset', P .. 'tasks:completed')
end

-- Writes the result and the outcome, which it returns; the indexes are the caller's to change.
local function complete_write(id, key, t, result)
    local outcome = '{"id":"' .. id .. '","status":"completed","completedAt":' .. ISO(NOW) .. '}'
    local h = {'HSET', key, 'st', 'completed', 'en', NOW_TEXT, 'up', NOW_TEXT, 'v', I(t.version + 1), 'dop', 'complete',
        'dtk', t.token, 'dby', t.holder, 'dou', outcome}
    if result ~= '' then
        h[#h + 1] = 'result'
        h[#h + 1] = result
    end
    call(unpack(h))
    count_move(t.queue, 'in_progress', 'completed')
    ended(id, t, 'completed', #result)
    completed = completed + 1
    return outcome
end

-- Finished tasks leave at least as fast as they come.
function after_group()
    if completed > 0 then
        retention_after('completed', completed, retention_limits(op_arg, 2))
    end
end
