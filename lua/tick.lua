#!lua flags=allow-oom
-- tick: what every daemon does each cluster.tick_ms: effective time, its own beat, the leader's
-- lease, and one bounded sweep that any instance may do: leases that ended, tasks that are due, instances
-- that fell silent, finished tasks that are old enough to go.
-- KEYS  1 cb:clock   2 cb:leader:current   3 cb:instance:<id>   4 cb:instances:active   5 cb:stream:events
--       6 cb:meta   7 cb:requests:system
-- ARGV  1 prefix with colon   2 instance id   3 incarnation   4 hash of the daemon's secret
--       5 1 = register (first tick of this process)   6 1 = leave (the last tick)
--       7 cluster.tick_ms   8 cluster.offline_ms   9 cluster.leader_lease_ms   10 cluster.suspect_ms
--       11 the policy for events (include/emit.lua)   12–15 the four of include/retention.lua   16 task.aging_ms (0 = off)
--       17 data generation, if none was drawn yet   18 1 = it can look after an orphan's requests
--       19 an orphan of which nothing is left, or ''   20 number of metrics (0 = none now)   21… these (include/metrics.lua)
-- Returns {state, effective ms, leader's id or '', leader's epoch or '0', 1 = this one leads, leases ended,
--       tasks promoted (delayed, unblocked or aged: the largest of the three), tasks moved from silent instances, what went
--       wrong in the sweep or '', claims that have waited long enough, an orphan to look after or '',
--       {daemons seen, daemons known, partition since (wall ms) or '0', who is silent},
--       for the leader: ms until the next schedule is due, '' = none; id of the audit trail's last entry, '' = none;
--       circuits that are not closed (include/circuit.lua)}
-- State: ok | refused (the id is in use by a live daemon that is not this one; nothing was changed).
-- A damaged key (a wrong type) stops neither beats and leader nor the rest of the sweep: it is told, and tried again.
-- Caller: supervisor (instance.c).
local P = ARGV[1]
-- @include base.lua
local EVENTS, EVENTS_POLICY = KEYS[5], ARGV[11]
-- @include emit.lua
local before_finish = {} -- as in include/envelope.lua

local problem = ''
local function complain(why)
    if problem == '' then
        problem = type(why) == 'table' and tostring(why.err) or tostring(why)
    end
end

local function emit(kind, fields)
    local ok, why = pcall(event_add, kind, event_entry(kind, fields))
    if not ok then
        complain(why)
    end
end

-- @include task.lua
-- @include held.lua
-- @include instance.lua
-- @include silence.lua
-- @include orphans.lua
-- @include gossip.lua
-- @include metrics.lua
-- @include retention.lua
-- @include quorum.lua
-- @include batch.lua
local SWEEP = 100
local SCHEMA = '3' -- of the data: SCHEMA_MAX of common/schema.h
local id, incarnation, secret = ARGV[2], ARGV[3], ARGV[4]
local leaving = ARGV[6] == '1'

-- Runs a part of the sweep; returns how much it did.
local function guarded(part, ...)
    local ok, done = pcall(part, ...)
    if not ok then
        complain(done)
        return 0
    end
    return done
end

-- Effective time: the wall time since the last tick of anybody, at most two ticks, never back.
local function advance_clock()
    local c = call('HMGET', KEYS[1], 'eff', 'at', 'paused')
    effective, has_paused = c[1] and effective_at({c[1], c[2], ARGV[7]}) or NOW, c[3]
    call('HSET', KEYS[1], 'eff', I(effective), 'at', I(NOW), 'tick', ARGV[7])
end

-- May this process speak for the id? A live registration of another incarnation is taken over only by the
-- one that knows the same secret: a restarted daemon.
local function may_act()
    local known = call('HMGET', KEYS[3], 'inc', 'sec', 'st')
    if not known[1] or known[1] == incarnation then
        return true
    end
    if ARGV[5] == '1' then
        return known[2] == secret or known[3] ~= 'ACTIVE' or not instance_is_live(id)
    end
    return false
end

local function beat()
    local data = call('HMGET', KEYS[6], 'generation', 'schema')
    if not data[1] then
        call('HSET', KEYS[6], 'generation', ARGV[17], 'schema', SCHEMA)
    elseif (tonumber(data[2] or '0') or math.huge) < tonumber(SCHEMA) then -- from now on they are not for earlier versions
        call('HSET', KEYS[6], 'schema', SCHEMA)
    end
    local known = call('HMGET', KEYS[3], 'inc', 'st', 'roles', 'qs', 'rs')
    if known[1] ~= incarnation or known[2] ~= 'ACTIVE' then
        roles_leave(id, known[3]) -- an agent's that had this id, and was not given up yet
        for _, set in ipairs(known[4] and load_sets(known[4], known[5] or '') or {}) do
            redis.pcall('ZREM', set, id)
        end
        call('HDEL', KEYS[3], 'qs', 'rs', 'mu', 'seen')
        call('HSET', KEYS[3], 'inc', incarnation, 'kind', 'daemon', 'st', 'ACTIVE', 'sec', secret, 'roles',
            '[]', 'capacity', 0, 'lease', ARGV[8], 'metadata', '{}', 'reg', NOW, 'beat', NOW)
        call('ZREM', P .. 'instances:offline', id)
        emit('instance.registered', {'instance', id, 'incarnation', incarnation})
    else
        call('HSET', KEYS[3], 'beat', NOW)
    end
    call('ZADD', KEYS[4], I(EFF() + tonumber(ARGV[8])), id)
end

