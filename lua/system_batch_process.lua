#!lua
-- system_batch_process: opens a batch, adds items to it, takes its lease or renews it, and hands out items.
-- KEYS  the envelope's
-- ARGV  request: batch, instance, fence ('' = takes the lease), number of the first item given, more ('1', '0', or '' =
--       not said), lease_ms ('' = as before, or 30000), how many items are wanted, number of items, the items (JSON)
-- Returns as the envelope. Caller: worker, system.batch.process.
-- @include envelope.lua
-- @include task.lua
-- @include batch.lua

local function new_batch()
    return {status = 'open', processor = '', fence = '', deadline = 0, lease_ms = 30000, total = 0, done = 0, out = 0, bytes = 0,
        is_new = true}
end

-- May this caller have it, or go on with it? Returns true, or nil and the error.
local function may_process(b, instance, fence)
    if b.status == 'completed' then
        return conflict('state', 'completed', 'the batch is completed')
    end
    if fence ~= '' then
        return batch_holds(b, instance, fence)
    end
    if batch_is_held(b) and b.processor ~= instance then
        return nil, -32005, 'the batch has a processor', '{"reason":"state","state":"held","processorId":' .. S(b.processor)
            .. '}'
    end
    return true
end

-- Which of the items given are new? Those that were added before are skipped, so that a call may be repeated.
-- Returns the index of the first new one, or nil and the error.
local function items_check(b, from, count, at)
    local skip = math.min(count, b.total - from)
    if from > b.total then
        return nil, -32005, 'items before these are missing',
            '{"reason":"state","state":"' .. b.status .. '","itemsTotal":' .. I(b.total) .. '}'
    end
    if skip < count and b.status ~= 'open' then
        return conflict('state', b.status, 'the batch is complete as it is: no items can be added')
    end
    local bytes = b.bytes
    for i = skip + 1, count do
        bytes = bytes + #ARGV[at + i]
    end
    if skip < count and (b.total - b.done + count - skip > BATCH_WAITING or bytes > BATCH_BYTES) then
        return nil, -32007, 'too many items of the batch wait to be worked off', '{"retry_after_ms":1000}'
    end
    return skip + 1
end

local function items_add(key, b, first, count, at)
    for i = first, count do
        call('HSET', key, 'i:' .. I(b.total), ARGV[at + i])
        b.total, b.bytes = b.total + 1, b.bytes + #ARGV[at + i]
    end
end

-- A new fence: what an earlier processor had been given and not finished is handed out again.
local function lease(id, b, instance)
    local before = b.processor
    b.processor, b.fence, b.out = instance, I(next_number()), b.done
    emit('batch.started', {'batch', id, 'instance', instance, 'fence', b.fence, 'from', before, 'processed', I(b.done)})
end

function op(r)
    local a = r.a
    local id, instance, fence, from, more = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4]), ARGV[a + 5]
    local count, at, key = tonumber(ARGV[a + 8]), a + 8, batch_key(ARGV[a + 1])
    want('stream', EVENTS)
    batch_want(id)
    local b = batch_read(id)
    if not b and (fence ~= '' or count == 0 and more ~= '1') then
        return nil, -32004, 'no such batch', '{"reason":"' .. (fence ~= '' and 'expired' or 'unknown') .. '"}'
    end
    if not b and call('ZCARD', P .. 'batch:current') >= BATCHES then
        return nil, -32007, 'too many batches', '{"retry_after_ms":1000}'
    end
    b = b or new_batch()
    local ok, code, message, data = may_process(b, instance, fence)
    if not ok then
        return nil, code, message, data
    end
    local first
    first, code, message, data = items_check(b, from, count, at)
    if not first then
        return nil, code, message, data
    end
    if b.is_new then
        batch_forget(id, emit) -- what a forgotten batch of this name left
        call('HSET', key, 'op', I(NOW))
    end
    items_add(key, b, first, count, at)
    if more == '0' or more == '' and (count > 0 or b.is_new) then
        b.status = 'sealed'
    end
    if fence == '' then
        lease(id, b, instance)
    end
    if ARGV[a + 6] ~= '' then
        b.lease_ms = tonumber(ARGV[a + 6])
    end
    call('HSET', key, 'st', b.status, 'pr', instance, 'fe', b.fence, 'lm', I(b.lease_ms), 'tot', I(b.total), 'done', I(b.done),
        'up', I(b.out), 'sz', I(b.bytes))
    batch_renew(id, b)
    local items = batch_hand_out(id, b, tonumber(ARGV[a + 7]))
    return '{"processed":true,' .. batch_members(id, b) .. ',"fence":' .. b.fence .. ',"leaseUntil":' .. ISO(b.lease_end)
        .. ',' .. items .. '}'
end
-- @include commit.lua
