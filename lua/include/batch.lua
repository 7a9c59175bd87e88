-- batch.lua: batches of items that one processor at a time works off. Needs base.lua and task.lua (conflict).
-- A lease, progress and the items' hand-out in one.
--
-- cb:batch:<id>: st open|sealed|completed; pr processor; fe its fence; ld deadline of its lease (effective ms), le as told
-- (wall ms), lm lease_ms; tot items added; done items finished; up handed out so far; sz bytes of the items that wait;
-- op opened, at changed (wall ms); i:<n> = item n, kept until it is finished. Items are worked off in their order, so one
-- number says which are finished. cb:batch:current: all batches; score: effective ms at which one is forgotten.
local BATCH_KEPT_MS = 300000
local BATCH_WAITING, BATCH_BYTES = 1000, 4194304 -- of items that are not finished
local BATCHES = 10000

local function batch_key(id)
    return P .. 'batch:' .. id
end
local function batch_want(id)
    want('hash', batch_key(id))
    want('zset', P .. 'batch:current')
end

-- A batch, or nil. One that should have been forgotten is: the tick was only not there yet.
local function batch_read(id)
    local t = call('HMGET', batch_key(id), 'st', 'pr', 'fe', 'ld', 'lm', 'tot', 'done', 'up', 'sz', 'op', 'le')
    local forgotten = t[1] and tonumber(call('ZSCORE', P .. 'batch:current', id) or '0')
    if not t[1] or forgotten <= EFF() then
        return nil
    end
    return {status = t[1], processor = t[2], fence = t[3], deadline = tonumber(t[4]), lease_ms = tonumber(t[5]),
        total = tonumber(t[6]), done = tonumber(t[7]), out = tonumber(t[8]), bytes = tonumber(t[9]), opened = t[10],
        lease_end = t[11]}
end

local function batch_is_held(b)
    return b.status ~= 'completed' and b.processor ~= '' and b.deadline > EFF()
end

-- May (instance, fence) go on with it? Returns true, or nil and the error.
local function batch_holds(b, instance, fence)
    if b.fence ~= fence or b.processor ~= instance then
        return conflict('stale_lease', b.status, 'the batch was given to another processor')
    end
    return true
end

-- The batch that (instance, fence) may go on with, or nil and the error.
local function batch_read_held(id, instance, fence)
    local b = batch_read(id)
    if not b then
        return nil, -32004, 'no such batch', '{"reason":"unknown"}'
    end
    local ok, code, message, data = batch_holds(b, instance, fence)
    if not ok then
        return nil, code, message, data
    end
    return b
end

-- Its lease and its time to live, from now.
local function batch_renew(id, b)
    b.deadline, b.lease_end = EFF() + b.lease_ms, NOW + b.lease_ms
    call('HSET', batch_key(id), 'ld', I(b.deadline), 'le', I(b.lease_end), 'at', I(NOW))
    call('ZADD', P .. 'batch:current', I(EFF() + math.max(BATCH_KEPT_MS, b.lease_ms)), id)
end

-- Items up to number `done` are finished: they go.
local function batch_finish_items(id, b, done)
    local fields = {}
    for i = b.done, done - 1 do
        fields[#fields + 1] = 'i:' .. I(i)
    end
    if #fields == 0 then
        return
    end
    local bytes = 0
    for from = 1, #fields, 1000 do
        local page = {unpack(fields, from, math.min(from + 999, #fields))}
        local items = call('HMGET', batch_key(id), unpack(page))
        for i = 1, #page do
            bytes = bytes + #(items[i] or '')
        end
        call('HDEL', batch_key(id), unpack(page))
    end
    b.done, b.bytes = done, b.bytes - bytes
    call('HSET', batch_key(id), 'done', I(b.done), 'sz', I(b.bytes))
end

-- Hands out at most `limit` more items, as JSON members "first" and "items".
local function batch_hand_out(id, b, limit)
    local fields = {}
    for i = b.out, math.min(b.out + limit, b.total) - 1 do
        fields[#fields + 1] = 'i:' .. I(i)
    end
    local first = b.out
    local items, given, bytes = {}, {}, 0
    if #fields > 0 then
        items = call('HMGET', batch_key(id), unpack(fields))
    end
    for i = 1, #items do
        bytes = bytes + #(items[i] or '')
        if not items[i] or #given > 0 and bytes > 524288 then -- a reply has at most 1 MiB
            break
        end
        given[i] = items[i]
    end
    b.out = b.out + #given
    call('HSET', batch_key(id), 'up', I(b.out))
    return '"first":' .. I(first) .. ',"items":[' .. table.concat(given, ',') .. ']'
end

-- JSON members that every answer about a batch has, without the braces.
local function batch_members(id, b)
    return '"batchId":"' .. id .. '","status":"' .. b.status .. '","processorId":'
        .. (b.processor ~= '' and S(b.processor) or 'null') .. ',"itemsProcessed":' .. I(b.done) .. ',"itemsTotal":'
        .. I(b.total)
end

-- A batch whose time is over goes, with what was not worked off.
local function batch_forget(id, emit_event)
    local t = call('HMGET', batch_key(id), 'st', 'tot', 'done', 'pr')
    if t[1] and t[1] ~= 'completed' then
        emit_event('batch.expired', {'batch', id, 'processed', t[3] or '0', 'total', t[2] or '0', 'instance', t[4] or ''})
    end
    call('UNLINK', batch_key(id))
    call('ZREM', P .. 'batch:current', id)
end
