-- instance.lua: instances (daemons and agents) and their end. Needs task.lua and held.lua.
--
-- Fields: inc incarnation; kind daemon|agent; st ACTIVE|OFFLINE; roles metadata (JSON); capacity; lease lease_ms;
-- reg first registered, beat last beat (wall ms); health load (as reported); sec hash of a daemon's secret;
-- old = it may hold tasks of an older incarnation; qs rs = the queues that it serves and its roles, joined by spaces; mu = it let
-- go by what was assigned to it, and is given nothing more until it claims again.

-- @include roles.lua

-- The leader's id as JSON, or null; a leader whose lease has ended is none.
local function leader_json()
    local l = call('HMGET', P .. 'leader:current', 'id', 'deadline')
    if l[1] and tonumber(l[2]) > EFF() then
        return S(l[1])
    end
    return 'null'
end

-- Live: its deadline has not passed.
local function instance_is_live(id)
    local deadline = call('ZSCORE', P .. 'instances:active', id)
    return deadline and tonumber(deadline) > EFF()
end

-- Marks it OFFLINE once, and hands at most `limit` of its tasks back. When it holds none, it leaves the
-- live index. Returns the ids that left it.
local function instance_end(id, limit, reason, emit_event)
    local key = instance_key(id)
    local known = call('HMGET', key, 'st', 'roles', 'kind')
    if known[1] == 'ACTIVE' then
        roles_leave(id, known[2])
        call('HSET', key, 'st', 'OFFLINE', 'off', NOW)
        call('ZADD', P .. 'instances:active', 0, id)
        wake_all_of(id)
        load_renew(id)
        if known[3] == 'daemon' and reason == 'failed' then -- its workers' requests: include/orphans.lua
            call('ZADD', P .. 'instances:orphaned', I(EFF()), id)
        end
        emit_event(reason == 'failed' and 'instance.failed' or 'instance.unregistered', {'instance', id})
    end
    local moved, rest = held_release(id, limit, nil, reason, emit_event)
    if rest == 0 then
        call('ZREM', P .. 'instances:active', id)
        call('ZADD', P .. 'instances:offline', EFF(), id)
    end
    return moved
end
