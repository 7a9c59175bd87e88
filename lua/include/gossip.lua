-- gossip.lua: which daemons are seen, and whether the system has fallen apart. Needs base.lua.
-- Health is updated and a partition detected in one.
--
-- All daemons share one Redis, so to see somebody is to find a beat of theirs that is young enough in effective time: no
-- host's clock takes part, and a Redis that stood still made nobody older. A daemon is known from its first beat until it
-- leaves, or until it was silent for GOSSIP_KNOWN_MS.
--   cb:gossip:beats       known daemons; score: effective ms of the last beat
--   cb:gossip:health      by daemon: what it saw at its last beat (JSON): at (effective ms), seen, known, ages (ms)
--   cb:partition:detected, cb:partition:recovery   JSON; there while it lasts, and for a while after it
local GOSSIP_KNOWN_MS = 300000
local GOSSIP_TOLD = 100 -- ages in one report

local function gossip_forget(id)
    call('ZREM', P .. 'gossip:beats', id)
    call('HDEL', P .. 'gossip:health', id)
end

local function gossip_forget_old()
    local old = call('ZRANGEBYSCORE', P .. 'gossip:beats', '-inf', I(EFF() - GOSSIP_KNOWN_MS), 'LIMIT', 0, 10)
    for i = 1, #old do
        gossip_forget(old[i])
    end
end

-- What `id` sees, told to all. The longest silent come first.
local function gossip_report(id, seen, known)
    local beats = call('ZRANGE', P .. 'gossip:beats', 0, GOSSIP_TOLD, 'WITHSCORES')
    local ages = {}
    for i = 1, #beats, 2 do
        if beats[i] ~= id then
            ages[#ages + 1] = S(beats[i]) .. ':' .. I(EFF() - tonumber(beats[i + 1]))
        end
    end
    call('HSET', P .. 'gossip:health', id, '{"at":' .. I(EFF()) .. ',"seen":' .. I(seen) .. ',"known":' .. I(known)
        .. ',"ages":{' .. table.concat(ages, ',') .. '}}')
    call('PEXPIRE', P .. 'gossip:health', GOSSIP_KNOWN_MS)
end

-- Fewer than half are seen: set, with an event. Half or more again: cleared, with an event. Returns since when (wall
-- ms), or 0.
local function partition_judge(id, seen, known, emit_event)
    local key = P .. 'partition:detected'
    local found = call('GET', key)
    local since = found and tonumber(string.match(found, '"since_ms":(%d+)')) or NOW
    local facts = '"by":' .. S(id) .. ',"seen":' .. I(seen) .. ',"known":' .. I(known)
    if seen * 2 < known then
        call('SET', key, '{"since_ms":' .. I(since) .. ',' .. facts .. '}', 'PX', GOSSIP_KNOWN_MS)
        if not found then
            emit_event('partition.detected', {'instance', id, 'seen', I(seen), 'known', I(known)})
        end
        return since
    end
    if found then
        call('DEL', key)
        call('SET', P .. 'partition:recovery', '{"since_ms":' .. I(since) .. ',"at_ms":' .. I(NOW) .. ',' .. facts .. '}',
            'PX', GOSSIP_KNOWN_MS)
        emit_event('partition.recovered', {'instance', id, 'seen', I(seen), 'known', I(known), 'lasted_ms', I(NOW - since)})
    end
    return 0
end

-- A daemon's beat. Those whose last one is older than `silent_ms` are not seen. Returns seen, known, since when there has
-- been a partition (0: there is none), and names of at most 5 that are not seen.
local function gossip_beat(id, silent_ms, emit_event)
    local beats, oldest = P .. 'gossip:beats', I(EFF() - silent_ms)
    call('ZADD', beats, I(EFF()), id)
    gossip_forget_old()
    local known, seen = call('ZCARD', beats), call('ZCOUNT', beats, oldest, '+inf')
    gossip_report(id, seen, known)
    local silent = seen < known and call('ZRANGEBYSCORE', beats, '-inf', '(' .. oldest, 'LIMIT', 0, 5) or {}
    return {seen, known, I(partition_judge(id, seen, known, emit_event)), table.concat(silent, ' ')}
end
