-- lease.lua: who may end an attempt. Needs task.lua.

-- What a completion needs; and what every other operation needs, which begins with the same. What only a repeat needs, lease_check()
-- reads: a field that is not there costs a look at all the others.
local LEASE_SHORT = {'st', 'tk', 'ho', 'q', 'at', 'v', 'as', 'ex'}
local LEASE_ALL = {'st', 'tk', 'ho', 'q', 'at', 'v', 'as', 'ex', 'pr', 'ro', 'ma', 'bo', 'hi', 'lm', 'cc', 'le', 'mc', 'dn'}

local function lease_record(key, t)
    return {key = key, status = t[1], token = t[2], holder = t[3], queue = t[4], attempts = tonumber(t[5] or '0'),
        version = tonumber(t[6] or '0'), assigned = t[7], extra = t[8]}
end

-- These return the fields, or nil when there is no such task.
local function lease_read_short(key)
    local t = call('HMGET', key, unpack(LEASE_SHORT))
    return t[1] and lease_record(key, t) or nil
end
local function lease_read(key)
    local f = call('HMGET', key, unpack(LEASE_ALL))
    if not f[1] then
        return nil
    end
    local t = lease_record(key, f)
    t.priority, t.roles, t.max_attempts, t.backoff = f[9], f[10] or '', tonumber(f[11] or '1'), f[12]
    t.incarnation, t.lease_ms, t.losses, t.lease_end = f[13], f[14], f[15], f[16]
    t.max_losses, t.denied = f[17], f[18]
    t.is_whole = t.queue and t.priority and f[5] and f[11]
    return t
end

-- Said before the first write: what unlease() writes has the right types.
local lease_wanted -- the last holder
local function lease_want(t)
    if t.holder ~= lease_wanted or not t.holder then
        want('zset', P .. 'leases')
        want('set', held_key(t.holder))
        lease_wanted = t.holder
    end
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

-- What a completion is answered.
local function completed_json(id, ended)
    return '{"id":"' .. id .. '","status":"completed","completedAt":' .. ISO(ended) .. '}'
end

-- How the last attempt ended, for lease_check(). A completed task keeps the fields of its holder; one that was completed by an earlier
-- version has none, and its ending where those of other operations are.
local function read_ending(t)
    if t.status == 'completed' and t.token then
        t.done_op, t.done_token, t.done_by = 'complete', t.token, t.holder
        t.outcome = completed_json(string.sub(t.key, #task_key('') + 1), call('HGET', t.key, 'en'))
    else
        local done = call('HMGET', t.key, 'dop', 'dtk', 'dby', 'dou')
        t.done_op, t.done_token, t.done_by, t.outcome = done[1], done[2], done[3], done[4]
    end
end

-- Decides whether (token, worker) may end this attempt with `operation`. Token '' and worker '' mean
-- absent: a simple client may end a task only while it is assigned and, if it names a worker, to that
-- worker. Returns 'go', or 'again' (the holder's own repeat: give the first outcome, t.outcome), or nil and the
-- error.
local function lease_check(t, operation, token, worker)
    if t.status == 'in_progress' then
        local holds = token == '' or token == t.token
        if holds and (worker == '' or worker == t.holder) then
            return 'go'
        end
    end
    if t.done_op == nil then
        read_ending(t)
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
