-- gate.lua: circuit and rate limit of a group of requests of one method. The body of a function, so that a group
-- without either pays nothing for it. Needs base.lua; GATE_AT, behind which the gate's arguments begin in ARGV; `requests`
-- and `entries`, the group's; caller_of(). Returns the gate.
--
-- Its arguments: method, rate limit (0 = none), its window ms; of the breaker: threshold (0 = none), window ms, open ms, most
-- open ms, back-off in thousandths, half_open, close_after, permit ms, methods that it depends on; and a letter for each
-- request: e or b = it was admitted by gate_enter.lua; t or b = a deadline that passed is the method's own.
--
-- A closed circuit costs one command a group, and a limit some four an actor: the k of m requests that may pass are found by
-- counting, and all is written at the end. Of a closed circuit without failures, and of successes, nothing is written. What is
-- seldom needed is not even made: the breaker's functions come with the first failure, or when it is not closed.
local METHOD = ARGV[GATE_AT + 1]
local LIMIT, WINDOW = tonumber(ARGV[GATE_AT + 2]), tonumber(ARGV[GATE_AT + 3])
local HAS_BREAKER = ARGV[GATE_AT + 4] ~= '0'
local FLAGS = ARGV[GATE_AT + 13]
local HAS_OUTSIDE = string.find(FLAGS, '[eb]')

local slow
local function breaker_at_work()
    slow = slow or (function()
        -- @include breaker.lua
    end)()
    return slow
end
if HAS_BREAKER then
    local st = redis.pcall('HGET', P .. 'circuit:' .. METHOD, 'st')
    if ARGV[GATE_AT + 12] ~= '' or st and st ~= 'closed' then
        breaker_at_work()
    end
end

local limiter = LIMIT > 0 and (function()
    -- @include limiter.lua
end)()

local gate = {}
local entered, is_probe = false, false -- the request at hand

-- May request i pass? Returns nothing, or code, message, data. `is_outside`: its work is still to be done, after this call.
function gate.enter(r, i, is_outside)
    entered, is_probe = true, false
    if HAS_OUTSIDE and string.find(string.sub(FLAGS, i, i), '[eb]') then
        is_probe = HAS_BREAKER and breaker_at_work().has_permit(entries[i])
        return
    end
    local code, message, data
    if slow then
        code, message, data = slow.refuse()
    end
    if limiter and not code then
        code, message, data = limiter.take(caller_of(r).actor)
    end
    if code then
        entered = false
        return code, message, data
    end
    is_probe = slow and slow.admit(entries[i], is_outside)
end

-- The deadline passed: a failure of the method, unless the caller's own patience was shorter than the method's time.
function gate.late(i)
    local flag = string.sub(FLAGS, i, i)
    if HAS_BREAKER and flag ~= '.' then
        breaker_at_work().late(entries[i], flag ~= 'e')
    end
end

-- How it went. A refusal for what the caller asked (no such task, wrong state) is the method at work: a success.
function gate.leave(i, code)
    if entered and (slow or HAS_BREAKER and code == -32603) then
        breaker_at_work().leave(entries[i], code, is_probe)
    end
    entered = false
end

function gate.save()
    if limiter then
        limiter.save()
    end
    if slow then
        slow.save()
    end
end

return gate
