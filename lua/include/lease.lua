-- lease.lua: who may end an attempt. Needs task.lua.

-- What a completion needs; and what every other operation needs, which begins with the same.
local LEASE_SHORT = {'st', 'tk', 'ho', 'dop', 'dtk', 'dby', 'dou', 'q', 'at', 'v', 'as', 'ex'}
local LEASE_ALL = {'st', 'tk', 'ho', 'dop', 'dtk', 'dby', 'dou', 'q', 'at', 'v', 'as', 'ex', 'pr', 'ro', 'ma', 'bo', 'hi', 'lm', 'cc', 'le', 'mc', 'dn'}

local function lease_record(t)
    return {status = t[1], token = t[2], holder = t[3], done_op = t[4], done_token = t[5], done_by = t[6],
        outcome = t[7], queue = t[8], attempts = tonumber(t[9] or '0'), version = tonumber(t[10] or '0'),
        assigned = t[11], extra = t[12]}
end

-- These return the fields, or nil when there is no such task.
local function lease_read_short(key)
    local t = call('HMGET', key, unpack(LEASE_SHORT))
    return t[1] and lease_record(t) or nil
end
local function lease_read(key)
    local f = call('HMGET', key, unpack(LEASE_ALL))
    if not f[1] then
        return nil
    end
    local t = lease_record(f)
    t.priority, t.roles, t.max_attempts, t.backoff = f[13], f[14] or '', tonumber(f[15] or '1'), f[16]
    t.incarnation, t.lease_ms, t.losses, t.lease_end = f[17], f[18], f[19], f[20]
    t.max_losses, t.denied = f[21], f[22]
    t.is_whole = t.queue and t.priority and f[9] and f[15]
    return t
end

-- Said before the first write: what unlease() writes has the right types.
local function lease_want(t)
    want('zset', P .. 'leases')
    want('set', held_key(t.holder))
    if t.assigned then
        want('zset', assigned_key(t.holder))
    end
end

-- The task of an operation that may ask for a version ('' = any): as lease_read() gives it, or nil and the error.
local function version_read(id, key, expected)
    local t = lease_read(key)
    if not t then
        return not_found(id)
    end
    if expected ~= '' and tonumber(expected) ~= t.version then
        return nil, -32005, 'the task has version ' .. I(t.version), '{"reason":"version","state":"' .. t.status
            .. '","version":' .. I(t.version) .. '}'
    end
    return t
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
