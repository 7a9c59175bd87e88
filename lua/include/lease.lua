-- lease.lua: who may end an attempt. Needs task.lua.

-- What a completion needs; and what every other operation needs, which begins with the same. What only a repeat needs, lease_check()
-- reads: a field that is not there costs a look at all the others.
local LEASE_SHORT = {'s', 'c', 'tk'}
local LEASE_ALL = {'s', 'c', 'tk', 'ro', 'bo', 'lm', 'cc', 'dn'}

local NOTHING = {} -- the constants of a damaged task, and the hold of one that nobody holds
local function lease_record(key, t)
    local s, c = task_state(t[1]), task_constants(t[2]) or NOTHING
    local hold = s.hold or NOTHING
    return {key = key, state = s, status = s.status, token = t[3], queue = c[6], extra = c[5], holder = hold[4],
        assigned = hold[2] == '1'}, c -- eight: room for more would be doubled
end

-- These return the fields, or nil when there is no such task. The short one has no version and no attempts but those of `state`.
local function lease_read_short(key)
    local t = task_read(key, LEASE_SHORT)
    if t.err then
        error(t)
    end
    return t[1] and lease_record(key, t) or nil
end
local function lease_read(key)
    local f = task_read(key, LEASE_ALL)
    if f.err then
        error(f)
    elseif not f[1] then
        return nil
    end
    local t, c = lease_record(key, f)
    local s = t.state
    t.constants, t.version, t.attempts = c, s[1] or 0, s[2] or 0
    t.priority, t.max_attempts, t.max_losses = c[1], tonumber(c[2] or '1'), c[3]
    t.roles, t.backoff, t.lease_ms, t.losses, t.denied = f[4] or '', f[5], f[6], f[7], f[8]
    t.incarnation = s.hold and s.hold[3]
    t.is_whole = c[6] and s[1]
    return t
end

-- Said before what writes the state of a task that goes on: of a damaged one it would make one that looks whole.
local function want_whole(t)
    if not t.is_whole then
        error({err = 'DAMAGED ' .. t.key})
    end
end

-- Said before the first write: what unlease() writes has the right types.
local lease_want
do
local last_holder
function lease_want(t)
    if not t.queue then
        error({err = 'DAMAGED ' .. t.key}) -- it could be counted nowhere
    end
    if t.holder ~= last_holder or not t.holder then
        want('zset', P .. 'leases')
        want('set', held_key(t.holder))
        last_holder = t.holder
    end
    if t.assigned then
        want('zset', assigned_key(t.holder))
    end
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
    return '{"id":"' .. id .. '","status":"completed","completedAt":' .. ISO(ended or 0) .. '}'
end

-- How the last attempt ended, for lease_check(). A completed task keeps the fields of its holder; one that was completed by an earlier
-- version has none, and its ending where those of other operations are.
local function read_ending(t)
    if t.status == 'completed' and t.token then
        t.done_op, t.done_token, t.done_by = 'complete', t.token, t.holder
        t.outcome = completed_json(string.sub(t.key, #task_key('') + 1), t.state[4])
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

-- For operations that end an attempt, of which the arguments begin with the task's id and the token: the task, or nil and what the
-- operation is to return.
local function lease_enter(r, operation)
    local t = lease_read(KEYS[r.k + 1])
    if not t then
        return nil, not_found(ARGV[r.a + 1])
    end
    local verdict, code, message, data = lease_check(t, operation, ARGV[r.a + 2], '')
    if verdict == 'go' then
        return t
    end
    return nil, verdict and t.outcome, code, message, data
end

-- Keeps the outcome with the task, so that a repeat after a lost reply gets it again.
local function lease_done(key, t, operation, outcome)
    call('HSET', key, 'dop', operation, 'dtk', t.token, 'dby', t.holder, 'dou', outcome)
end
