#!lua flags=allow-oom
-- system_metrics: adds the exact counts of tasks, and the figures of all hosts, to what the worker found on its own
-- host's scoreboard.
-- KEYS  the envelope's
-- ARGV  request: the result so far (a JSON object without its closing brace)
-- Returns as the envelope. Caller: worker, system.metrics.
-- @include envelope.lua
-- @include task.lua
-- @include counts_json.lua
-- @include metrics_json.lua
-- @include circuits_json.lua

function op(r)
    local global, scaling = metrics_json()
    return ARGV[r.a + 1] .. ',"tasks":' .. counts_json() .. ',"global":' .. global .. ',"scaling":' .. scaling
        .. ',"circuits":' .. (circuits_json(-1)) .. '}'
end
-- @include commit.lua
