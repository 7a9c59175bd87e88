-- retention.lua: finished tasks go, oldest first, in bounded steps.

-- Removes at most `limit` tasks from a zset by end time: those older than `before` (wall ms), and, while
-- there are more than `keep`, those older than `before_count`. `also` is a second index or nil.
local function retention_trim(key, limit, before, keep, before_count, also)
    local surplus = call('ZCARD', key) - keep
    local oldest = call('ZRANGE', key, 0, limit - 1, 'WITHSCORES')
    local gone = {}
    for i = 1, #oldest, 2 do
        local ended = tonumber(oldest[i + 1])
        if ended < before or (#gone < surplus and ended < before_count) then
            gone[#gone + 1] = oldest[i]
        else
            break
        end
    end
    if #gone > 0 then
        local keys = {}
        for i = 1, #gone do
            keys[i] = task_key(gone[i])
        end
        call('UNLINK', unpack(keys))
        call('ZREM', key, unpack(gone))
        if also then
            call('ZREM', also, unpack(gone))
        end
    end
    return #gone
end
