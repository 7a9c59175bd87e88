#!lua flags=no-writes,allow-oom
-- audit_read: entries of the audit stream behind a place, and how many there have been, so that a gap is noticed.
-- KEYS  1 cb:stream:audit
-- ARGV  1 id of the last entry that was read ('0-0' = none)   2 most entries   3 about how many bytes
-- Returns {entries that the stream has had, how many it has, id of its last one, 1 = these are all, list of {id, fields}}
-- Caller: supervisor (audit.c); claudebench-archive (archive/keeper.c).
local stream, limit, bytes = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local call = redis.call
if call('EXISTS', stream) == 0 then
    return {0, 0, '0-0', 1, {}}
end
local info = call('XINFO', 'STREAM', stream)
local about = {}
for i = 1, #info, 2 do
    about[info[i]] = info[i + 1]
end
local found, out = call('XRANGE', stream, '(' .. ARGV[1], '+', 'COUNT', limit), {}
for i = 1, #found do
    for _, field in ipairs(found[i][2]) do
        bytes = bytes - #field
    end
    if bytes < 0 and i > 1 then
        break
    end
    out[i] = found[i]
end
return {about['entries-added'], about['length'], about['last-generated-id'], #out == #found and #found < limit and 1 or 0, out}
