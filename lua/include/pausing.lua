-- pausing.lua: for what pauses and resumes queues. Needs task.lua, paused.lua.
local function paused_want()
    EFF() -- there is a clock
    want_moves()
    want('set', PAUSED)
end
-- Claims that wait for tasks of the queue, or of any, look again.
local function paused_wake(queue)
    if call('EXISTS', P .. 'waiters') == 0 then
        return
    end
    waiting().nudge_leader() -- there may be something to push
    paused_known = {}
    has_paused = call('EXISTS', PAUSED) == 1
    local names = queue ~= '*' and {queue} or call('SRANDMEMBER', P .. 'waiters:queues', 100)
    local left = 100
    for i = 1, #names do
        local name = string.match(names[i], '^%S+')
        if left > 0 and not queue_is_paused(name) then
            left = left - waiting().wake_queue(name, left)
        end
    end
end
local function paused_result(queue, is_paused)
    return '{' .. (queue ~= '*' and '"queue":"' .. queue .. '",' or '') .. '"paused":' .. tostring(is_paused) .. '}'
end
