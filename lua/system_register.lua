#!lua flags=allow-oom
-- system_register: makes an agent known, as a new incarnation; tasks of an older one go back at once.
-- KEYS  the envelope's
-- ARGV  operation: cluster.agent_lease_ms
--       request: id, roles (JSON), capacity, lease_ms ('' = default), metadata (JSON), 1 = take over a live one,
--       the new incarnation, the queues that it serves and its roles (joined by spaces)
-- Returns as the envelope. Caller: worker, system.register.
-- @include envelope.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua
local INSTANCES_MAX = 10000

-- Room for one more: when there is none, the one that ended longest ago goes before its hour is over. This works at full
-- memory, too, so that it must not be without end.
local function make_room()
    local offline = P .. 'instances:offline'
    if call('ZCARD', P .. 'instances:active') + call('ZCARD', offline) < INSTANCES_MAX then
        return true
    end
    local oldest = call('ZRANGE', offline, 0, 0)[1]
    if oldest then
        call('UNLINK', instance_key(oldest))
        call('ZREM', offline, oldest)
    end
    return oldest
end

function op(r)
    local a = r.a
    local id, incarnation = ARGV[a + 1], ARGV[a + 7]
    local key = instance_key(id)
    local known = call('HMGET', key, 'kind', 'reg', 'roles', 'qs', 'rs')
    local live = instance_is_live(id)
    if live and known[1] == 'daemon' then
        return conflict('state', 'ACTIVE', 'the id belongs to a running daemon')
    end
    if live and ARGV[a + 6] ~= '1' then
        return conflict('state', 'ACTIVE', 'the id is registered and alive')
    end
    want('stream', EVENTS)
    want('zset', P .. 'instances:offline')
    held_want(id)
    roles_want(ARGV[a + 2])
    want('zset', P .. 'instances:active')
    local sets = load_sets(known[4] or '', known[5] or '') -- of its last registration
    for i = 1, #sets do
        want('zset', sets[i])
    end
    if not known[1] and not make_room() then
        return nil, -32007, 'too many instances are registered', '{"retry_after_ms":60000}'
    end
    local lease = ARGV[a + 4] ~= '' and ARGV[a + 4] or op_arg(1)
    for i = 1, #sets do
        call('ZREM', sets[i], id)
    end
    roles_leave(id, known[3])
    roles_join(id, ARGV[a + 2])
    call('HSET', key, 'inc', incarnation, 'kind', 'agent', 'st', 'ACTIVE', 'roles', ARGV[a + 2], 'capacity',
        ARGV[a + 3], 'lease', lease, 'metadata', ARGV[a + 5], 'reg', NOW, 'beat', NOW, 'qs', ARGV[a + 8], 'rs',
        ARGV[a + 9])
    call('HDEL', key, 'mu', 'seen')
    load_renew(id)
    call('ZADD', P .. 'instances:active', I(EFF() + tonumber(lease)), id)
    if known[1] == 'daemon' then -- the daemon that was here does not come back with its secret
        call('HDEL', key, 'sec')
    end
    call('ZREM', P .. 'instances:offline', id)
    wake_all_of(id)
    emit('instance.registered', {'instance', id, 'incarnation', incarnation})
    local _, rest = held_release(id, 100, incarnation, 'new incarnation', emit)
    if rest > 0 then
        call('HSET', key, 'old', '1') -- its beats move the rest
    end
    return '{"registered":true,"incarnation":"' .. incarnation .. '","leader":' .. leader_json() .. '}'
end
-- @include commit.lua
