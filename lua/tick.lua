#!lua flags=allow-oom
-- tick: what every daemon does each cluster.tick_ms (DESIGN §6): effective time, its own beat, the leader's
-- lease, and one bounded sweep that any instance may do: leases that ended, tasks that are due, instances
-- that fell silent, finished tasks that are old enough to go.
-- KEYS  1 cb:clock   2 cb:leader:current   3 cb:instance:<id>   4 cb:instances:active   5 cb:stream:events
--       6 cb:meta   7 cb:requests:system
-- ARGV  1 prefix with colon   2 instance id   3 incarnation   4 hash of the daemon's secret
--       5 1 = register (first tick of this process)   6 1 = leave (the last tick)
--       7 cluster.tick_ms   8 cluster.offline_ms   9 cluster.leader_lease_ms   10 cluster.suspect_ms
--       11 events.maxlen   12 task.keep_finished   13 task.keep_finished_ms   14 task.keep_finished_min_ms
--       15 data generation, if none was drawn yet   16 1 = it can look after an orphan's requests
--       17 an orphan of which nothing is left, or ''   18 number of metrics (0 = none now)   19… these (include/metrics.lua)
-- Returns {state, effective ms, leader's id or '', leader's epoch or '0', 1 = this one leads, leases ended,
--       tasks promoted, tasks moved from silent instances, what went wrong in the sweep or '', claims that have waited
--       long enough, an orphan to look after or '',
--       {daemons seen, daemons known, partition since (wall ms) or '0', who is silent},
--       for the leader: ms until the next schedule is due, '' = none}
-- State: ok | refused (the id is in use by a live daemon that is not this one; nothing was changed).
-- A damaged key (a wrong type) stops neither beats and leader nor the rest of the sweep: it is told, and tried again.
-- Caller: supervisor (instance.c).
local P = ARGV[1]
-- @include base.lua
local EVENTS = KEYS[5]
local before_finish = {} -- as in include/envelope.lua
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
local POSTPONE_MS = 30000 -- for what cannot go where it belongs
local LOST_WAKE_MS = 100 -- whoever is alive has claimed by then
local id, incarnation, secret = ARGV[2], ARGV[3], ARGV[4]
local leaving = ARGV[6] == '1'

local problem = ''
local function complain(why)
    if problem == '' then
        problem = type(why) == 'table' and tostring(why.err) or tostring(why)
    end
end

-- Runs a part of the sweep; returns how much it did.
local function guarded(part, ...)
    local ok, done = pcall(part, ...)
    if not ok then
        complain(done)
        return 0
    end
    return done
end

local function emit(kind, fields)
    local added = redis.pcall('XADD', KEYS[5], 'MAXLEN', '~', ARGV[11], '*', 'type', kind, 'at', I(NOW),
        unpack(fields))
    if type(added) == 'table' and added.err then
        complain(added)
    end
end

-- Effective time: the wall time since the last tick of anybody, at most two ticks, never back.
local function advance_clock()
    local c = call('HMGET', KEYS[1], 'eff', 'at')
    effective = c[1] and effective_at({c[1], c[2], ARGV[7]}) or NOW
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
    if not call('HGET', KEYS[6], 'generation') then
        call('HSET', KEYS[6], 'generation', ARGV[15], 'schema', '1')
    end
    local known = call('HMGET', KEYS[3], 'inc', 'st', 'roles')
    if known[1] ~= incarnation or known[2] ~= 'ACTIVE' then
        roles_leave(id, known[3]) -- an agent's that had this id
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

-- An instance has not asked for what it was given: it gets no more of that until it claims (include/claim.lua).
local function mute(instance)
    local key = instance_key(instance)
    if has_type('hash', key) and call('HGET', key, 'kind') == 'agent' then
        call('HSET', key, 'mu', '1')
        load_renew(instance)
    end
end

