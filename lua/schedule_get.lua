#!lua flags=allow-oom
-- schedule_get: one schedule.
-- KEYS  the envelope's; operation: cb:schedules, cb:schedules:due, cb:schedules:ids
-- ARGV  request: id
-- Returns as the envelope. Caller: worker, schedule.get.
-- @include envelope.lua
-- @include schedule.lua

function op(r)
    local id = ARGV[r.a + 1]
    local s = schedule_load(id)
    if not s then
        return schedule_unknown(id)
    end
    return schedule_json(id, s)
end
-- @include commit.lua
