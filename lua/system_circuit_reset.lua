#!lua flags=allow-oom
-- system_circuit_reset: closes the circuit of a method by hand, whatever it waits for, and forgets its failures and permits. What was
-- counted stays.
-- KEYS  the envelope's
-- ARGV  request: method, 1 if there is such a method ('' = no)
-- Returns as the envelope. Caller: worker, system.circuit.reset.
-- @include envelope.lua
-- @include circuit.lua

function op(r)
    local name = ARGV[r.a + 1]
    if ARGV[r.a + 2] == '' then
        return nil, -32004, 'no such method', '{"reason":"unknown"}'
    end
    want('hash', circuit_key(name))
    want('zset', CIRCUITS)
    local m = circuit_read(name)
    local result = '{"method":' .. S(name) .. ',"was":"' .. m.st .. '"' .. (m.st == 'closed' and '' or ',"since":' .. ISO(m.since)
        .. ',"reason":' .. S(m.why)) .. '}'
    if m.st == 'closed' and #m.fails == 0 then
        return result, false
    elseif m.st == 'closed' then
        m.fails, m.is_changed = {}, true
    else
        local by = caller_of(r).actor
        circuit_close(m, 'reset by ' .. (by ~= '' and by or 'an operator'))
    end
    circuit_save(m)
    return result
end
-- @include commit.lua
