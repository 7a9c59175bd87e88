#!lua flags=allow-oom
-- system_heartbeat: an agent's beat: renews its own deadline and the leases that it names.
-- KEYS  the envelope's
-- ARGV  operation: task.lease_ms
--       request: id, incarnation, health, load, number of leases, then task id and token of each
-- Returns as the envelope. Caller: worker, system.heartbeat.
-- @include envelope.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua

-- Renews one lease; returns nil, or why it is not the caller's any more.
local function renew(id, token, worker)
    local key = task_key(id)
    local t = call('HMGET', key, 'st', 'tk', 'lm')
    if t[1] ~= 'in_progress' or t[2] ~= token then
        return t[1] == 'cancelled' and 'cancelled' or 'lease_lost'
    end
    local lease_ms = tonumber(t[3] or op_arg(1))
    call('HSET', key, 'le', I(NOW + lease_ms))
    call('ZADD', P .. 'leases', I(EFF() + lease_ms), id)
    return nil
end

function op(r)
    local a = r.a
    local id, incarnation = ARGV[a + 1], ARGV[a + 2]
    local key = instance_key(id)
    local known = call('HMGET', key, 'inc', 'st', 'lease', 'kind')
    if not known[1] or known[2] ~= 'ACTIVE' or known[4] == 'daemon' then
        return '{"alive":false,"leader":' .. leader_json() .. ',"cancel":[]}'
    end
    if known[1] ~= incarnation then
        return conflict('stale_incarnation', 'ACTIVE', 'the instance was registered again')
    end
    call('HSET', key, 'beat', NOW, 'health', ARGV[a + 3], 'load', ARGV[a + 4])
    call('ZADD', P .. 'instances:active', I(EFF() + tonumber(known[3])), id)
    local cancel = {}
    for i = 1, tonumber(ARGV[a + 5]) do
        local task, token = ARGV[a + 4 + 2 * i], ARGV[a + 5 + 2 * i]
        local why = renew(task, token, id)
        if why then
            cancel[#cancel + 1] = '{"id":"' .. task .. '","lease_token":"' .. token .. '","reason":"' .. why
                .. '"}'
        end
    end
    return '{"alive":true,"leader":' .. leader_json() .. ',"cancel":[' .. table.concat(cancel, ',') .. ']}'
end
-- @include commit.lua
