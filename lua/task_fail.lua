#!lua flags=allow-oom
-- task_fail: ends an attempt without success: the task is delayed for another one, or dead.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: task.backoff_ms, task.backoff_max_ms, the four of include/retention.lua
--       request: task id, lease token, error (JSON), 1 = may be retried, a random number in 0..999 (jitter),
--       1 = the worker of the task crashed, the signal that killed it ('' = none is known)
-- Returns as the envelope. Caller: worker, task.fail.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include history.lua
-- @include dependents.lua
-- @include deny.lua
-- @include retention.lua
local failed = 0

-- Exponential: base × 2^(attempt - 1), at most the maximum, ±20 % by the random number.
local function retry_delay(t, random)
    local base, most = string.match(t.backoff or '', '^(%d+) ?(%d*)$')
    local delay = tonumber(base or op_arg(1)) * 2 ^ math.min(30, t.attempts - 1)
    delay = math.min(delay, tonumber(most ~= '' and most or op_arg(2)))
    return math.floor(delay * (0.8 + 0.4 * random / 999))
end

-- Why there is no other attempt, or nil.
local function dead_reason(t, may_retry, losses)
    if not may_retry then
        return 'no_retry'
    elseif t.attempts >= t.max_attempts then
        return 'attempts'
    elseif losses and losses >= tonumber(t.max_losses or '3') then
        return 'crashes'
    end
end

local function fail_task(id, key, t, a)
    local message, signal = ARGV[a + 3], ARGV[a + 7]
    local losses = ARGV[a + 6] == '1' and tonumber(t.losses or '0') + 1
    local why = dead_reason(t, ARGV[a + 4] == '1', losses)
    unlease(id, t.holder, t.assigned)
    history_add(id, t, losses and 'crashed' or 'failed', message, signal)
    if losses then
        call('HSET', key, 'cc', losses)
    end
    if why then
        dependents().to_dead(id, t, message, why)
        failed = failed + 1
        return '{"id":"' .. id .. '","status":"failed","dead":true,"dead_reason":"' .. why .. '"}', why
    end
    local due = NOW + retry_delay(t, tonumber(ARGV[a + 5]))
    call('HSET', key, 's', state_changed(key, 'delayed'), 'du', due, 'err', message, 'dn', deny_add(t.denied, t.holder))
    call('ZADD', P .. 'queue:delayed', due, id)
    count_move(t.queue, 'in_progress', 'delayed')
    return '{"id":"' .. id .. '","status":"delayed","dead":false,"next_run_at":' .. ISO(due) .. '}'
end

function op(r)
    local a, key = r.a, KEYS[r.k + 1]
    local id = ARGV[a + 1]
    local t, outcome, code, message, data = lease_enter(r, 'fail')
    if not t then
        return outcome, code, message, data
    end
    want_moves()
    want('zset', P .. 'queue:delayed')
    want('zset', P .. 'tasks:failed')
    want('zset', P .. 'queue:dead')
    lease_want(t)
    ended_want(id, t, #ARGV[a + 3])
    local why
    outcome, why = fail_task(id, key, t, a)
    lease_done(key, t, 'fail', outcome)
    emit('task.failed', {'id', id, 'worker', t.holder, 'attempt', I(t.attempts), 'queue', t.queue, 'dead',
        why and '1' or '0', 'reason', why or '', 'signal', ARGV[a + 7]})
    return outcome
end

function after_group()
    if failed > 0 then
        retention_after('failed', failed, retention_limits(op_arg, 3))
    end
end
-- @include commit.lua
