-- wake.lua: claims that wait (long poll), and how they are answered. Needs base.lua and a list `before_finish`; task.lua
-- includes it.
--
-- A claim with wait_ms that finds nothing is parked (include/park.lua): it is acked, and its caller gets no reply yet. From
-- then on it is a *waiter*, named by its idempotency key or its entry:
--   cb:waiters                       waiter → JSON array of reply token, request id (JSON), queue, roles, worker,
--                                    wall ms of its parking
--   cb:waiters:deadline              score: effective ms at which it gets the ordinary empty answer
--   cb:waiters:queue:<q>[:role:<r>]  score: arrival number; one for its queue and one for each of its roles
--   cb:waiters:instance:<worker>     the same, for what is assigned to its worker
--   cb:waiters:queues                names of those sets of queues, as in cb:queues, for the tick
-- Whatever makes a task claimable answers one waiter with a wake, never with the task: a waiter that is dead holds
-- nothing. Its caller claims again at once. What a dead one was woken for, the tick finds (sweep_waiters.lua).
--
-- The leader that pushes tasks to instances (assign_pending.lua) waits in cb:waiters, too, under its own name. While
-- cb:meta says that all tasks are pushed, a new one wakes only it.

-- @include paused.lua

-- ---- what became claimable, noted while the script runs ----

