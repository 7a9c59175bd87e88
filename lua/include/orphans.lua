-- orphans.lua: daemons that were given up, and whose workers may have left requests behind (ARCHITECTURE.md, "Handing on"). One at a
-- time is given to a living daemon, again every ORPHAN_MS until that finds nothing left. Needs instance.lua.
-- cb:instances:orphaned: ids; score: effective ms of the next look.
local ORPHAN_MS = 5000

local function orphan_is(id)
    local known = call('HMGET', instance_key(id), 'st', 'kind')
    return known[1] == 'OFFLINE' and known[2] == 'daemon'
end

-- The one to look after now, or ''. One that came back looks after its own.
local function orphan_next()
    local ids = call('ZRANGEBYSCORE', P .. 'instances:orphaned', '-inf', I(EFF()), 'LIMIT', 0, 10)
    for i = 1, #ids do
        if orphan_is(ids[i]) then
            call('ZADD', P .. 'instances:orphaned', I(EFF() + ORPHAN_MS), ids[i])
            return ids[i]
        end
        call('ZREM', P .. 'instances:orphaned', ids[i])
    end
    return ''
end

-- Nothing of it was left.
local function orphan_done(id)
    call('ZREM', P .. 'instances:orphaned', id)
end
