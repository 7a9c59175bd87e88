#!lua
-- system_event_publish: an event of a user's own. Of all that are published under one id the first is accepted and the others
-- are counted, in one script with the event itself, so that neither is there without the other.
-- KEYS  the envelope's
-- ARGV  operation: events.dedupe_ms, events.dedupe_ids
--       request: type, id ('' = none), partition ('' = none), data (JSON, '' = none)
-- Returns as the envelope. Caller: worker, system.event.publish.
-- @include envelope.lua
local PROCESSED = P .. 'processed:events'
local TRIMMED = 100 -- ids that one call forgets: more than it can add

-- Ids are known for a time and up to a number, whichever is over first.
local function forget_old()
    local old = call('ZRANGEBYSCORE', PROCESSED, '-inf', I(NOW - tonumber(op_arg(1))), 'LIMIT', 0, TRIMMED)
    if #old > 0 then
        call('ZREM', PROCESSED, unpack(old))
    end
    local over = call('ZCARD', PROCESSED) - tonumber(op_arg(2))
    if over > 0 then
        call('ZREMRANGEBYRANK', PROCESSED, 0, math.min(over, TRIMMED) - 1)
    end
end

function op(r)
    local kind, id, partition, data = ARGV[r.a + 1], ARGV[r.a + 2], ARGV[r.a + 3], ARGV[r.a + 4]
    want('stream', EVENTS)
    want('zset', PROCESSED)
    if id ~= '' then
        local at = call('ZSCORE', PROCESSED, id)
        if at and NOW - tonumber(at) <= tonumber(op_arg(1)) then
            call('INCR', KEYS[3])
            return '{"accepted":false,"event":null}', false
        end
        call('ZADD', PROCESSED, NOW_TEXT, id)
        forget_old()
    end
    return '{"accepted":true,"event":"' .. emit(kind, {'id', id, 'partition', partition, 'data', data}) .. '"}'
end
-- @include commit.lua
