#!lua flags=allow-oom
-- system_event_unsubscribe: forgets a reader of the event stream, with its place and what it has not acknowledged.
-- KEYS  the envelope's
-- ARGV  request: group
-- Returns as the envelope. Caller: worker, system.event.unsubscribe.
-- @include envelope.lua
-- @include readers.lua

function op(r)
    local group = ARGV[r.a + 1]
    want('stream', EVENTS)
    want('zset', READERS)
    want('hash', META)
    local known = reader_find(group)
    call('ZREM', READERS, group)
    if known then
        reader_remove(group, 'asked for', emit)
    else
        readers_say()
    end
    return '{"removed":' .. tostring(known ~= nil) .. '}', known == nil and false or nil
end
-- @include commit.lua
