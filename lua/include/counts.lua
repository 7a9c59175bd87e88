-- counts.lua: how many tasks there are in each state, in all and by queue, O(1) to read. Every state but `pending` has one
-- index, whose length is its count; the others are kept in cb:counts. Whoever moves a task between states says so to
-- count_move(); counts_flush() writes what changed, once per script call. Needs base.lua and a list `before_finish`, whose
-- functions run at the end of the script.
--
-- Fields: pending; q:<queue>:<state> of every state but completed, absent at 0; large:<state>, bytes; ever:<what> = how
-- often that has happened since the beginning. A queue with a field is named in cb:queues. There is no state `dead`: a
-- task that failed for good is `failed`.
local COUNTS = P .. 'counts'
local QUEUE_STATES = {'pending', 'delayed', 'blocked', 'in_progress', 'failed', 'cancelled'}
local count_deltas = {} -- queue → state → change
local count_larger = {} -- state → change of the bytes
local count_ever = {} -- what never goes down: created, completed, failed, cancelled
local COUNT_EVER = {completed = true, failed = true, cancelled = true}

-- nil for `from`: it is new; for `to`: it is no more.
local function count_move(queue, from, to, n)
    local changes = count_deltas[queue]
    if not changes then
        changes = {}
        count_deltas[queue] = changes
    end
    if from then
        changes[from] = (changes[from] or 0) - (n or 1)
    end
    if to then
        changes[to] = (changes[to] or 0) + (n or 1)
        local event = not from and 'created' or COUNT_EVER[to] and to
        if event then
            count_ever[event] = (count_ever[event] or 0) + (n or 1)
        end
    end
end

-- Bytes of finished tasks, beyond what every task is reckoned with (retention.lua).
local function count_large(state, bytes)
    count_larger[state] = (count_larger[state] or 0) + bytes
end

local function count_fields(queue)
    local fields = {}
    for i = 1, #QUEUE_STATES do
        fields[i] = 'q:' .. queue .. ':' .. QUEUE_STATES[i]
    end
    return fields
end

-- Nothing of the queue is counted any more, and it is not paused: its name goes, too.
local function count_forget(queue)
    local left = call('HMGET', COUNTS, unpack(count_fields(queue)))
    for i = 1, #QUEUE_STATES do
        if left[i] then
            return
        end
    end
    if call('SISMEMBER', P .. 'queues:paused', queue) == 0 then
        call('ZREM', P .. 'queues', queue)
    end
end

local function count_flush_queue(queue, changes)
    local is_new, is_left, has_gone = false, false, false
    for state, n in pairs(changes) do
        if n ~= 0 and state ~= 'completed' then
            local field = 'q:' .. queue .. ':' .. state
            local now = call('HINCRBY', COUNTS, field, n)
            is_new = is_new or now == n
            is_left = is_left or now > 0
            if now <= 0 then
                call('HDEL', COUNTS, field)
                has_gone = true
            end
        end
    end
    if is_left and is_new then
        call('ZADD', P .. 'queues', 0, queue)
    elseif has_gone and not is_left then
        count_forget(queue)
    end
end

local function counts_flush()
    local total = {pending = 0}
    for queue, changes in pairs(count_deltas) do
        count_flush_queue(queue, changes)
        total.pending = total.pending + (changes.pending or 0)
    end
    for state, bytes in pairs(count_larger) do
        total['large:' .. state] = bytes
    end
    for what, n in pairs(count_ever) do
        total['ever:' .. what] = n
    end
    count_deltas, count_larger, count_ever = {}, {}, {}
    for field, n in pairs(total) do
        if n ~= 0 and call('HINCRBY', COUNTS, field, n) < 0 then
            call('HSET', COUNTS, field, 0) -- a Redis that lost some of its data
        end
    end
end
before_finish[#before_finish + 1] = counts_flush
