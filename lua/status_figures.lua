#!lua flags=allow-oom
-- status_figures: what `claudebench status` and `claudebench top` show that only Redis knows: tasks, queues, instances, what waits in
-- the request streams, and the figures of all daemons. Looks at no more than 100 queues and 100 instances.
-- KEYS  1 cb:clock
-- ARGV  1 prefix with colon   2… the domains
-- Returns a JSON object.
-- Caller: supervisor (figures.c), when somebody asks how it is.
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
-- @include instances_json.lua
local QUEUES = 100

-- Requests that wait or are being handled, and the age of the first. One that was handed on is as old as its first entry.
local function backlog_json(domain)
    local stream = P .. 'requests:' .. domain
    local n = call('XLEN', stream)
    local first = n > 0 and call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not first then
        return '"' .. domain .. '":{"length":0}'
    end
    local came = string.match(first[1], '^%d+')
    for i = 1, #first[2], 2 do
        if first[2][i] == 'origin' then
            came = string.match(first[2][i + 1], '^%d+') or came
        end
    end
    return '"' .. domain .. '":{"length":' .. I(n) .. ',"oldest_ms":' .. I(math.max(0, NOW - tonumber(came))) .. '}'
end

local backlog = {}
for i = 2, #ARGV do
    backlog[#backlog + 1] = backlog_json(ARGV[i])
end
local page, more = queues_page('', QUEUES)
local global, scaling = metrics_json()
return '{"tasks":' .. counts_json() .. ',"queues":' .. page .. ',"more_queues":' .. tostring(more ~= nil)
    .. ',"all_paused":' .. tostring(queue_is_paused('*')) .. ',"instances":[' .. instances_json() .. '],"instance_count":'
    .. I(instances_count()) .. ',"backlog":{' .. table.concat(backlog, ',') .. '},"leader":' .. leader_json()
    .. ',"global":' .. global .. ',"scaling":' .. scaling .. '}'
