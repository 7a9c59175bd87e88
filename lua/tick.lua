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
--       15 data generation, if none was drawn yet
-- Returns {state, effective ms, leader's id or '', leader's epoch or '0', 1 = this one leads, leases ended,
--       tasks promoted, tasks moved from silent instances}
-- State: ok | refused (the id is in use by a live daemon that is not this one; nothing was changed).
-- Caller: supervisor (instance.c).
local P = ARGV[1]
-- @include base.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua
-- @include retention.lua
local SWEEP = 100
local id, incarnation, secret = ARGV[2], ARGV[3], ARGV[4]
local leaving = ARGV[6] == '1'

local function emit(kind, fields)
    call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[11], '*', 'type', kind, 'at', I(NOW), unpack(fields))
end

-- Effective time: the wall time since the last tick of anybody, at most two ticks, never back.
local function advance_clock()
    local c = call('HMGET', KEYS[1], 'eff', 'at')
    local eff = tonumber(c[1] or NOW)
    if c[2] then
        eff = eff + math.max(0, math.min(NOW - tonumber(c[2]), 2 * tonumber(ARGV[7])))
    end
    call('HSET', KEYS[1], 'eff', I(eff), 'at', I(NOW))
    effective = eff
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
    local known = call('HMGET', KEYS[3], 'inc', 'st')
    if known[1] ~= incarnation or known[2] ~= 'ACTIVE' then
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

-- A lease that ended is an attempt that was started and lost.
local function sweep_leases()
    local ids = call('ZRANGEBYSCORE', P .. 'leases', '-inf', I(EFF()), 'LIMIT', 0, SWEEP)
    local again, dead = {}, {}
    for i = 1, #ids do
        local t = call('HMGET', task_key(ids[i]), 'st', 'ho', 'q', 'pr', 'ro', 'at', 'ma')
        if t[1] ~= 'in_progress' then
            call('ZREM', P .. 'leases', ids[i])
        else
            unlease(ids[i], t[2])
            if tonumber(t[6]) >= tonumber(t[7]) then
                to_dead(ids[i], '"the lease ended at the last attempt"')
                dead[#dead + 1] = ids[i]
            else
                to_pending(ids[i], t[3], t[4], t[5], t[6])
                again[#again + 1] = ids[i]
            end
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
    local ids = call('ZRANGEBYSCORE', P .. 'queue:delayed', '-inf', I(NOW), 'LIMIT', 0, SWEEP)
    local due = {}
    for i = 1, #ids do
        call('ZREM', P .. 'queue:delayed', ids[i])
        local t = call('HMGET', task_key(ids[i]), 'st', 'q', 'pr', 'ro', 'at')
        if t[1] == 'delayed' then
            call('HDEL', task_key(ids[i]), 'du')
            to_pending(ids[i], t[2], t[3], t[4], t[5])
            due[#due + 1] = ids[i]
        end
    end
    if #due > 0 then
        emit('task.due', {'ids', table.concat(due, ' ')})
    end
    return #due
end

-- Nobody is declared silent while beats may still wait in the stream.
local function beats_are_late()
    local oldest = call('XRANGE', KEYS[7], '-', '+', 'COUNT', 1)[1]
    return oldest and NOW - tonumber(string.match(oldest[1], '^%d+')) > tonumber(ARGV[10])
end

local function sweep_instances()
    if beats_are_late() then
        return 0
    end
    local left, moved = SWEEP, 0
    local ids = call('ZRANGEBYSCORE', KEYS[4], '-inf', I(EFF()), 'LIMIT', 0, 10)
    for i = 1, #ids do
        if left <= 0 then
            break
        end
        local n = #instance_end(ids[i], left, 'failed', emit)
        left, moved = left - math.max(n, 1), moved + n
    end
    local old = call('ZRANGEBYSCORE', P .. 'instances:offline', '-inf', I(EFF() - 3600000), 'LIMIT', 0, 10)
    for i = 1, #old do
        call('UNLINK', instance_key(old[i]))
        call('ZREM', P .. 'instances:offline', old[i])
    end
    return moved
end

local function sweep_finished()
    local keep, before, before_count = tonumber(ARGV[12]), NOW - tonumber(ARGV[13]), NOW - tonumber(ARGV[14])
    retention_trim(P .. 'tasks:completed', SWEEP, before, keep, before_count)
    retention_trim(P .. 'tasks:failed', SWEEP, before, keep, before_count, P .. 'queue:dead')
    retention_trim(P .. 'tasks:cancelled', SWEEP, before, keep, before_count)
    local names = call('ZRANDMEMBER', P .. 'queues', 5) -- names of queues that are empty go
    for i = 1, #names do
        local q, role = string.match(names[i], '^(%S+) ?(%S*)$')
        if call('EXISTS', role ~= '' and role_key(q, role) or queue_key(q)) == 0 then
            call('ZREM', P .. 'queues', names[i])
        end
    end
end

if not may_act() then
    return {'refused', '0', '', '0', 0, 0, 0, 0}
end
advance_clock()
if leaving then
    instance_end(id, SWEEP, 'unregistered', emit)
else
    beat()
end
local leader, epoch, leads = lead()
local expired, promoted, moved = sweep_leases(), sweep_delayed(), sweep_instances()
sweep_finished()
numbers_save()
return {'ok', I(EFF()), leader, epoch, leads, expired, promoted, moved}
