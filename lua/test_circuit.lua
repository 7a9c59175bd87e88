#!lua flags=allow-oom
-- test_circuit: does nothing, well or badly, for tests and drills of the circuit breaker.
-- KEYS  the envelope's
-- ARGV  request: 1 = fail, 0 = succeed; the message of the failure
-- Returns as the envelope. Caller: worker, test.circuit.
-- @include envelope.lua

function op(r)
    if ARGV[r.a + 1] == '1' then
        return nil, -32603, ARGV[r.a + 2], '{"reason":"shouldFail"}'
    end
    return '{"success":true,"message":"the circuit is in order"}'
end
-- @include commit.lua