-- Wins, renews or gives up the leader's lease. Returns id, epoch and whether it is this instance.
local function lead()
    local l = call('HMGET', KEYS[2], 'id', 'inc', 'epoch', 'deadline')
    local mine = l[1] == id and l[2] == incarnation
    if leaving then
        if mine then
            call('DEL', KEYS[2])
            emit('leader.left', {'instance', id, 'epoch', l[3]})
            return '', '0', 0
        end
    elseif mine and tonumber(l[4]) > EFF() then
        call('HSET', KEYS[2], 'deadline', I(EFF() + tonumber(ARGV[9])))
    elseif not l[1] or tonumber(l[4]) <= EFF() or l[1] == id then
        local epoch = I(next_number())
        call('HSET', KEYS[2], 'id', id, 'inc', incarnation, 'epoch', epoch, 'deadline',
            I(EFF() + tonumber(ARGV[9])))
        emit('leader.elected', {'instance', id, 'epoch', epoch})
        return id, epoch, 1
    end
    return l[1] or '', l[3] or '0', mine and not leaving and 1 or 0
end

local sweep = {} -- its parts
-- @include sweep_tasks.lua
-- @include sweep_waiters.lua

local function end_instance(instance, limit, reason)
    return #instance_end(instance, limit, reason, emit)
end

function sweep.instances()
    local ended = silence_sweep(KEYS[7], tonumber(ARGV[10]), silence_over(), SWEEP, emit, complain)
    local moved = 0
    for i = 1, #ended do
        moved = moved + ended[i].moved
    end
    local old = call('ZRANGEBYSCORE', P .. 'instances:offline', '-inf', I(EFF() - 3600000), 'LIMIT', 0, 10)
    for i = 1, #old do
        call('UNLINK', instance_key(old[i]))
        call('ZREM', P .. 'instances:offline', old[i])
    end
    return moved
end

-- Decisions whose time is over.
function sweep.quorum()
    local ids = call('ZRANGEBYSCORE', P .. 'quorum:open', '-inf', I(EFF()), 'LIMIT', 0, 10)
    for i = 1, #ids do
        local q = has_type('hash', quorum_key(ids[i])) and quorum_read(ids[i])
        if q and q.status == 'open' then
            quorum_want(ids[i])
            quorum_time_over(ids[i], q, emit)
        else
            call('ZREM', P .. 'quorum:open', ids[i])
        end
    end
    return #ids
end

-- Batches that nobody has gone on with for long.
function sweep.batches()
    local ids = call('ZRANGEBYSCORE', P .. 'batch:current', '-inf', I(EFF()), 'LIMIT', 0, 10)
    for i = 1, #ids do
        if has_type('hash', batch_key(ids[i])) then
            batch_forget(ids[i], emit)
        else
            call('ZREM', P .. 'batch:current', ids[i])
        end
    end
    return #ids
end

-- Circuits that open or wait for others; nearly always there is none.
function sweep.circuits()
    if call('ZCOUNT', P .. 'circuits', 0, '+inf') == 0 then
        return {}
    end
    return (function()
        -- @include circuit.lua
        return circuit_sweep()
    end)()
end

-- Daemons that were given up and whose workers may have left requests behind.
local orphan = ''
local function look_after_orphans()
    if ARGV[19] ~= '' then
        orphan_done(ARGV[19])
    end
    if ARGV[18] == '1' and not leaving then
        orphan = orphan_next()
    end
end

-- A daemon is not seen any more before it is given up, one tick later.
local hosts = {0, 0, '0', ''}
local function gossip()
    if leaving then
        gossip_forget(id)
    else
        hosts = gossip_beat(id, math.max(tonumber(ARGV[10]), tonumber(ARGV[8]) - tonumber(ARGV[7])), emit)
    end
end

local function metrics()
    local n = tonumber(ARGV[20])
    if n > 0 then
        metrics_publish(id, incarnation, {unpack(ARGV, 21, 20 + n)})
    end
end

-- For the leader, which need not ask while nothing is due.
local function schedule_wait(leads)
    local first = leads == 1 and call('ZRANGE', P .. 'schedules:due', 0, 0, 'WITHSCORES') or {}
    return first[2] and I(tonumber(first[2]) - NOW) or ''
end

-- For those who read the audit trail, who need not ask while there is nothing new.
local function audit_last()
    local last = redis.pcall('XREVRANGE', P .. 'stream:audit', '+', '-', 'COUNT', 1)
    return last[1] and last[1][1] or ''
end

if not may_act() then
    return {'refused', '0', '', '0', 0, 0, 0, 0, '', 0, '', {0, 0, '0', ''}, '', '', {}}
end
advance_clock()
if leaving then
    guarded(end_instance, id, SWEEP, 'unregistered')
else
    beat()
end
local leader, epoch, leads = lead()
local expired, promoted = guarded(sweep.leases), guarded(sweep.delayed)
local moved = guarded(sweep.instances)
guarded(sweep.finished)
guarded(sweep.names)
promoted = math.max(promoted, guarded(sweep.dependents), ARGV[16] ~= '0' and guarded(sweep.aging) or 0)
for i = #before_finish, 1, -1 do
    guarded(before_finish[i])
end
guarded(sweep.quorum)
guarded(sweep.batches)
guarded(sweep.lost_wakes)
local waited = guarded(sweep.waiters)
guarded(look_after_orphans)
guarded(gossip)
guarded(metrics)
if leads == 1 then
    guarded(metrics_aggregate, id, epoch)
end
local schedule_ms = guarded(schedule_wait, leads)
local circuits = guarded(sweep.circuits)
guarded(events_publish)
meta_save()
return {'ok', I(EFF()), leader, epoch, leads, expired, promoted, moved, problem, waited, orphan, hosts, schedule_ms,
    audit_last(), circuits ~= 0 and circuits or {}}
