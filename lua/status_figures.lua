#!lua flags=allow-oom
-- status_figures: what `claudebench status` and `claudebench top` show that only Redis knows: tasks, queues, instances, what waits in
-- the request streams, and the figures of all daemons. Looks at no more than 100 queues and 100 instances.
-- KEYS  1 cb:clock
-- ARGV  1 prefix with colon   2… the domains
-- Returns a JSON object.
-- Caller: supervisor (supervisor.c) through figures.c, when somebody asks how it is.
local P = ARGV[1]
-- @include base.lua
local before_finish = {} -- as in include/envelope.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua
-- @include paused.lua
-- @include counts_json.lua
-- @include metrics_json.lua
-- @include queues_json.lua
-- @include backlog_json.lua
-- @include instances_json.lua
local QUEUES = 100

local page, more = queues_page('', QUEUES)
local global, scaling = metrics_json()
return '{"tasks":' .. counts_json() .. ',"queues":' .. page .. ',"more_queues":' .. tostring(more ~= nil)
    .. ',"all_paused":' .. tostring(queue_is_paused('*')) .. ',"instances":[' .. instances_json() .. '],"instance_count":'
    .. I(instances_count()) .. ',"backlog":{' .. backlogs_json(2) .. '},"leader":' .. leader_json()
    .. ',"global":' .. global .. ',"scaling":' .. scaling .. '}'
