-- counts.lua: how many tasks there are in each state, in all and by queue: cb:counts, O(1) to read. Whoever moves a task
-- between states says so to count_move(); counts_flush() writes what changed, once per script call. Needs base.lua
-- and a list `before_finish`, whose functions run at the end of the script.
--
-- Fields: <state>, and q:<queue>:<state> of every state but completed, absent at 0. A queue with such a field is
-- named in cb:queues. ever:<what> = how often that has happened since the beginning. There is no state `dead`: a task that failed for good is `failed`.
local COUNTS = P .. 'counts'
local QUEUE_STATES = {'pending', 'delayed', 'blocked', 'in_progress', 'failed', 'cancelled'}
local count_deltas = {} -- queue → state → change
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

local function count_fields(queue)
    local fields = {}
    for i = 1, #QUEUE_STATES do
        fields[i] = 'q:' .. queue .. ':' .. QUEUE_STATES[i]
    end
    return fields
end

-- Nothing of the queue is counted any more: its name goes, too.
local function count_forget(queue)
    local left = call('HMGET', COUNTS, unpack(count_fields(queue)))
    for i = 1, #QUEUE_STATES do
        if left[i] then
            return
        end
    end
    call('ZREM', P .. 'queues', queue)
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
    local total = {}
    for queue, changes in pairs(count_deltas) do
        count_flush_queue(queue, changes)
        for state, n in pairs(changes) do
            total[state] = (total[state] or 0) + n
        end
    end
    count_deltas = {}
    for what, n in pairs(count_ever) do
        call('HINCRBY', COUNTS, 'ever:' .. what, n)
    end
    count_ever = {}
    for state, n in pairs(total) do
        if n ~= 0 and call('HINCRBY', COUNTS, state, n) < 0 then
            call('HSET', COUNTS, state, 0) -- a Redis that lost some of its data
        end
    end
end
before_finish[#before_finish + 1] = counts_flush

-- Tasks of the queue that wait (pending, delayed, blocked), with what this call has changed so far.
local count_waited = {}
local function count_waiting(queue)
    local n = count_waited[queue]
    if not n then
        local prefix = 'q:' .. queue .. ':'
        local c = call('HMGET', COUNTS, prefix .. 'pending', prefix .. 'delayed', prefix .. 'blocked')
        n = tonumber(c[1] or '0') + tonumber(c[2] or '0') + tonumber(c[3] or '0')
        count_waited[queue] = n
    end
    local changes = count_deltas[queue]
    if changes then
        n = n + (changes.pending or 0) + (changes.delayed or 0) + (changes.blocked or 0)
    end
    return n
end

local function counts_json()
    local states = {'pending', 'delayed', 'blocked', 'in_progress', 'completed', 'failed', 'cancelled'}
    local counts, out = call('HMGET', COUNTS, unpack(states)), {}
    for i, state in ipairs(states) do
        out[i] = '"' .. state .. '":' .. (counts[i] or '0')
    end
    return '{' .. table.concat(out, ',') .. ',"dead":' .. (counts[6] or '0') .. '}'
end
