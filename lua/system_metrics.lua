#!lua flags=allow-oom
-- system_metrics: adds the exact counts of tasks to what the worker found on its host's scoreboard.
-- KEYS  the envelope's
-- ARGV  request: the result so far (a JSON object without its closing brace)
-- Returns as the envelope. Caller: worker, system.metrics.
-- @include envelope.lua
-- @include task.lua
-- @include counts.lua

function op(r)
    return ARGV[r.a + 1] .. ',"tasks":' .. counts_json() .. '}'
end
-- @include commit.lua
