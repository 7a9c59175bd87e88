#!lua flags=allow-oom
-- system_health: adds the circuits that are not closed, whose state all hosts share, to what the worker found on its own host's
-- scoreboard.
-- KEYS  the envelope's
-- ARGV  request: status, services as JSON, since as JSON, fallbacks, number of reasons, these
-- Returns as the envelope. Caller: worker, system.health.
-- @include envelope.lua
-- @include circuits_json.lua
local REASONS_MAX = 10

function op(r)
    local status, n = ARGV[r.a + 1], tonumber(ARGV[r.a + 5])
    local reasons = {}
    for i = 1, n do
        reasons[i] = S(ARGV[r.a + 5 + i])
    end
    local circuits, said = circuits_json(0)
    for i = 1, math.min(#said, REASONS_MAX - n) do
        reasons[n + i] = S(said[i])
    end
    if #said > 0 and status == 'healthy' then
        status = 'degraded'
    end
    return '{"status":"' .. status .. '","services":' .. ARGV[r.a + 2] .. ',"since":' .. ARGV[r.a + 3] .. ',"reasons":['
        .. table.concat(reasons, ',') .. '],"fallbacks":' .. ARGV[r.a + 4] .. ',"circuits":' .. circuits .. '}'
end
-- @include commit.lua
