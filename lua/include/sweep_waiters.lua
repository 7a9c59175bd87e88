-- sweep_waiters.lua: the parts of a tick's sweep that are about claims that wait (wake.lua): whose time is over, and what a dead one was
-- woken for. For tick.lua: needs its `sweep` and SWEEP.
do
local LOST_WAKE_MS = 100 -- whoever is alive has claimed by then
local DENIED_MS = 5000 -- how long a claim that waits is left alone with a task that it was denied

-- Claims that have waited long enough get the empty answer.
function sweep.waiters()
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
-- has seen it and may not have it: it is not woken again, unless that was for a deny list, which is not for ever.
-- After the end of task.assignment push that is not so for a while: workers with the old mode still claim nothing.
local function wake_again(name, limit, mode_changed)
    local W = waiting()
    local queue, role = string.match(name, '^(%S+) ?(%S*)$')
    local set = W.queue_key(queue, role ~= '' and role or nil)
    if queue_is_paused(queue) then
        return 0
    end
    local heads = call('ZRANGE', role ~= '' and role_key(queue, role) or queue_key(queue), 0, 9)
    local woken = 0
    for i = 1, #heads do
        local t = task_read(task_key(heads[i]), {'s', 'dn'})
        local s = task_state(t[1])
        local came = s and tonumber(s[3] or NOW) or NOW
        local seen = math.max(t[2] and math.max(came, NOW - DENIED_MS) or came, math.min(mode_changed, NOW))
        for _ = 1, math.min(wakes_due(NOW - came), limit - woken) do
            local waiter, w = W.first({set})
            if not waiter or tonumber(w[6]) > seen then
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
function sweep.lost_wakes()
    local meta = call('HMGET', META, 'assignment', 'push_ended')
    if meta[1] == 'push' then
        return
    end
    local mode_changed = (tonumber(meta[2]) or 0) + 30000
    local names, woken = call('SRANDMEMBER', P .. 'waiters:queues', 20), 0
    for i = 1, #names do
        woken = woken + wake_again(names[i], SWEEP - woken, mode_changed)
    end
end
end
