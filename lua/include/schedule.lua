-- schedule.lua: the record of a schedule, and its JSON. Needs base.lua.
--
-- cb:schedules holds a record for each id: MessagePack of the members below; cb:schedules:ids their names, for lists;
-- cb:schedules:due those that the leader has to look at, by when (wall ms): neither the paused nor the ended ones.
--
-- Members: v version, new with every change but those of the leader; cron, or every (ms) and its anchor (wall ms); tz;
-- missed skip, once or all; start, finish (wall ms); template, the JSON as it came, and list, create.lua's arguments made
-- of it; cr up created and updated (wall ms); paused; due, what is to be fired next (nil: it has ended); floor: what
-- was due before (the schedule was paused) is not fired; last, task: what was fired last, and the task that came of
-- it; fired, dropped: how many were, and how many were due and were not; full: it waits for room in its queue.
local SCHEDULES, SCHEDULES_DUE, SCHEDULES_IDS = P .. 'schedules', P .. 'schedules:due', P .. 'schedules:ids'

-- nil: there is none. A damaged record is an error.
local function schedule_load(id)
    local packed = call('HGET', SCHEDULES, id)
    return packed and cmsgpack.unpack(packed) or nil
end

-- Writes it, and says when the leader has to look at it: `at`, or when it is due.
local function schedule_save(id, s, at)
    call('HSET', SCHEDULES, id, cmsgpack.pack(s))
    if s.due and not s.paused then
        call('ZADD', SCHEDULES_DUE, I(at or s.due), id)
    else
        call('ZREM', SCHEDULES_DUE, id)
    end
end

local function want_schedules()
    want('hash', SCHEDULES)
    want('zset', SCHEDULES_DUE)
    want('zset', SCHEDULES_IDS)
end

-- Milliseconds until the leader has to look at one, '' = there is none.
local function schedule_wait()
    local first = call('ZRANGE', SCHEDULES_DUE, 0, 0, 'WITHSCORES')
    return first[2] and I(tonumber(first[2]) - NOW) or ''
end

-- The first time of an interval behind `after`; nil behind its end.
local function schedule_every(s, after)
    local due = s.anchor
    if due <= after then
        due = due + (math.floor((after - due) / s.every) + 1) * s.every
    end
    return due <= (s.finish or due) and due or nil
end

local function schedule_status(s)
    return s.paused and 'paused' or s.due and 'active' or 'ended'
end

-- What was due before a pause is only known to be over: the leader finds the next time within a tick.
local function schedule_json(id, s)
    local out = {'{"id":', S(id), ',"status":"', schedule_status(s), '",'}
    local function add(name, value)
        out[#out + 1] = '"' .. name .. '":' .. value .. ','
    end
    if s.cron then add('cron', S(s.cron)) end
    if s.every then add('every_ms', I(s.every)) end
    add('timezone', S(s.tz))
    add('missed', S(s.missed))
    if s.start then add('start', ISO(s.start)) end
    if s.finish then add('end', ISO(s.finish)) end
    if s.due and not s.paused and s.due >= (s.floor or 0) then add('next_run_at', ISO(s.due)) end
    if s.last then add('last_run_at', ISO(s.last)) end
    if s.task then add('lastTaskId', S(s.task)) end -- none yet, when all that was due came to nothing
    add('fired', I(s.fired))
    add('dropped', I(s.dropped))
    if s.full then add('blocked', 'true') end
    add('version', I(s.v))
    add('createdAt', ISO(s.cr))
    add('updatedAt', ISO(s.up))
    out[#out + 1] = '"template":'
    out[#out + 1] = s.template
    out[#out + 1] = '}'
    return table.concat(out)
end

local function schedule_unknown(id)
    return nil, -32004, 'no schedule ' .. id, '{"reason":"unknown"}'
end
local function schedule_version_conflict(s)
    return nil, -32005, 'the schedule has version ' .. I(s.v), '{"reason":"version","state":"' .. schedule_status(s)
        .. '","version":' .. I(s.v) .. '}'
end
