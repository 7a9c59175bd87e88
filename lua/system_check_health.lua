#!lua flags=allow-oom
-- system_check_health: one sweep on demand: who is alive, who is not, and whose tasks moved. Looks at the 100 instances that
-- were heard longest ago, gives up at most 10 and moves at most 100 tasks; the ticks do the rest.
-- KEYS  the envelope's
-- ARGV  operation: cluster.suspect_ms, cluster.offline_ms
--       request: timeout ms ('' = each instance's own lease)
-- Returns as the envelope. Caller: worker, system.check_health.
-- @include envelope.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua
-- @include silence.lua
local LOOKED_AT, MOVED = 100, 100

-- Has it been silent for longer than its lease, or than `timeout`? Its deadline is its last beat and its lease.
local function is_silent(id, deadline, timeout)
    if deadline <= EFF() then
        return true
    end
    local lease = timeout and tonumber(redis.pcall('HGET', instance_key(id), 'lease'))
    return lease and EFF() - (deadline - lease) > timeout
end

local function names_json(ids)
    local out = {}
    for i = 1, #ids do
        out[i] = S(ids[i])
    end
    return '[' .. table.concat(out, ',') .. ']'
end

function op(r)
    local timeout = tonumber(ARGV[r.a + 1])
    timeout = timeout and math.max(timeout, tonumber(op_arg(2))) -- a daemon beats each tick, and no sooner
    want('stream', EVENTS)
    want('zset', P .. 'instances:active')
    want('zset', P .. 'instances:offline')
    local known = call('ZRANGE', P .. 'instances:active', 0, LOOKED_AT - 1, 'WITHSCORES')
    local healthy, silent = {}, {}
    for i = 1, #known, 2 do
        local list = is_silent(known[i], tonumber(known[i + 1]), timeout) and silent or healthy
        list[#list + 1] = known[i]
    end
    local ended, is_late_now = silence_sweep(STREAM, tonumber(op_arg(1)), silent, MOVED, emit, function() end)
    local failed, moved = {}, {}
    for i = 1, #ended do
        failed[i] = ended[i].id
        if ended[i].moved > 0 then
            moved[#moved + 1] = S(ended[i].id) .. ':' .. I(ended[i].moved)
        end
    end
    local is_partial = #ended < #silent or call('ZCARD', P .. 'instances:active') > LOOKED_AT
    return '{"healthy":' .. names_json(healthy) .. ',"failed":' .. names_json(failed) .. ',"reassigned":{'
        .. table.concat(moved, ',') .. '},"postponed":' .. tostring(is_late_now) .. ',"isPartial":' .. tostring(is_partial) .. '}'
end
-- @include commit.lua