local waiters_are_there
local wake_tasks, wake_instances, wake_ended, wake_freed = {}, {}, {}, {}
local function wake_note(list, what)
    if waiters_are_there == nil then
        waiters_are_there = call('EXISTS', P .. 'waiters') == 1
    end
    if waiters_are_there then
        list[#list + 1] = what
    end
end

-- A task is on its queue.
local function wake_for_task(id, queue, roles)
    if waiters_are_there ~= false then -- else not even a table for nothing
        wake_note(wake_tasks, {id, queue, roles or ''})
    end
end
-- A task was assigned to an instance.
local function wake_for_instance(instance)
    wake_note(wake_instances, instance)
end
-- An instance has ended, or was registered again: its claims wait no longer.
local function wake_all_of(instance)
    wake_note(wake_ended, instance)
end
-- An instance has room for another task.
local function wake_for_room(instance)
    wake_note(wake_freed, instance)
end

-- ---- waiters ----

-- Made at the first use, as most calls of most scripts meet nobody who waits. By EVALSHA each function costs each call; by FCALL only
-- those inside such a maker do.
local waiting_made
local function waiting()
    if waiting_made then
        return waiting_made
    end
    local W = {EMPTY = '{"claimed":false,"tasks":[]}', WAKE = '{"claimed":false,"tasks":[],"wake":true}',
        LEADER = 'leader'}
    local LOOKS = 16 -- names without a waiter behind them that one search clears away

    function W.queue_key(queue, role)
        local key = P .. 'waiters:queue:' .. queue
        return role and key .. ':role:' .. role or key
    end
    function W.instance_key(worker)
        return P .. 'waiters:instance:' .. worker
    end

    -- Calls fn(set, name in cb:waiters:queues) for each set of a queue and its roles.
    function W.each_set(queue, roles, fn)
        fn(W.queue_key(queue), queue)
        for role in string.gmatch(roles, '%S+') do
            fn(W.queue_key(queue, role), queue .. ' ' .. role)
        end
    end

    -- nil when there is none. A damaged one is none, and must not keep others from being answered.
    function W.read(waiter)
        local text = call('HGET', P .. 'waiters', waiter)
        local ok, w = pcall(cjson.decode, text or 'null')
        if ok and type(w) == 'table' and #w == 6 then
            return w
        elseif text then
            call('HDEL', P .. 'waiters', waiter)
        end
    end

    -- Takes a waiter off all its sets; `w` is what W.read() gave.
    function W.remove(waiter, w)
        call('HDEL', P .. 'waiters', waiter)
        call('ZREM', P .. 'waiters:deadline', waiter)
        call('ZREM', W.instance_key(w[5]), waiter)
        W.each_set(w[3], w[4], function(set, name)
            call('ZREM', set, waiter)
            if call('EXISTS', set) == 0 then
                call('SREM', P .. 'waiters:queues', name)
            end
        end)
    end

    -- A reply list of a wrong type keeps nobody else from being answered.
    local function push(w, result)
        local key = P .. 'reply:' .. w[1]
        local length = redis.pcall('RPUSH', key, '{"jsonrpc":"2.0","id":' .. w[2] .. ',"result":' .. result .. '}')
        if type(length) == 'number' then
            call('PEXPIRE', key, 60000)
            if length > 10000 then -- a caller that never reads
                call('LTRIM', key, -10000, -1)
            end
        end
    end

    -- Ends the wait with a result.
    function W.answer(waiter, w, result)
        W.remove(waiter, w)
        push(w, result)
    end

    -- There may be something to push.
    function W.nudge_leader()
        local w = W.read(W.LEADER)
        if w then
            call('HDEL', P .. 'waiters', W.LEADER)
            push(w, '{}')
        end
    end

    -- The waiter that came first to any of the sets, and what it is; nil when there is none.
    function W.first(sets)
        for _ = 1, LOOKS do
            local first, score, from
            for i = 1, #sets do
                local z = call('ZRANGE', sets[i], 0, 0, 'WITHSCORES')
                if z[1] and (not score or tonumber(z[2]) < score) then
                    first, score, from = z[1], tonumber(z[2]), sets[i]
                end
            end
            local w = first and W.read(first)
            if not first or w then
                return first, w
            end
            call('ZREM', from, first)
        end
    end

    -- The same for a task with a deny list (deny.lua): one whose worker is not on it, or else the first one after all, since
    -- it may be that nobody else could have the task.
    function W.first_but(sets, denied)
        local line = {}
        for i = 1, #sets do
            local z = call('ZRANGE', sets[i], 0, LOOKS - 1, 'WITHSCORES')
            for j = 1, #z, 2 do
                line[#line + 1] = {z[j], tonumber(z[j + 1])}
            end
        end
        table.sort(line, function(x, y) return x[2] < y[2] end)
        for i = 1, #line do
            local w = W.read(line[i][1])
            if w and not string.find('\n' .. denied .. '\n', '\n' .. w[5] .. '\n', 1, true) then
                return line[i][1], w
            end
        end
        return W.first(sets)
    end

    -- At most 100; what more there is ends at its deadline.
    function W.end_instance(instance)
        local key = W.instance_key(instance)
        local waiters = call('ZRANGE', key, 0, 99)
        for i = 1, #waiters do
            local w = W.read(waiters[i])
            if w then
                W.answer(waiters[i], w, W.EMPTY)
            else
                call('ZREM', key, waiters[i])
            end
        end
    end

    -- A queue is not paused any more: as many of those that wait for it as there are tasks, at most `limit`, look again.
    -- Returns how many.
    function W.wake_queue(queue, limit)
        limit = math.min(limit, tonumber(call('HGET', COUNTS, 'q:' .. queue .. ':pending') or '0'))
        for i = 1, limit do
            local waiter, w = W.first({W.queue_key(queue)})
            if not waiter then
                return i - 1
            end
            W.answer(waiter, w, W.WAKE)
        end
        return limit
    end

    function W.wake_one(sets, denied)
        local waiter, w
        if denied then
            waiter, w = W.first_but(sets, denied)
        else
            waiter, w = W.first(sets)
        end
        if waiter then
            W.answer(waiter, w, W.WAKE)
        end
    end

    -- The one that came first to any of the sets in which the task may be looked for.
    function W.wake_for(id, queue, roles)
        if queue_is_paused(queue) then
            return
        end
        local sets, pending = {}, queue_key(queue)
        for role in string.gmatch(roles, '%S+') do
            sets[#sets + 1] = W.queue_key(queue, role)
            pending = role_key(queue, role)
        end
        if #sets == 0 then
            sets[1] = W.queue_key(queue)
        end
        if call('ZSCORE', pending, id) then -- not taken meanwhile by the same script
            W.wake_one(sets, call('HGET', task_key(id), 'dn'))
        end
    end
    waiting_made = W
    return W
end

-- Wakes whom the notes are for, one waiter for each task. Last of all: another step may have taken a task again.
local function wake_flush()
    if not waiters_are_there then
        return
    end
    local W = waiting()
    for i = 1, #wake_ended do
        W.end_instance(wake_ended[i])
    end
    for i = 1, #wake_instances do
        W.wake_one({W.instance_key(wake_instances[i])})
    end
    if #wake_tasks > 0 or #wake_freed > 0 then
        W.nudge_leader()
    end
    if #wake_tasks > 0 and call('HGET', META, 'assignment') ~= 'push' then
        for i = 1, #wake_tasks do
            W.wake_for(wake_tasks[i][1], wake_tasks[i][2], wake_tasks[i][3])
        end
    end
end
before_finish[#before_finish + 1] = wake_flush
