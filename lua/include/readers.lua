-- readers.lua: readers of the event stream whose place is kept: consumer groups, and cb:events:readers (score: effective ms
-- at which one that has not read since is forgotten). Needs base.lua.
local READERS = P .. 'events:readers'
local READERS_MAX = 100

-- Redis' rows of names and values.
local function reader_row(flat)
    local row = {}
    for i = 1, #flat, 2 do
        row[flat[i]] = flat[i + 1]
    end
    return row
end

-- A reader's group as Redis has it, or nil.
local function reader_find(group)
    if call('EXISTS', EVENTS) == 0 then
        return nil
    end
    local groups = call('XINFO', 'GROUPS', EVENTS)
    for i = 1, #groups do
        local row = reader_row(groups[i])
        if row.name == group then
            return {cursor = row['last-delivered-id'], pending = row.pending}
        end
    end
    return nil
end

-- While there are readers, what they have not had stays in the stream, beyond events.maxlen (emit.lua, event_care.lua).
local function readers_say()
    if call('ZCARD', READERS) > 0 then
        call('HSET', META, 'readers', '1')
    else
        call('HDEL', META, 'readers')
    end
end

-- It is there: forgotten, unless it reads or says so again, when its time is over.
local function reader_note(group, idle_ms)
    call('ZADD', READERS, I(EFF() + tonumber(idle_ms)), group)
    readers_say()
end

local function reader_remove(group, reason, emit_event)
    call('XGROUP', 'DESTROY', EVENTS, group)
    call('ZREM', READERS, group)
    readers_say()
    emit_event('reader.removed', {'group', group, 'reason', reason})
end
