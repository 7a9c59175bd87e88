-- retention.lua: finished tasks go, oldest first, in bounded steps.

-- What the removed tasks were counted as. Completed ones are not counted by queue: nobody has to read them.
local function retention_count(state, ids)
    for i = 1, #ids do
        local queue = state == 'completed' and '' or redis.pcall('HGET', task_key(ids[i]), 'q')
        count_move(type(queue) == 'string' and queue or '', state, nil)
    end
end

-- Removes at most `limit` tasks of a state by end time: those older than `before` (wall ms), and, while
-- there are more than `keep`, those older than `before_count`.
local function retention_trim(state, limit, before, keep, before_count)
    local key = ENDED[state]
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
        retention_count(state, gone)
        call('UNLINK', unpack(keys))
        call('ZREM', key, unpack(gone))
        if state == 'failed' then
            call('ZREM', P .. 'queue:dead', unpack(gone))
        end
    end
    return #gone
end
