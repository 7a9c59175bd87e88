#!lua flags=allow-oom
-- system_heartbeat: an agent's beat: renews its own deadline and the leases that it names.
-- KEYS  the envelope's
-- ARGV  operation: task.lease_ms
--       request: id, incarnation, health, load, number of leases, then task id and token of each; what it has seen of
--       others (JSON, '' = it says nothing)
-- Returns as the envelope. Caller: worker, system.heartbeat.
-- @include envelope.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua

-- Renews one lease; returns nil, or why it is not the caller's any more.
local function renew(id, token)
    local t = task_read(task_key(id), {'s', 'tk', 'lm'})
    local s = task_state(t[1])
    if not s or s.status ~= 'in_progress' or t[2] ~= token or not s.hold then
        return s and s.status == 'cancelled' and 'cancelled' or 'lease_lost'
    end
    extend_lease(id, s, nil, t[3] or op_arg(1))
    return nil
end

-- The instance held more tasks under an older incarnation than its registration could move.
local function move_old(id, incarnation)
    local moved, rest = held_release(id, 100, incarnation, 'new incarnation', emit)
    if #moved == 0 and rest <= 100 then -- all of them were looked at
        call('HDEL', instance_key(id), 'old')
    end
end

function op(r)
    local a = r.a
    local id, incarnation = ARGV[a + 1], ARGV[a + 2]
    local key = instance_key(id)
    local known = call('HMGET', key, 'inc', 'st', 'lease', 'kind', 'old')
    if not known[1] or known[2] ~= 'ACTIVE' or known[4] == 'daemon' then
        return '{"alive":false,"leader":' .. leader_json() .. ',"cancel":[]}'
    end
    if known[1] ~= incarnation then
        return conflict('stale_incarnation', 'ACTIVE', 'the instance was registered again')
    end
    want('stream', EVENTS)
    want('zset', P .. 'instances:active')
    held_want(id)
    call('HSET', key, 'beat', NOW, 'health', ARGV[a + 3], 'load', ARGV[a + 4])
    call('ZADD', P .. 'instances:active', I(EFF() + tonumber(known[3])), id)
    local seen = ARGV[a + 6 + 2 * tonumber(ARGV[a + 5])]
    if seen ~= '' then
        call('HSET', key, 'seen', seen)
    end
    if known[5] then
        move_old(id, incarnation)
    end
    local cancel = {}
    for i = 1, tonumber(ARGV[a + 5]) do
        local task, token = ARGV[a + 4 + 2 * i], ARGV[a + 5 + 2 * i]
        local why = renew(task, token)
        if why then
            cancel[#cancel + 1] = '{"id":"' .. task .. '","lease_token":"' .. token .. '","reason":"' .. why
                .. '"}'
        end
    end
    return '{"alive":true,"leader":' .. leader_json() .. ',"cancel":[' .. table.concat(cancel, ',') .. ']}'
end
-- @include commit.lua
