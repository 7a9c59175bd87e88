#!lua flags=allow-oom
-- task_queue_pause: from now on nothing is claimed from a queue; nothing else changes for its tasks.
-- KEYS  the envelope's
-- ARGV  request: queue, or * for all
-- Returns as the envelope. Caller: worker, task.queue_pause.
-- @include envelope.lua
-- @include task.lua
-- @include paused.lua
-- @include pausing.lua

function op(r)
    local queue = ARGV[r.a + 1]
    paused_want()
    if call('SISMEMBER', PAUSED, queue) == 0 then
        if call('SCARD', PAUSED) >= PAUSED_MAX then
            return nil, -32007, 'too many queues are paused', '{"retry_after_ms":60000}'
        end
        call('SADD', PAUSED, queue)
        call('HSET', KEYS[4], 'paused', '1')
        if queue ~= '*' then
            call('ZADD', P .. 'queues', 0, queue)
        end
        emit('queue.paused', {'queue', queue})
    end
    return paused_result(queue, true)
end
-- @include commit.lua
