#!lua flags=allow-oom
-- system_event_subscribe: a reader of the event stream whose place is kept: a consumer group, and an entry in
-- cb:events:readers, so that there are not too many and none for ever.
-- KEYS  the envelope's
-- ARGV  operation: events.reader_idle_ms
--       request: group, where a new one begins (an id, or $)
-- Returns as the envelope. Caller: worker, system.event.subscribe.
-- @include envelope.lua
-- @include readers.lua

function op(r)
    local group, since = ARGV[r.a + 1], ARGV[r.a + 2]
    want('stream', EVENTS)
    want('zset', READERS)
    want('hash', META)
    local known = reader_find(group)
    local is_registered = call('ZSCORE', READERS, group)
    if not is_registered and call('ZCARD', READERS) >= READERS_MAX then
        return nil, -32007, 'there are ' .. READERS_MAX .. ' readers of events', '{"retry_after_ms":60000}'
    end
    if not known then
        emit('reader.added', {'group', group}) -- before it begins
        call('XGROUP', 'CREATE', EVENTS, group, since, 'MKSTREAM')
    end
    reader_note(group, op_arg(1))
    local now = known or reader_find(group)
    return '{"group":' .. S(group) .. ',"created":' .. tostring(not known) .. ',"cursor":"' .. now.cursor
        .. '","pending":' .. I(now.pending) .. '}', known and false or nil
end
-- @include commit.lua
