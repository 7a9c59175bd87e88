#!lua flags=allow-oom
-- task_queue_resume: tasks of a queue are claimed again. (What all queues are paused by is a switch of its own.)
-- KEYS  the envelope's
-- ARGV  request: queue, or * for all
-- Returns as the envelope. Caller: worker, task.queue_resume.
-- @include envelope.lua
-- @include task.lua
-- @include paused.lua
-- @include pausing.lua

function op(r)
    local queue = ARGV[r.a + 1]
    paused_want()
    if call('SREM', PAUSED, queue) == 1 then
        if call('EXISTS', PAUSED) == 0 then
            call('HDEL', KEYS[4], 'paused')
        end
        if queue ~= '*' then
            count_forget(queue)
        end
        emit('queue.resumed', {'queue', queue})
        paused_wake(queue)
    end
    return paused_result(queue, call('SISMEMBER', PAUSED, '*') == 1)
end
-- @include commit.lua
