-- retention.lua: finished tasks go, oldest first, in bounded steps. Needs task.lua and dependents.lua.
local TASK_BYTES = 1000 -- what a finished task is reckoned with; beyond SMALL_BYTES of user data, these are added

-- The four arguments task.keep_finished, keep_finished_ms, keep_finished_min_ms and keep_finished_bytes, of which `arg` gives
-- the first as arg(first), as limits.
local function retention_limits(arg, first)
    return {keep = tonumber(arg(first)), before = NOW - tonumber(arg(first + 1)),
        before_min = NOW - tonumber(arg(first + 2)), bytes = tonumber(arg(first + 3))}
end

local retention_trim
do
    -- What the removed tasks were counted as. Completed ones are not counted by queue: nobody has to read them.
    local function count(state, ids)
        for i = 1, #ids do
            local c = state ~= 'completed' and task_constants(task_read(task_key(ids[i]), {'s', 'c'})[2])
            count_move(c and c[6] or '', state, nil)
        end
    end

    -- Blocked tasks that waited for one of these to be retried wait for nothing now.
    local function tell(keys, ids)
        local sets = {}
        for i = 1, #keys do
            sets[i] = keys[i] .. ':dependents'
        end
        if call('EXISTS', unpack(sets)) > 0 then
            for i = 1, #ids do
                dependents().tell(ids[i], 'deleted')
            end
        end
    end

    local function remove(state, ids, has_large)
        local keys = {}
        for i = 1, #ids do
            keys[i] = task_key(ids[i])
        end
        if has_large then
            local sizes = call('HMGET', P .. 'tasks:large', unpack(ids))
            for i = 1, #ids do
                count_large(state, -tonumber(sizes[i] or 0))
            end
            call('HDEL', P .. 'tasks:large', unpack(ids))
        end
        if state ~= 'completed' then
            tell(keys, ids)
        end
        count(state, ids)
        call('UNLINK', unpack(keys))
        call('ZREM', ENDED[state], unpack(ids))
        if state == 'failed' then
            call('ZREM', P .. 'queue:dead', unpack(ids))
        end
    end

    -- Removes at most `limit` tasks of a state: those that are too old, and, while there are too many or they are too large,
    -- the oldest of those that have been kept for the least time. Returns how many.
    function retention_trim(state, limit, limits)
        local count, large = call('ZCARD', ENDED[state]), tonumber(call('HGET', COUNTS, 'large:' .. state) or '0')
        local bytes = count * TASK_BYTES + large
        local has_sizes = bytes > limits.bytes and large > 0
        local gone = {}
        local function may_go(at)
            local is_surplus = count - #gone > limits.keep or bytes > limits.bytes
            return at < limits.before or is_surplus and at < limits.before_min
        end
        local first = call('ZRANGE', ENDED[state], 0, 0, 'WITHSCORES')[2] -- mostly nobody goes: then the others need no look
        if not first or not may_go(tonumber(first)) then
            return 0
        end
        local oldest = call('ZRANGE', ENDED[state], 0, limit - 1, 'WITHSCORES')
        for i = 1, #oldest, 2 do
            if may_go(tonumber(oldest[i + 1])) then
                gone[#gone + 1] = oldest[i]
                bytes = bytes - TASK_BYTES - (has_sizes and tonumber(call('HGET', P .. 'tasks:large', oldest[i]) or '0') or 0)
            else
                break
            end
        end
        if #gone > 0 then
            remove(state, gone, large > 0)
        end
        return #gone
    end
end

-- After `ended` tasks of a state have come in one call: twice as many go, if they may. Few are not worth the look each time:
-- one call in sixteen makes up for the others. 200: no group ends as many (worker/commit.h).
local function retention_after(state, ended, limits)
    if ended >= 16 then
        retention_trim(state, math.min(200, 2 * ended), limits)
    elseif NOW_US % 16 < ended then
        retention_trim(state, 32, limits)
    end
end
