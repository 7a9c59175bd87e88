#!lua flags=allow-oom
-- task_fail: ends an attempt without success: the task is delayed for another one, or dead.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: task.backoff_ms, task.backoff_max_ms, keep_finished, keep_finished_ms, keep_finished_min_ms
--       request: task id, lease token, error (JSON), 1 = may be retried, a random number in 0..999 (jitter)
-- Returns as the envelope. Caller: worker, task.fail.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include retention.lua
local failed = 0

-- Exponential: base × 2^(attempt - 1), at most the maximum, ±20 % by the random number.
local function retry_delay(t, random)
    local delay = tonumber(t.backoff or op_arg(1)) * 2 ^ math.min(30, t.attempts - 1)
    delay = math.min(delay, tonumber(op_arg(2)))
    return math.floor(delay * (0.8 + 0.4 * random / 999))
end

function op(r)
    local a, key = r.a, KEYS[r.k + 1]
    local id = ARGV[a + 1]
    local t = lease_read(key)
    if not t then
        return not_found(id)
    end
    local verdict, code, message, data = lease_check(t, 'fail', ARGV[a + 2], '')
    if not verdict then
        return nil, code, message, data
    end
    if verdict == 'again' then
        return t.outcome
    end
    want_moves()
    want('zset', P .. 'queue:delayed')
    want('zset', P .. 'tasks:failed')
    want('zset', P .. 'queue:dead')
    lease_want(t)
    local outcome
    unlease(id, t.holder, t.assigned)
    if ARGV[a + 4] == '1' and t.attempts < t.max_attempts then
        local due = NOW + retry_delay(t, tonumber(ARGV[a + 5]))
        outcome = '{"id":"' .. id .. '","status":"delayed","dead":false,"next_run_at":' .. ISO(due) .. '}'
        call('HSET', key, 'st', 'delayed', 'du', due, 'err', ARGV[a + 3], 'up', NOW)
        call('HINCRBY', key, 'v', 1)
        call('ZADD', P .. 'queue:delayed', due, id)
        count_move(t.queue, 'in_progress', 'delayed')
    else
        outcome = '{"id":"' .. id .. '","status":"failed","dead":true}'
        to_dead(id, t.queue, 'in_progress', ARGV[a + 3])
        failed = failed + 1
    end
    lease_done(key, t, 'fail', outcome)
    emit('task.failed', {'id', id, 'worker', t.holder, 'attempt', I(t.attempts), 'queue', t.queue, 'dead',
        string.find(outcome, '"dead":true', 1, true) and '1' or '0'})
    return outcome
end

function after_group()
    if failed > 0 then
        retention_trim('failed', math.min(100, 2 * failed), NOW - tonumber(op_arg(4)),
            tonumber(op_arg(3)), NOW - tonumber(op_arg(5)))
    end
end
-- @include commit.lua
