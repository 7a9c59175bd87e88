#!lua flags=no-writes,allow-oom
-- archive_schedules: some schedules as JSON, as schedule.get gives them.
-- KEYS  1 cb:schedules
-- ARGV  1 prefix with colon   2… ids
-- Returns a list of their JSON, nil for one that is not there or cannot be read.
-- Caller: claudebench-archive (archive/source.c).
local P = ARGV[1]
-- @include base.lua
-- @include schedule.lua

local out = {}
for i = 2, #ARGV do
    local ok, s = pcall(schedule_load, ARGV[i])
    local shown, json = false, nil
    if ok and s then
        shown, json = pcall(schedule_json, ARGV[i], s)
    end
    out[i - 1] = shown and json
end
return out
