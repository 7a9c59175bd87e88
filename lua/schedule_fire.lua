#!lua
-- schedule_fire: makes the tasks of schedules that are due, and says when they are due next. Each (schedule, due time) is
-- fired once: only the leader may, and only if version and due time are still those it computed with.
-- KEYS  1 cb:leader:current   2 cb:schedules   3 cb:schedules:due   4 cb:stream:events
-- ARGV  1 prefix with colon   2 leader's id   3 its incarnation   4 its epoch   5 the policy for events (include/emit.lua)   6 task.max_pending
--       7 number of schedules; for each: id, version, due, ms to leave it alone ('' = go on), next due time ('' = it
--       has ended), how many due times are dropped, number of times to fire, these
-- Returns {'refused'} to anybody but the leader, else {'ok', ms until the next one ('' = there is none), one list for each:
--       outcome, tasks made, what else is to be told or ''}. Outcomes: fired | full (the queue was, and it waits since
--       now) | waits (since before) | held | stale (it has changed meanwhile) | failed (nothing was changed; see what else)
-- Caller: supervisor (scheduler.c).
local P = ARGV[1]
local EVENTS, EVENTS_POLICY = KEYS[4], ARGV[5]
local before_finish = {} -- as in include/envelope.lua
-- @include base.lua
-- @include emit.lua
local function emit(kind, fields)
    return event_add(kind, event_entry(kind, fields))
end
-- @include leader.lua
-- @include task.lua
-- @include create_extras.lua
-- @include schedule.lua
local MAX_PENDING = tonumber(ARGV[6])
local FULL_MS, DAMAGED_MS = 1000, 60000 -- when to try again

local function message_of(problem)
    return type(problem) == 'table' and tostring(problem.err) or tostring(problem)
end

-- One due time. Returns nil, or 'full', or true and why there is no task.
local function fire_once(id, s, due)
    local list, extras = s.list, create_extras(s.list, 0)
    local ok, code, message = create_check(list, 0, extras, MAX_PENDING, {})
    if not ok and code == -32007 then
        return 'full'
    end
    s.last = due
    if not ok then
        s.dropped = s.dropped + 1
        emit('schedule.missed', {'schedule', id, 'due', I(due), 'dropped', '1', 'reason', message})
        return true, message
    end
    local task, _, is_old = create_task(list, 0, extras)
    if is_old then -- the task of an earlier time has its unique key, and has not ended
        s.dropped = s.dropped + 1
        emit('schedule.missed', {'schedule', id, 'due', I(due), 'dropped', '1', 'reason', 'unique_key', 'id', task})
        return true, ''
    end
    call('HSET', task_key(task), 'sc', I(due) .. ' ' .. id)
    task_mark(task_key(task), 'o')
    s.task, s.fired = task, s.fired + 1
    emit('task.created', {'id', task, 'queue', list[3], 'priority', list[2], 'schedule', id})
    emit('schedule.fired', {'schedule', id, 'due', I(due), 'id', task})
end

local function is_full(s)
    local ok, code = create_check(s.list, 0, nil, MAX_PENDING, {})
    return not ok and code == -32007
end

-- `due` is the first time that could not be fired. What counts as missed is decided when there is room again.
local function waits_for_room(id, s, due)
    local is_new = not s.full
    s.full, s.due = true, due
    schedule_save(id, s, NOW + FULL_MS)
    if is_new then
        emit('schedule.blocked', {'schedule', id, 'due', I(due), 'queue', s.list[3]})
    end
    return is_new and 'full' or 'waits'
end

local function fire(c)
    local s = schedule_load(c.id)
    if not s then
        call('ZREM', SCHEDULES_DUE, c.id)
        return {'stale', 0, ''}
    end
    if c.version == '' then -- it could not be read whole (schedule_due.lua)
        error('its record is damaged', 0)
    end
    if I(s.v) ~= c.version or not s.due or I(s.due) ~= c.due or s.paused then
        return {'stale', 0, ''}
    end
    if c.hold then
        call('ZADD', SCHEDULES_DUE, I(NOW + c.hold), c.id)
        return {'held', 0, ''}
    end
    want_schedules()
    want_moves()
    if #c.times > 0 and is_full(s) then
        return {waits_for_room(c.id, s, s.due), 0, ''}
    end
    local made, why = 0, ''
    if c.dropped > 0 then
        s.dropped = s.dropped + c.dropped
        emit('schedule.missed', {'schedule', c.id, 'dropped', I(c.dropped), 'reason', 'late', 'policy', s.missed})
    end
    for _, due in ipairs(c.times) do
        local outcome, problem = fire_once(c.id, s, due)
        if outcome == 'full' then
            return {waits_for_room(c.id, s, due), made, why}
        elseif outcome then
            why = problem
        else
            made = made + 1
        end
    end
    s.due, s.full = c.next, nil
    schedule_save(c.id, s)
    if not s.due then
        emit('schedule.ended', {'schedule', c.id})
    end
    return {'fired', made, why}
end

-- The arguments of one schedule, and the position behind them.
local function command(a)
    local c = {id = ARGV[a + 1], version = ARGV[a + 2], due = ARGV[a + 3], hold = tonumber(ARGV[a + 4]),
        next = tonumber(ARGV[a + 5]), dropped = tonumber(ARGV[a + 6]), times = {}}
    local n = tonumber(ARGV[a + 7])
    for i = 1, n do
        c.times[i] = tonumber(ARGV[a + 7 + i])
    end
    return c, a + 7 + n
end

if not is_leader(KEYS[1], ARGV[2], ARGV[3], ARGV[4]) then
    return {'refused'}
end
local out, a = {'ok', ''}, 7
for _ = 1, tonumber(ARGV[7]) do
    local c
    c, a = command(a)
    local ok, result = pcall(fire, c)
    if not ok then
        redis.pcall('ZADD', SCHEDULES_DUE, I(NOW + DAMAGED_MS), c.id)
    end
    out[#out + 1] = ok and result or {'failed', 0, message_of(result)}
end
before_finish[#before_finish + 1] = meta_save
table.insert(before_finish, 1, events_publish) -- the last one
for i = #before_finish, 1, -1 do
    local ok, problem = pcall(before_finish[i])
    if not ok then
        out[#out + 1] = {'failed', 0, message_of(problem)}
    end
end
out[2] = schedule_wait()
return out
