-- park.lua: parks a claim that found nothing (wake.lua says what a waiter is). Needs task.lua and claim.lua; the request's
-- arguments are those of claim.lua, then wait_ms.

-- How long the claim may wait: 0 when nobody would get the answer, and never longer than its deadline.
local function park_wait_ms(r)
    local ms = r.form.list ~= 0 and tonumber(ARGV[r.a + CLAIM_ARGS + 1]) or 0
    local deadline = tonumber(request_deadline(r))
    return deadline > 0 and math.min(ms, deadline - NOW) or ms
end

-- Said before the first write: what park() writes has the right types.
local function park_want(w)
    want('hash', P .. 'waiters')
    want('zset', P .. 'waiters:deadline')
    want('set', P .. 'waiters:queues')
    want('zset', waiting().instance_key(w.worker))
    waiting().each_set(w.queue, w.roles, function(set)
        want('zset', set)
    end)
end

-- The name of the waiter that a claim is, or was when it came before.
local function park_name(r)
    return r.scope or request_entry(r)
end

-- A repeat that finds tasks: whoever would answer the first one would answer nobody.
local function park_forget(r)
    local W, waiter = waiting(), park_name(r)
    local old = W.read(waiter)
    if old then
        W.remove(waiter, old)
    end
end

-- A repeat under the same idempotency key replaces the waiter, and keeps its place: its caller has a new connection.
local function park(r, w, wait_ms, max_waiters)
    local W, waiter = waiting(), park_name(r)
    local worker, queue, roles = w.worker, w.queue, w.roles
    local arrival = I(next_number())
    local old = W.read(waiter)
    if old then
        arrival = call('ZSCORE', W.queue_key(old[3]), waiter) or arrival
        W.remove(waiter, old)
    elseif call('ZCARD', P .. 'waiters:deadline') >= max_waiters then -- the leader's own waiter has no deadline
        return nil, -32007, 'too many claims wait', '{"retry_after_ms":1000}'
    end
    local token = string.sub(KEYS[5 + K + r.form.list], #P + 7)
    call('HSET', P .. 'waiters', waiter, cjson.encode({token, request_id(r), queue, roles, worker, I(NOW)}))
    call('ZADD', P .. 'waiters:deadline', I(EFF() + wait_ms), waiter)
    call('ZADD', W.instance_key(worker), arrival, waiter)
    W.each_set(queue, roles, function(set, name)
        if call('ZADD', set, arrival, waiter) == 1 then
            call('SADD', P .. 'waiters:queues', name)
        end
    end)
    return nil, PARKED
end
