#!lua
-- schedule_add: adds a schedule, or replaces the one of that id. The same content again changes nothing.
-- KEYS  the envelope's; operation: cb:schedules, cb:schedules:due, cb:schedules:ids
-- ARGV  operation: task.max_schedules
--       request: id ('' = a new one is made), version that it must have ('' = any, 0 = there must be none), cron ('' =
--       none), every_ms ('' = none), time zone, missed, paused (1, 0, '' = as it is), start, end (wall ms, '' = none),
--       first time of the cron expression (wall ms, '' = none), template (JSON), and the nine of include/create.lua
-- Returns as the envelope. Caller: worker, schedule.add.
-- @include envelope.lua
-- @include schedule.lua
local MAX_SCHEDULES = tonumber(op_arg(1))
local LIST_ARGS = 9

local function optional(text)
    return text ~= '' and text or nil
end

local function new_record(a)
    local s = {cron = optional(ARGV[a + 3]), every = tonumber(ARGV[a + 4]), tz = ARGV[a + 5], missed = ARGV[a + 6],
        start = tonumber(ARGV[a + 8]), finish = tonumber(ARGV[a + 9]), template = ARGV[a + 11], list = {},
        paused = ARGV[a + 7] == '1' or nil, cr = NOW, fired = 0, dropped = 0}
    for i = 1, LIST_ARGS do
        s.list[i] = ARGV[a + 11 + i]
    end
    s.anchor = s.every and (s.start or NOW)
    if s.every then
        s.due = schedule_every(s, NOW)
    else
        s.due = tonumber(ARGV[a + 10])
    end
    return s
end

local function same(s, old, members)
    for _, member in ipairs(members) do
        if s[member] ~= old[member] then
            return false
        end
    end
    return true
end

-- What the one that is replaced hands on: its past, and its rhythm if that is asked for again.
local function inherit(s, old, paused)
    s.cr, s.fired, s.dropped, s.last, s.task = old.cr, old.fired, old.dropped, old.last, old.task
    if paused == '' then
        s.paused = old.paused
    end
    if same(s, old, {'cron', 'every', 'tz', 'start', 'finish'}) then
        s.anchor, s.due, s.floor = old.anchor, old.due, old.floor
    end
    if old.paused and not s.paused then
        s.floor = NOW
    end
end

-- A repeat gets the first reply, unless that is large: then the schedule as it is by then.
local KEPT_BYTES = 16384
local function outcome(id, s, what)
    local json = '{"outcome":"' .. what .. '","schedule":' .. schedule_json(id, s) .. '}'
    return json, #json > KEPT_BYTES and what .. ' ' .. id or nil
end

function op(r)
    local a = r.a
    local id, version, paused = ARGV[a + 1], ARGV[a + 2], ARGV[a + 7]
    want_schedules()
    want('stream', EVENTS)
    local old = id ~= '' and schedule_load(id) or nil
    if version ~= '' and version ~= (old and I(old.v) or '0') then
        if not old then
            return schedule_unknown(id)
        end
        return schedule_version_conflict(old)
    end
    if not old and call('HLEN', SCHEDULES) >= MAX_SCHEDULES then
        return nil, -32007, 'there are too many schedules', '{"retry_after_ms":60000}'
    end
    local s = new_record(a)
    if old then
        inherit(s, old, paused)
        if same(s, old, {'cron', 'every', 'tz', 'start', 'finish', 'missed', 'template', 'paused'}) then
            return outcome(id, old, 'unchanged'), false
        end
    end
    s.v, s.up = next_number(), NOW
    if id == '' then
        id = string.format('s-%016.0f', s.v)
    end
    schedule_save(id, s, s.due and math.max(s.due, s.floor or 0))
    call('ZADD', SCHEDULES_IDS, 0, id)
    emit(old and 'schedule.replaced' or 'schedule.added', {'schedule', id, 'version', I(s.v)})
    return outcome(id, s, old and 'replaced' or 'created')
end

function op_replay(_, memo)
    local what, id = string.match(memo, '^(%a+) (.*)$')
    local s = schedule_load(id)
    if not s then
        return schedule_unknown(id)
    end
    return outcome(id, s, what)
end
-- @include commit.lua
