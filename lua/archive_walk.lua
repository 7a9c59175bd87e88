#!lua flags=no-writes,allow-oom
-- archive_walk: ids of tasks, page by page, over the indexes of all states: for an archive that cannot know by events alone what there is.
-- Who changes its state during the walk may be passed over, but then there is an event of that.
-- KEYS  1 cb:queues
-- ARGV  1 prefix with colon   2 cursor ('' = from the start)   3 most ids
-- Returns {next cursor ('' = that was all), ids}
-- Caller: claudebench-archive (archive/walk.c).
local P = ARGV[1]
-- @include base.lua
-- @include task_index.lua

local ids, most = {}, tonumber(ARGV[3])

-- A set from the member behind (score, last) on. Returns the cursor behind what was taken, or nil at its end.
local function walk_set(stage, name, key, score, last)
    if not has_type('zset', key) then
        return nil
    end
    local from = last and rank_behind(key, score, last) or 0
    local page = call('ZRANGE', key, from, from + most - #ids - 1, 'WITHSCORES')
    for i = 1, #page, 2 do
        ids[#ids + 1] = page[i]
    end
    return #ids >= most and stage .. ' ' .. name .. ' ' .. page[#page] .. ' ' .. page[#page - 1] or nil
end

local function walk_stage(stage, name, score, last)
    return each_set(STAGES[stage], name, function(set, key)
        local cursor = walk_set(stage, set, key, score, last)
        last = nil
        return cursor
    end)
end

local stage, name, score, last = string.match(ARGV[2], '^(%d+) (%S+) (%S+) (%S+)$')
stage = tonumber(stage or '1')
local cursor
while stage <= #STAGES and not cursor do
    cursor = walk_stage(stage, name, score, last)
    stage, name, last = stage + 1, nil, nil
end
return {cursor or '', ids}
