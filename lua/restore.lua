#!lua flags=allow-oom
-- restore: what a namespace must say of itself when it comes out of a backup: it is another one than that which went on after the
-- backup, and nobody of those days is there. Leases go on where effective time stood; who does not come back loses them.
-- KEYS  1 cb:meta   2 cb:clock   3 cb:instances:active
-- ARGV  1 prefix with colon   2 a new data generation
-- Returns the generation before, '' = there was none: then nothing was changed
-- Caller: claudebench restore, on a private server (client/restore_server.c).
local P = ARGV[1]
-- @include base.lua
local before = call('HGET', KEYS[1], 'generation')
if not before then
    return ''
end
-- No number that was handed out after the backup comes again, wherever this machine's clock does not lag behind.
next_number()
meta_save({'generation', ARGV[2], 'restored_from', before, 'restored_at', I(NOW)})
-- A daemon that takes such a name need not wait, and the tasks of the others go back with the first ticks.
local ids = call('ZRANGE', KEYS[3], 0, -1)
for i = 1, #ids do
    if call('HGET', instance_key(ids[i]), 'kind') == 'daemon' then
        call('ZADD', KEYS[3], I(EFF()), ids[i])
    end
end
for _, name in ipairs({'leader:current', 'gossip:beats', 'gossip:health', 'partition:detected', 'partition:recovery'}) do
    call('DEL', P .. name)
end
return before
