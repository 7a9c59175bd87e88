#!lua flags=allow-oom
-- system_unregister: an agent leaves; its tasks go back at once (≤ 100 here, the rest by the next ticks).
-- KEYS  the envelope's
-- ARGV  request: id, incarnation
-- Returns as the envelope. Caller: worker, system.unregister.
-- @include envelope.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua

function op(r)
    local id, incarnation = ARGV[r.a + 1], ARGV[r.a + 2]
    local known = call('HMGET', instance_key(id), 'inc', 'kind')
    if not known[1] then
        return nil, -32004, 'no such instance', '{"reason":"unknown"}'
    end
    if known[1] ~= incarnation or known[2] == 'daemon' then
        return conflict('stale_incarnation', 'ACTIVE', 'the instance was registered again')
    end
    want('stream', EVENTS)
    want('zset', P .. 'instances:active')
    want('zset', P .. 'instances:offline')
    held_want(id)
    local moved = instance_end(id, 100, 'unregistered', emit)
    return '{"unregistered":true,"released":' .. #moved .. '}'
end
-- @include commit.lua
