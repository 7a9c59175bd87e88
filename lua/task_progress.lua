#!lua flags=allow-oom
-- task_progress: keeps how far the holder of a lease has come. It moves nothing and renews nothing; the event is
-- written at most once a second per task.
-- KEYS  the envelope's; request: the task
-- ARGV  request: task id, lease token, percent (JSON number), note (JSON or '')
-- Returns as the envelope. Caller: worker, task.progress.
-- @include envelope.lua
-- @include task.lua
local EVENT_MS = 1000

function op(r)
    local a, key = r.a, KEYS[r.k + 1]
    local id, note = ARGV[a + 1], ARGV[a + 4]
    local t = task_read(key, {'s', 'tk', 'pe'})
    local s = task_state(t[1])
    if t.err then
        error(t)
    elseif not s then
        return not_found(id)
    elseif s.status ~= 'in_progress' or t[2] ~= ARGV[a + 2] or not s.hold then
        return conflict('stale_lease', s.status, 'the lease is not the current one')
    end
    want('stream', EVENTS)
    local progress = '{"percent":' .. ARGV[a + 3] .. (note ~= '' and ',"note":' .. note or '') .. ',"at":' .. ISO(NOW)
        .. '}'
    call('HSET', key, 'pg', progress)
    local last = tonumber(t[3] or '')
    if not last or math.abs(NOW - last) >= EVENT_MS then
        call('HSET', key, 'pe', I(NOW))
        emit('task.progress', {'id', id, 'worker', s.hold[4], 'percent', ARGV[a + 3]})
    end
    return '{}'
end
-- @include commit.lua
