#!lua flags=allow-oom
-- schedule_remove: removes a schedule; the tasks that came of it stay.
-- KEYS  the envelope's; operation: cb:schedules, cb:schedules:due, cb:schedules:ids
-- ARGV  request: id, version that it must have ('' = any)
-- Returns as the envelope. Caller: worker, schedule.remove.
-- @include envelope.lua
-- @include schedule.lua

function op(r)
    local id, version = ARGV[r.a + 1], ARGV[r.a + 2]
    want_schedules()
    want('stream', EVENTS)
    if call('HEXISTS', SCHEDULES, id) == 0 then
        return schedule_unknown(id)
    end
    if version ~= '' then
        local s = schedule_load(id)
        if version ~= I(s.v) then
            return schedule_version_conflict(s)
        end
    end
    call('HDEL', SCHEDULES, id)
    call('ZREM', SCHEDULES_DUE, id)
    call('ZREM', SCHEDULES_IDS, id)
    emit('schedule.removed', {'schedule', id})
    return '{"id":' .. S(id) .. '}'
end
-- @include commit.lua