-- A lease that ended is an attempt that was started and lost.
local function sweep_leases()
    want_moves()
    want('zset', P .. 'tasks:failed')
    want('zset', P .. 'queue:dead')
    local ids = call('ZRANGEBYSCORE', P .. 'leases', '-inf', I(EFF()), 'LIMIT', 0, SWEEP)
    local again, dead = {}, {}
    for i = 1, #ids do
        local t = redis.pcall('HMGET', task_key(ids[i]), 'st', 'ho', 'q', 'pr', 'ro', 'at', 'ma', 'cc', 'mc', 'as')
        if t[1] ~= 'in_progress' then
            call('ZREM', P .. 'leases', ids[i])
        elseif not (t[3] and t[4] and t[6] and t[7]) or not queue_fits(t[3], t[5])
            or not has_type('set', held_key(t[2] or ''))
            or t[10] and not has_type('zset', assigned_key(t[2] or '')) then
            complain('no whole task, or a wrong type, behind the lease of ' .. ids[i])
            call('ZADD', P .. 'leases', I(EFF() + POSTPONE_MS), ids[i])
        else
            unlease(ids[i], t[2], t[10])
            if t[10] then
                mute(t[2])
            end
            local before = t[10] and to_unstarted(ids[i], t[3], t[4], t[5], t[6])
            local lost = {queue = t[3], priority = t[4], roles = t[5], attempts = tonumber(t[6]),
                max_attempts = tonumber(t[7]), losses = t[8], max_losses = t[9]}
            local list = not before and to_lost(ids[i], lost, 'the lease ended') and dead or again
            list[#list + 1] = ids[i]
        end
    end
    if #again > 0 then
        emit('task.lease_expired', {'ids', table.concat(again, ' ')})
    end
    if #dead > 0 then
        emit('task.failed', {'ids', table.concat(dead, ' '), 'dead', '1', 'reason', 'lease expired'})
    end
    return #ids
end

local function sweep_delayed()
    want_moves()
    local ids = call('ZRANGEBYSCORE', P .. 'queue:delayed', '-inf', I(NOW), 'LIMIT', 0, SWEEP)
    local due = {}
    for i = 1, #ids do
        local t = redis.pcall('HMGET', task_key(ids[i]), 'st', 'q', 'pr', 'ro', 'at')
        if t[1] == 'delayed' and not (t[2] and t[3] and t[5] and queue_fits(t[2], t[4])) then
            complain('no whole task, or a queue of a wrong type: ' .. ids[i])
            call('ZADD', P .. 'queue:delayed', I(NOW + POSTPONE_MS), ids[i])
        elseif t[1] ~= 'delayed' then
            call('ZREM', P .. 'queue:delayed', ids[i])
        else
            call('ZREM', P .. 'queue:delayed', ids[i])
            call('HDEL', task_key(ids[i]), 'du')
            to_pending(ids[i], t[2], t[3], t[4], t[5], 'delayed')
            due[#due + 1] = ids[i]
        end
    end
    if #due > 0 then
        emit('task.due', {'ids', table.concat(due, ' ')})
    end
    return #due
end

local function end_instance(instance, limit, reason)
    return #instance_end(instance, limit, reason, emit)
end

local function sweep_instances()
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

local function sweep_finished()
    want_moves()
    local keep, before, before_count = tonumber(ARGV[12]), NOW - tonumber(ARGV[13]), NOW - tonumber(ARGV[14])
    for _, state in ipairs({'completed', 'failed', 'cancelled'}) do
        guarded(retention_trim, state, SWEEP, before, keep, before_count)
    end
end

-- Names of sets that nobody has seen go.
local function sweep_names()
    local names = call('ZRANDMEMBER', P .. 'queues', 20)
    for i = 1, #names do
        local queue, role = string.match(names[i], '^(%S+) ?(%S*)$')
        if not queue or role ~= '' and call('EXISTS', role_key(queue, role)) == 0 then
            call('ZREM', P .. 'queues', names[i])
        elseif role == '' and call('EXISTS', queue_key(queue)) == 0 then
            count_forget(queue)
        end
    end
end

-- Decisions whose time is over.
local function sweep_quorum()
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
local function sweep_batches()
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

-- Claims that have waited long enough get the empty answer.
local function sweep_waiters()
    local W = waiting()
    local ended = call('ZRANGEBYSCORE', P .. 'waiters:deadline', '-inf', I(EFF()), 'LIMIT', 0, SWEEP)
    for i = 1, #ended do
        local w = W.read(ended[i])
        if w then
            W.answer(ended[i], w, W.EMPTY)
        else
            call('ZREM', P .. 'waiters:deadline', ended[i])
        end
    end
    return #ended
end

-- How many waiters of a set a task may have woken by now that is pending for `age` ms and not claimed: those before may
-- have been dead, and the longer it lies there, the more of them.
local function wakes_due(age)
    return age < LOST_WAKE_MS and 0 or math.min(64, 2 ^ math.floor(age / 500))
end

-- Tasks that lie there although somebody waits: whoever was woken is dead. A waiter that was parked after the task came
-- has seen it and may not have it: it is not woken again.
local function wake_again(name, limit)
    local W = waiting()
    local queue, role = string.match(name, '^(%S+) ?(%S*)$')
    local set = W.queue_key(queue, role ~= '' and role or nil)
    local heads = call('ZRANGE', role ~= '' and role_key(queue, role) or queue_key(queue), 0, 9)
    local woken = 0
    for i = 1, #heads do
        local came = tonumber(redis.pcall('HGET', task_key(heads[i]), 'up')) or NOW
        for _ = 1, math.min(wakes_due(NOW - came), limit - woken) do
            local waiter, w = W.first({set})
            if not waiter or tonumber(w[6]) > came then
                break
            end
            W.answer(waiter, w, W.WAKE)
            woken = woken + 1
        end
    end
    if call('EXISTS', set) == 0 then
        call('SREM', P .. 'waiters:queues', name)
    end
    return woken
end
local function sweep_lost_wakes()
    if call('HGET', KEYS[6], 'assignment') == 'push' then
        return
    end
    local names, woken = call('SRANDMEMBER', P .. 'waiters:queues', 20), 0
    for i = 1, #names do
        woken = woken + wake_again(names[i], SWEEP - woken)
    end
end

-- Daemons that were given up and whose workers may have left requests behind.
local orphan = ''
local function look_after_orphans()
    if ARGV[17] ~= '' then
        orphan_done(ARGV[17])
    end
    if ARGV[16] == '1' and not leaving then
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
    local n = tonumber(ARGV[18])
    if n > 0 then
        metrics_publish(id, incarnation, {unpack(ARGV, 19, 18 + n)})
    end
end

-- For the leader, which need not ask while nothing is due.
local function schedule_wait(leads)
    local first = leads == 1 and call('ZRANGE', P .. 'schedules:due', 0, 0, 'WITHSCORES') or {}
    return first[2] and I(tonumber(first[2]) - NOW) or ''
end

if not may_act() then
    return {'refused', '0', '', '0', 0, 0, 0, 0, '', 0, '', {0, 0, '0', ''}, ''}
end
advance_clock()
if leaving then
    guarded(end_instance, id, SWEEP, 'unregistered')
else
    beat()
end
local leader, epoch, leads = lead()
meta_save()
local expired, promoted = guarded(sweep_leases), guarded(sweep_delayed)
local moved = guarded(sweep_instances)
guarded(sweep_finished)
guarded(sweep_names)
for i = #before_finish, 1, -1 do
    guarded(before_finish[i])
end
guarded(sweep_quorum)
guarded(sweep_batches)
guarded(sweep_lost_wakes)
local waited = guarded(sweep_waiters)
guarded(look_after_orphans)
guarded(gossip)
guarded(metrics)
if leads == 1 then
    guarded(metrics_aggregate, id, epoch)
end
local schedule_ms = guarded(schedule_wait, leads)
return {'ok', I(EFF()), leader, epoch, leads, expired, promoted, moved, problem, waited, orphan, hosts, schedule_ms}
