#!lua flags=allow-oom
-- system_batch_progress: a processor tells how far it is, renews its lease, and gets more items; or gives the batch up.
-- KEYS  the envelope's
-- ARGV  request: batch, instance, fence, items finished in all ('' = not said), how many items are wanted,
--       1 = gives the batch up
-- Returns as the envelope. Caller: worker, system.batch.progress.
-- @include envelope.lua
-- @include task.lua
-- @include batch.lua

local function release(id, b)
    emit('batch.released', {'batch', id, 'instance', b.processor, 'processed', I(b.done)})
    b.processor, b.fence, b.deadline, b.out = '', '', 0, b.done
    call('HSET', batch_key(id), 'pr', '', 'fe', '', 'ld', '0', 'up', I(b.out))
end

function op(r)
    local a = r.a
    local id, instance, fence, done = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4])
    want('stream', EVENTS)
    batch_want(id)
    local b, code, message, data = batch_read_held(id, instance, fence)
    if not b then
        return nil, code, message, data
    end
    if b.status == 'completed' then
        return conflict('state', 'completed', 'the batch is completed')
    end
    if done and done > b.out then
        return conflict('state', b.status, 'only ' .. I(b.out) .. ' items were handed out')
    end
    batch_renew(id, b)
    batch_finish_items(id, b, done or b.done)
    local give_up = ARGV[a + 6] == '1'
    local items = batch_hand_out(id, b, give_up and 0 or tonumber(ARGV[a + 5]))
    if give_up then
        release(id, b)
    end
    return '{"processed":true,' .. batch_members(id, b) .. ',"leaseUntil":' .. (give_up and 'null' or ISO(b.lease_end))
        .. ',' .. items .. '}'
end
-- @include commit.lua
