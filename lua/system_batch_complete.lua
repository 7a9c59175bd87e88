#!lua flags=allow-oom
-- system_batch_complete: a batch is done: all of its items are finished.
-- KEYS  the envelope's
-- ARGV  request: batch, instance, fence, items finished in all ('' = as told before)
-- Returns as the envelope. Caller: worker, system.batch.complete.
-- @include envelope.lua
-- @include task.lua
-- @include batch.lua

function op(r)
    local a = r.a
    local id, instance, fence, done = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4])
    want('stream', EVENTS)
    batch_want(id)
    local b, code, message, data = batch_read_held(id, instance, fence)
    if not b then
        return nil, code, message, data
    end
    if b.status == 'completed' then -- its own repeat
        return '{"processed":true,' .. batch_members(id, b) .. '}'
    end
    if b.status == 'open' then
        return conflict('state', 'open', 'more items were announced')
    end
    if done and done > b.out or math.max(done or 0, b.done) < b.total then
        return conflict('state', b.status, I(math.max(done or 0, b.done)) .. ' of ' .. I(b.total) .. ' items are finished')
    end
    b.status = 'completed'
    batch_finish_items(id, b, b.total)
    call('HSET', batch_key(id), 'st', b.status, 'at', I(NOW))
    call('ZADD', P .. 'batch:current', I(EFF() + BATCH_KEPT_MS), id)
    emit('batch.completed', {'batch', id, 'instance', instance, 'processed', I(b.done)})
    return '{"processed":true,' .. batch_members(id, b) .. '}'
end
-- @include commit.lua
