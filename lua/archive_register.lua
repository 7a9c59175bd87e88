#!lua flags=allow-oom
-- archive_register: makes the archive a reader of the event stream, whose place is kept: a consumer group from the oldest event on, and an
-- entry in cb:events:readers. Called again and again: an archive that waits for PostgreSQL reads nothing, and is there all the same.
-- KEYS  1 cb:stream:events   2 cb:events:readers   3 cb:meta   4 cb:clock
-- ARGV  1 prefix with colon   2 group   3 events.reader_idle_ms   4 the policy for events (include/emit.lua)
-- Returns {data generation ('' = none was drawn yet), 1 = the group was made now, last number handed out, the last event that was given
-- to the group}
-- Caller: claudebench-archive (archive/source.c).
local P = ARGV[1]
-- @include base.lua
local EVENTS, EVENTS_POLICY = KEYS[1], ARGV[4]
-- @include emit.lua
-- @include readers.lua

want('stream', EVENTS)
want('zset', READERS)
want('hash', META)
local m = call('HMGET', META, 'generation', 'last_number')
if not m[1] then
    return {'', 0, '0', '0-0'}
end
local known = reader_find(ARGV[2])
if not known then
    event_add('reader.added', event_entry('reader.added', {'group', ARGV[2]}))
    call('XGROUP', 'CREATE', EVENTS, ARGV[2], '0')
end
reader_note(ARGV[2], ARGV[3])
events_publish()
return {m[1], known and 0 or 1, m[2] or '0', known and known.cursor or '0-0'}
