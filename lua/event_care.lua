#!lua flags=allow-oom
-- event_care: what the leader does for the event stream: readers that nobody uses go, and so do the oldest events when all
-- take too much memory.
-- KEYS  1 cb:leader:current   2 cb:stream:events   3 cb:events:readers   4 cb:meta
-- ARGV  1 prefix with colon   2 instance id   3 incarnation   4 epoch   5 the policy for events (include/emit.lua)
-- Returns {'refused'} to anybody but the leader, else {'ok', readers looked at, events (or what of them was pending) removed}
-- Caller: supervisor (event_care.c), while it leads.
local P = ARGV[1]
-- @include base.lua
local EVENTS, EVENTS_POLICY = KEYS[2], ARGV[5]
-- @include emit.lua
-- @include leader.lua
-- @include readers.lua
local function emit(kind, fields)
    return event_add(kind, event_entry(kind, fields))
end

local function stream_id_before(a, b)
    local a_ms, a_seq = string.match(a, '(%d+)-(%d+)')
    local b_ms, b_seq = string.match(b, '(%d+)-(%d+)')
    a_ms, b_ms = tonumber(a_ms), tonumber(b_ms)
    return a_ms < b_ms or a_ms == b_ms and tonumber(a_seq) < tonumber(b_seq)
end

-- ms since anybody read as this one, or nil when nobody ever has.
local function reader_idle(group)
    local consumers, idle = call('XINFO', 'CONSUMERS', EVENTS, group), nil
    for i = 1, #consumers do
        local row = reader_row(consumers[i])
        idle = math.min(idle or row.idle, row.idle)
    end
    return idle
end

-- A few of those whose time has come: forgotten, unless somebody has read since.
local function readers_sweep(idle_ms)
    local due = call('ZRANGEBYSCORE', READERS, '-inf', I(EFF()), 'LIMIT', 0, 10)
    for i = 1, #due do
        local group = due[i]
        local idle = reader_find(group) and (reader_idle(group) or idle_ms)
        if idle and idle < idle_ms then
            call('ZADD', READERS, I(EFF() + idle_ms - idle), group)
        elseif idle then
            reader_remove(group, 'idle', emit)
        else
            call('ZREM', READERS, group)
        end
    end
    return #due
end

-- What a reader was given and never acknowledged costs more than the event, also when that has long gone: it is forgotten, at
-- most 1000 of it a call. Else one such reader would have the stream trimmed to nothing, for all.
local function pending_forget()
    local first = call('XRANGE', EVENTS, '-', '+', 'COUNT', 1)[1]
    local groups, left = call('XINFO', 'GROUPS', EVENTS), 1000
    for i = 1, #groups do
        local row = reader_row(groups[i])
        local rows = left > 0 and row.pending > 0
            and call('XPENDING', EVENTS, row.name, '-', first and '(' .. first[1] or '+', left) or {}
        local ids = {}
        for k = 1, #rows do
            ids[k] = rows[k][1]
        end
        if #ids > 0 then
            call('XACK', EVENTS, row.name, unpack(ids))
        end
        left = left - #ids
    end
    return 1000 - left
end

-- The oldest event that a registered reader has not had, or has not acknowledged; the last one that it had counts as well, since by that
-- it notices a gap. nil: there is no such reader.
local function events_needed()
    local oldest
    local groups = call('XINFO', 'GROUPS', EVENTS)
    for i = 1, #groups do
        local row = reader_row(groups[i])
        if call('ZSCORE', READERS, row.name) then
            local id = row.pending > 0 and call('XPENDING', EVENTS, row.name)[2] or row['last-delivered-id']
            oldest = (not oldest or stream_id_before(id, oldest)) and id or oldest
        end
    end
    return oldest
end

-- More than events.maxlen: those go that all registered readers have had, about 10000 a call. Without such readers whoever adds an event
-- trims.
local function events_shorten(maxlen)
    local needed, excess = events_needed(), call('XLEN', EVENTS) - maxlen
    if not needed or excess <= 0 then
        return 0
    end
    return call('XTRIM', EVENTS, 'MINID', '~', needed, 'LIMIT', I(math.min(excess, 10000)))
end

-- More bytes than events.max_bytes: the oldest go, about 10000 a call. Readers that have not had them are told.
local function events_trim(max_bytes)
    local bytes = call('MEMORY', 'USAGE', EVENTS) or 0
    if bytes <= max_bytes then
        return 0
    end
    local forgotten = pending_forget()
    if forgotten > 0 then
        return forgotten
    end
    local length = call('XLEN', EVENTS)
    local gone = call('XTRIM', EVENTS, 'MAXLEN', '~', I(length * max_bytes / bytes * 0.95))
    local first = gone > 0 and call('XRANGE', EVENTS, '-', '+', 'COUNT', 1)[1]
    if not first then
        return gone
    end
    local groups, behind = call('XINFO', 'GROUPS', EVENTS), {}
    for i = 1, #groups do
        local row = reader_row(groups[i])
        if stream_id_before(row['last-delivered-id'], first[1]) and #behind < 10 then
            behind[#behind + 1] = row.name
        end
    end
    if #behind > 0 then
        emit('events.gap', {'first', first[1], 'removed', I(gone), 'readers', table.concat(behind, ' ')})
    end
    return gone
end

if not is_leader(KEYS[1], ARGV[2], ARGV[3], ARGV[4]) then
    return {'refused'}
end
want('stream', EVENTS)
want('zset', READERS)
want('hash', META)
local maxlen, max_bytes, idle_ms = string.match(EVENTS_POLICY, '(%d+) (%d+) (%d+)$')
local looked, gone = readers_sweep(tonumber(idle_ms)), 0
readers_say()
if call('EXISTS', EVENTS) == 1 then
    gone = events_trim(tonumber(max_bytes)) + events_shorten(tonumber(maxlen))
end
events_publish()
return {'ok', looked, gone}
