#!lua flags=allow-oom
-- metrics_figures: what metrics show that only Redis knows (common/metrics.def: source ALL). It is asked for at each scrape, so it
-- looks at no queue and no instance: about twenty commands whatever there is.
-- KEYS  1 cb:clock
-- ARGV  1 prefix with colon   2… the domains
-- Returns a JSON object.
-- Caller: supervisor (supervisor.c) through figures.c, for claudebench metrics and metrics.textfile.
local P = ARGV[1]
-- @include base.lua
local before_finish = {} -- as in include/envelope.lua
-- @include counts.lua
-- @include counts_json.lua
-- @include backlog_json.lua
local ever = call('HMGET', COUNTS, 'ever:created', 'ever:completed', 'ever:failed', 'ever:cancelled',
    'ever:dead_letters_dropped')
return '{"tasks":' .. counts_json() .. ',"ever":{"created":' .. (ever[1] or '0') .. ',"completed":' .. (ever[2] or '0')
    .. ',"failed":' .. (ever[3] or '0') .. ',"cancelled":' .. (ever[4] or '0') .. '},"dead_letters":'
    .. I(call('XLEN', P .. 'stream:dead')) .. ',"dead_letters_dropped":' .. (ever[5] or '0') .. ',"events":'
    .. I(call('XLEN', P .. 'stream:events')) .. ',"backlog":{' .. backlogs_json(2) .. '}}'
