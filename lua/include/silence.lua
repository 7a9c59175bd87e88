-- silence.lua: instances that have fallen silent are given up, in bounded steps. Needs instance.lua.
local SILENT_STEP = 10 -- instances a call

local function is_late(entry_id, suspect_ms)
    return NOW - tonumber(string.match(entry_id, '^%d+')) > suspect_ms
end

-- The last entry of cb:requests:system that was given to a worker.
local function last_delivered(stream)
    local groups = call('XINFO', 'GROUPS', stream)
    for i = 1, #groups do
        local group = {}
        for j = 1, #groups[i], 2 do
            group[groups[i][j]] = groups[i][j + 1]
        end
        if group.name == 'workers' then
            return group['last-delivered-id']
        end
    end
    return '0-0'
end

-- Nobody is declared silent while beats may still wait: unread, or with a worker of a live daemon, which hands on
-- what a dead worker had. What a dead daemon's worker had read says nothing: it would wait for ever, and so should
-- we for its daemon. (A consumer's name begins with its instance.)
local function beats_are_late(stream, suspect_ms)
    local oldest = call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not oldest or not is_late(oldest[1], suspect_ms) then
        return false
    end
    local last = last_delivered(stream)
    local unread = call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
    if unread and is_late(unread[1], suspect_ms) then
        return true
    end
    local pending = last ~= '0-0' and call('XPENDING', stream, 'workers', '-', '+', 100) or {}
    for i = 1, #pending do
        if is_late(pending[i][1], suspect_ms) and instance_is_live(string.match(pending[i][2], '^[^/]*')) then
            return true
        end
    end
    return false
end

-- Whose deadline has passed.
local function silence_over()
    return call('ZRANGEBYSCORE', P .. 'instances:active', '-inf', I(EFF()), 'LIMIT', 0, SILENT_STEP)
end

-- Gives up the first of `ids` and moves at most `limit` of their tasks. Returns {id, moved} of each; and whether
-- beats are late, so that nobody may be judged. One that is damaged does not keep the others: it is told, and tried again.
local function silence_sweep(stream, suspect_ms, ids, limit, emit_event, complain_of)
    local ended = {}
    if #ids == 0 then
        return ended, false
    end
    if beats_are_late(stream, suspect_ms) then
        return ended, true
    end
    for i = 1, math.min(#ids, SILENT_STEP) do
        if limit <= 0 then
            break
        end
        local ok, moved = pcall(instance_end, ids[i], limit, 'failed', emit_event)
        if not ok then
            complain_of(moved)
        end
        local n = ok and #moved or 0
        limit = limit - math.max(n, 1)
        ended[#ended + 1] = {id = ids[i], moved = n}
    end
    return ended, false
end
