-- emit.lua: events: to the stream, to whoever listens (pub/sub), and to the streams of their partitions. Needs base.lua.
-- A script that includes this sets EVENTS (the stream's key) and EVENTS_POLICY ("both 100000 268435456 604800000":
-- events.transport, .maxlen, .max_bytes, .reader_idle_ms) first, and calls events_publish() when it has done all else.
--
-- Channel cb:events:<type>; a message is a JSON array of events of this type in their order, each a flat array: the id in
-- the stream, then names and values. With the transport `pubsub` an event leaves the stream at once; it was there only for
-- its id, so that ids keep one order however often the transport changes; unless there are registered readers, who would miss it. Nothing is published while nobody listens on this
-- server: to put a message together costs more than to ask (7 % of a task.create). In a cluster it is not known who listens.
-- @include partition.lua
local event_entry, event_add, events_publish
do
local TOLD_MAX = 100 -- events in one message
local transport, maxlen, max_bytes = string.match(EVENTS_POLICY, '^(%a*) ?(%d+) ?(%d*)')
local is_told, is_kept = transport == 'both' or transport == 'pubsub', transport ~= 'pubsub'
local is_trimmed = false
local told, told_kind = {}, nil
local listeners = {} -- kind → whether there may be any
local patterns -- how many listen to patterns

function events_publish()
    if told_kind then
        local kind, message = told_kind, cjson.encode(told)
        told, told_kind = {}, nil
        call('PUBLISH', P .. 'events:' .. kind, message)
    end
end

local function has_listeners(kind)
    if listeners[kind] == nil then
        patterns = patterns or string.find(P, '{', 1, true) and 1 or call('PUBSUB', 'NUMPAT')
        listeners[kind] = patterns > 0
            or call('PUBSUB', 'NUMSUB', P .. 'events:' .. kind)[2] > 0
    end
    return listeners[kind]
end

-- `fields` is a flat list of names and values; empty values are left out. Returns what event_add() takes, but for the
-- event's kind; more may be appended to the first.
function event_entry(kind, fields)
    local entry, n, partition = {'type', kind, 'at', NOW_TEXT}, 4, nil
    for i = 2, #fields, 2 do
        local name, value = fields[i - 1], fields[i]
        if value and value ~= '' then
            entry[n + 1], entry[n + 2] = name, value
            n = n + 2
            if name == 'partition' then
                partition = value
            end
        end
    end
    return entry, partition
end

-- The partitions that it goes to, or nil.
local function partitions_of(kind, entry, partition)
    if partition then
        return {names = {partition}}
    end
    return string.sub(kind, 1, 5) == 'task.' and meta_read()[5] and partitions().plan(entry)
end

-- Appends an event; the first one of a call trims the stream for all of them. Returns its id.
function event_add(kind, entry, partition)
    local found, id = partitions_of(kind, entry, partition), nil
    if found and found.only then
        entry[#entry + 1], entry[#entry + 2] = 'partition', found.only
    end
    if is_trimmed then
        id = call('XADD', EVENTS, '*', unpack(entry))
    else
        -- What registered readers have not had stays, and the leader trims by events.max_bytes (event_care.lua); this is what there
        -- can be of it at all, should there be no leader: an event has more than 64 bytes in the stream.
        if meta_read()[6] then
            is_kept, maxlen = true, I(math.max(maxlen, max_bytes / 64))
        end
        id = call('XADD', EVENTS, 'MAXLEN', '~', maxlen, '*', unpack(entry))
        is_trimmed = true
    end
    if found then
        partitions().write(found, id, entry)
    end
    if is_told and has_listeners(kind) then
        if kind ~= told_kind or #told >= TOLD_MAX then
            events_publish()
            told_kind = kind
        end
        table.insert(entry, 1, id)
        told[#told + 1] = entry
    end
    if not is_kept then
        call('XDEL', EVENTS, id)
    end
    return id
end
end
