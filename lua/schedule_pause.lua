#!lua flags=allow-oom
-- schedule_pause: pauses a schedule, or lets a paused one go on. What was due in between is not fired.
-- KEYS  the envelope's; operation: cb:schedules, cb:schedules:due, cb:schedules:ids
-- ARGV  request: id, 1 to pause or 0 to go on
-- Returns as the envelope. Caller: worker, schedule.pause and schedule.resume.
-- @include envelope.lua
-- @include schedule.lua

-- As in schedule_add.lua.
local KEPT_BYTES = 16384
local function outcome(id, s)
    local json = schedule_json(id, s)
    return json, #json > KEPT_BYTES and id or nil
end

function op(r)
    local id, pause = ARGV[r.a + 1], ARGV[r.a + 2] == '1'
    want_schedules()
    want('stream', EVENTS)
    local s = schedule_load(id)
    if not s then
        return schedule_unknown(id)
    end
    if pause == (s.paused or false) then
        return schedule_json(id, s), false
    end
    s.paused, s.full = pause or nil, nil
    s.v, s.up = next_number(), NOW
    if not pause then
        s.floor = NOW
        if s.every and s.due and s.due < NOW then
            s.due = schedule_every(s, NOW)
        end
    end
    schedule_save(id, s, s.due and math.max(s.due, s.floor or 0))
    emit(pause and 'schedule.paused' or 'schedule.resumed', {'schedule', id, 'version', I(s.v)})
    return outcome(id, s)
end

function op_replay(_, id)
    local s = schedule_load(id)
    if not s then
        return schedule_unknown(id)
    end
    return outcome(id, s)
end
-- @include commit.lua
