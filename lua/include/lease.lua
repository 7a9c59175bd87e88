-- lease.lua: who may end an attempt. Needs task.lua.

-- Reads what a finishing operation needs. Returns the fields, or nil when there is no such task.
local function lease_read(key)
    local t = call('HMGET', key, 'st', 'tk', 'ho', 'dop', 'dtk', 'dby', 'dou', 'q', 'pr', 'ro', 'at', 'ma',
        'bo', 'hi', 'lm', 'cc', 'le', 'v', 'as')
    if not t[1] then
        return nil
    end
    return {status = t[1], token = t[2], holder = t[3], done_op = t[4], done_token = t[5], done_by = t[6],
        outcome = t[7], queue = t[8], priority = t[9], roles = t[10], attempts = tonumber(t[11] or '0'),
        max_attempts = tonumber(t[12] or '1'), backoff = t[13], incarnation = t[14], lease_ms = t[15],
        crashes = t[16], lease_end = t[17], version = tonumber(t[18] or '0'),
        assigned = t[19]}
end

-- Said before the first write: what unlease() writes has the right types.
local function lease_want(t)
    want('zset', P .. 'leases')
    want('set', held_key(t.holder))
    if t.assigned then
        want('zset', assigned_key(t.holder))
    end
end

-- Decides whether (token, worker) may end this attempt with `operation`. Token '' and worker '' mean
-- absent: a simple client may end a task only while it is assigned and, if it names a worker, to that
-- worker. Returns 'go', or 'again' (the holder's own repeat: give the first outcome), or nil and the
-- error.
local function lease_check(t, operation, token, worker)
    if t.status == 'in_progress' then
        local holds = token == '' or token == t.token
        if holds and (worker == '' or worker == t.holder) then
            return 'go'
        end
    end
    local same_caller = token ~= '' and token == t.done_token
        or token == '' and worker ~= '' and worker == t.done_by and t.status ~= 'in_progress'
    if same_caller and t.done_op == operation then
        return 'again'
    end
    if token == '' and t.status ~= 'in_progress' then
        return conflict('state', t.status, 'the task is ' .. t.status)
    end
    return conflict('stale_lease', t.status, 'the lease is not the current one')
end

-- Keeps the outcome with the task, so that a repeat after a lost reply gets it again.
local function lease_done(key, t, operation, outcome)
    call('HSET', key, 'dop', operation, 'dtk', t.token, 'dby', t.holder, 'dou', outcome)
end
