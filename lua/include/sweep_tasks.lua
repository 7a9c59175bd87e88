-- sweep_tasks.lua: the parts of a tick's sweep that are about tasks: leases that ended, tasks whose time has come, aging, retention. Each does
-- a bounded piece; any daemon may do it. For tick.lua: needs its `sweep`, SWEEP, guarded(), complain(), emit() and arguments.
do
local POSTPONE_MS = 30000 -- for what cannot go where it belongs

-- An instance has not asked for what it was given: it gets no more of that until it claims (include/claim.lua).
local function mute(instance)
    local key = instance_key(instance)
    if has_type('hash', key) and call('HGET', key, 'kind') == 'agent' then
        call('HSET', key, 'mu', '1')
        load_renew(instance)
    end
end

-- A lease that ended is an attempt that was started and lost.
function sweep.leases()
    want_moves()
    want('zset', P .. 'leases')
    want('zset', P .. 'tasks:failed')
    want('zset', P .. 'queue:dead')
    local ids = call('ZRANGEBYSCORE', P .. 'leases', '-inf', I(EFF()), 'LIMIT', 0, SWEEP)
    local again, dead = {}, {}
    for i = 1, #ids do
        local ok, t = pcall(lease_read, task_key(ids[i]))
        if not ok or not t or t.status ~= 'in_progress' then
            call('ZREM', P .. 'leases', ids[i])
        elseif not lease_is_whole(ids[i], t) then
            complain('no whole task, or a wrong type, behind the lease of ' .. ids[i])
            call('ZADD', P .. 'leases', I(EFF() + POSTPONE_MS), ids[i])
        else
            unlease(ids[i], t.holder, t.assigned)
            if t.assigned then
                mute(t.holder)
            end
            local before = t.assigned and to_unstarted(ids[i], t)
            local list = not before and to_lost(ids[i], t, 'the lease ended') and dead or again
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

function sweep.delayed()
    want_moves()
    local ids = call('ZRANGEBYSCORE', P .. 'queue:delayed', '-inf', I(NOW), 'LIMIT', 0, SWEEP)
    local due = {}
    for i = 1, #ids do
        local t = task_read(task_key(ids[i]), {'s', 'c', 'ro'})
        local s, c = task_state(t[1]), task_constants(t[2])
        local is_delayed = s and s.status == 'delayed'
        if is_delayed and not (c and s[1] and queue_fits(c[6], t[3])) then
            complain('no whole task, or a queue of a wrong type: ' .. ids[i])
            call('ZADD', P .. 'queue:delayed', I(NOW + POSTPONE_MS), ids[i])
        elseif not is_delayed then
            call('ZREM', P .. 'queue:delayed', ids[i])
        else
            call('ZREM', P .. 'queue:delayed', ids[i])
            call('HDEL', task_key(ids[i]), 'du')
            to_pending(ids[i], c[6], c[1], t[3], s[2], 'delayed')
            due[#due + 1] = ids[i]
        end
    end
    if #due > 0 then
        emit('task.due', {'ids', table.concat(due, ' ')})
    end
    return #due
end

function sweep.finished()
    want_moves()
    local limits = retention_limits(function(i)
        return ARGV[11 + i]
    end, 1)
    for state in pairs(ENDED) do
        guarded(retention_trim, state, SWEEP, limits)
    end
end

-- What ended tasks meant to others, beyond what the call that ended them did.
function sweep.dependents()
    return call('EXISTS', P .. 'dependents:due') == 1 and dependents().run(SWEEP) or 0
end

-- A pending task that has waited for task.aging_ms goes ahead of all priorities, in the order of creation. In each set, the
-- oldest of a priority are its first ones; 20 sets, 20 priorities and 10 tasks of each are looked at.
function sweep.aging()
    local before, moved = NOW - tonumber(ARGV[16]), 0
    local names = call('ZRANDMEMBER', P .. 'queues', 20)
    for i = 1, #names do
        local queue, role = string.match(names[i], '^(%S+) ?(%S*)$')
        local key, behind = role ~= '' and role_key(queue, role) or queue_key(queue), AGED
        for _ = 1, 20 do
            local first = call('ZRANGEBYSCORE', key, '(' .. behind, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
            behind = first[2]
            if not behind or moved >= SWEEP then
                break
            end
            local ids = call('ZRANGEBYSCORE', key, behind, behind, 'LIMIT', 0, 10)
            for j = 1, #ids do
                local since = tonumber(waits_since(ids[j]))
                if since > 0 and since < before then -- 0: there is no such task
                    call('ZADD', key, AGED, ids[j])
                    moved = moved + 1
                end
            end
        end
    end
    return moved
end

-- Names of sets that nobody has seen go.
function sweep.names()
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
end
