#!lua flags=allow-oom
-- schedule_due: the schedules that the leader has to look at now. Changes nothing.
-- KEYS  1 cb:leader:current   2 cb:schedules   3 cb:schedules:due
-- ARGV  1 prefix with colon   2 leader's id   3 its incarnation   4 its epoch   5 at most so many
-- Returns {'refused'} to anybody but the leader, else {'ok', wall ms, ms until the next one ('' = there is none), one
--       list for each: id and, when it is damaged, what is wrong, else: id, version, due, floor, cron, every, anchor, time
--       zone, missed, end; '' = none}
-- Caller: supervisor (scheduler.c).
local P = ARGV[1]
-- @include base.lua
-- @include leader.lua
-- @include schedule.lua

local function number(n)
    return n and I(n) or ''
end

local function row(id)
    local s = schedule_load(id)
    if not s then
        return {id, 'its record is gone'}
    end
    return {id, I(s.v), number(s.due), number(s.floor), s.cron or '', number(s.every), number(s.anchor), s.tz, s.missed,
        number(s.finish)}
end

if not is_leader(KEYS[1], ARGV[2], ARGV[3], ARGV[4]) then
    return {'refused'}
end
local ids = call('ZRANGEBYSCORE', KEYS[3], '-inf', I(NOW), 'LIMIT', 0, ARGV[5])
local out = {'ok', I(NOW), schedule_wait()}
for i = 1, #ids do
    local ok, found = pcall(row, ids[i])
    out[#out + 1] = ok and found or {ids[i], type(found) == 'table' and tostring(found.err) or tostring(found)}
end
return out
