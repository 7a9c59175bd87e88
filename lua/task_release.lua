#!lua flags=allow-oom
-- task_release: gives a task back to its queue; the attempt is not charged.
-- KEYS  the envelope's; request: the task
-- ARGV  request: task id, lease token
-- Returns as the envelope. Caller: worker, task.release.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua

function op(r)
    local a, key = r.a, KEYS[r.k + 1]
    local id = ARGV[a + 1]
    local t, outcome, code, message, data = lease_enter(r, 'release')
    if not t then
        return outcome, code, message, data
    end
    want_moves()
    lease_want(t)
    want_queue(t.queue, t.roles)
    outcome = '{"id":"' .. id .. '","status":"pending"}'
    unlease(id, t.holder, t.assigned)
    to_pending(id, t.queue, t.priority, t.roles, math.max(0, t.attempts - 1), 'in_progress')
    lease_done(key, t, 'release', outcome)
    emit('task.released', {'id', id, 'worker', t.holder, 'queue', t.queue})
    return outcome
end
-- @include commit.lua
