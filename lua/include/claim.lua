-- claim.lua: takes tasks off a queue for a worker. Needs task.lua; LEASE_MS = task.lease_ms, DENY_MS = task.deny_ms, and
-- PULLS: false when all tasks are pushed (task.assignment), and a claim gets only what was assigned to its worker.
-- @include denied.lua
-- @include paused.lua
-- @include indexes.lua
--
-- Arguments behind `a`: worker id, its incarnation ('' = not given), max tasks, lease_ms ('' = the task's),
-- 11 characters from the kernel, queue, roles (joined by spaces).
local CLAIM_ARGS = 7
local CLAIM_BYTES = 450000 -- with one task of the largest size more, a reply stays under 1 MiB
local CLAIM_ASSIGNED = 100 -- entries of cb:assigned:<instance> that one claim looks at: more there are not
local CLAIM_PAST = 16 -- entries without a pending task behind them, or denied to the worker, that a claim looks past

-- The best `limit` ids of the queue and its role sets: {id, id, …, from = place of the first one that is left}. Without roles, the
-- claims of a group go on where the one before them came to.
local function claim_candidates(queue, roles, limit)
    if roles == '' then
        local head = queue_heads[queue]
        if not head or not head.is_all and #head - head.from + 1 < limit then
            local asked = limit + N - 1
            index_flush(queue_key(queue))
            head = call('ZRANGE', queue_key(queue), 0, asked - 1)
            head.from, head.is_all = 1, #head < asked
            queue_heads[queue] = head
        end
        return head
    end
    local heads, seen, ids = {}, {}, {}
    local function gather(key)
        index_flush(key)
        local z = call('ZRANGE', key, 0, limit - 1, 'WITHSCORES')
        for i = 1, #z, 2 do
            if not seen[z[i]] then
                seen[z[i]] = true
                heads[#heads + 1] = {z[i], tonumber(z[i + 1])}
            end
        end
    end
    gather(queue_key(queue))
    for role in string.gmatch(roles, '%S+') do
        gather(role_key(queue, role))
    end
    table.sort(heads, function(x, y)
        if x[2] ~= y[2] then
            return x[2] < y[2]
        end
        return x[1] < y[1]
    end)
    for i = 1, math.min(limit, #heads) do
        ids[i] = heads[i][1]
    end
    ids.from = 1
    return ids
end

-- Claimed tasks as texts that are put together only with the reply (task_put()): the second and the third are what comes before them.
-- The rest is room for one task: Lua counts all of a table's keys whenever it has to make it larger.
local function claim_out()
    return {'', '', '', nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
        nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil}
end
-- One task's JSON for its holder. Returns about how many bytes it has.
local function claim_put(out, id, t, token, lease_end)
    if #out > 3 then
        out[#out + 1] = ','
    end
    task_put(out, id, t)
    put(out, ',"lease_token":"', token)
    put(out, '","lease_until":', ISO(lease_end))
    out[#out + 1] = '}'
    return 500 + #t[1] + #(t[16] or '') + #(t[TASK_PAYLOAD] or '')
end

-- What claim_held_put() needs of a task that the caller holds already.
local CLAIM_HELD = {'text', 'st', 'pr', 'q', 'at', 'ma', 'cr', 'up', 'v', 'ro', 'ho', 'le', 'meta', 'payload', 'cc',
    'tk', 'pg', 'hi', 'as', 'lm', 'sc'}
local function claim_held_put(out, id, t)
    return claim_put(out, id, {t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], nil, nil, nil, nil,
        t[13], nil, t[15], t[17], t[21], nil, nil, nil, nil, t[14]}, t[16], t[12])
end

-- Whether the caller had let go by what was assigned to it, and is given nothing more (tick.lua): it is back.
local claim_was_mute

-- Is the caller the instance that it says? Nothing to say when it gave no incarnation. One that is not there any
-- more, or was given up, is told so: it is to register again, while a stale one has lost its name.
local function claim_incarnation_error(a)
    local incarnation = ARGV[a + 2]
    claim_was_mute = false
    if incarnation == '' and PULLS then
        return true
    end
    local known = call('HMGET', instance_key(ARGV[a + 1]), 'inc', 'st', 'mu')
    claim_was_mute = known[3]
    if incarnation == '' then
        return true
    end
    if known[1] and known[1] ~= incarnation then
        return conflict('stale_incarnation', known[2], 'the instance was registered again')
    end
    if known[2] ~= 'ACTIVE' then
        return nil, -32004, 'the instance is unknown or was given up: register again', '{"reason":"unknown"}'
    end
    return true
end

-- Said before the first write: what claim_take() writes has the right types (it sees the queues' own).
local claim_wanted -- the last worker
local function claim_want(a)
    local worker = ARGV[a + 1]
    if worker ~= claim_wanted then
        want_moves()
        want('zset', LEASES)
        want('set', held_key(worker))
        want('zset', assigned_key(worker))
        claim_wanted = worker
    end
    want_queue(ARGV[a + 6], ARGV[a + 7])
end

local NO_IDS = {from = 1}
local NONE_ASSIGNED = {ids = {}, gone = {}, bytes = 0}

-- Tasks that were assigned to the caller and wait to be handed over, oldest first: what goes into `out` and `memo`, with
-- `ids` of those and `gone` of entries that the list is to lose. Nothing is written here.
local function claim_assigned(a, limit, out, memo)
    local key = assigned_key(ARGV[a + 1])
    if typed[key] == 'none' then -- claim_want() has looked
        return NONE_ASSIGNED
    end
    local found = {ids = {}, ends = {}, leases = {}, gone = {}, bytes = 0}
    local incarnation = ARGV[a + 2] ~= '' and ARGV[a + 2] or call('HGET', instance_key(ARGV[a + 1]), 'inc')
    local ids = call('ZRANGE', key, 0, CLAIM_ASSIGNED - 1)
    for i = 1, #ids do
        if #found.ids == limit or found.bytes > CLAIM_BYTES then
            break
        end
        local t = redis.pcall('HMGET', task_key(ids[i]), unpack(CLAIM_HELD))
        local whole = t[1] and t[3] and t[4] and t[6] and t[7] and t[8] and t[9] and t[12] and t[16]
        if t[2] ~= 'in_progress' or t[11] ~= ARGV[a + 1] or not t[19] or not whole then
            found.gone[#found.gone + 1] = ids[i]
        elseif t[18] == incarnation then -- an older incarnation's go back to their queues
            local ms = tonumber(ARGV[a + 4] ~= '' and ARGV[a + 4] or t[20] or LEASE_MS)
            t[12] = I(NOW + ms) -- its lease begins when its holder gets it
            found.bytes = found.bytes + claim_held_put(out, ids[i], t)
            memo[#memo + 1] = ids[i]
            memo[#memo + 1] = t[16]
            found.ids[#found.ids + 1] = ids[i]
            found.ends[#found.ends + 1] = t[12]
            found.leases[#found.leases + 1] = I(EFF() + ms)
            found.leases[#found.leases + 1] = ids[i]
            found.gone[#found.gone + 1] = ids[i]
        end
    end
    return found
end

local function claim_hand_over(worker, found)
    if #found.gone > 0 then
        call('ZREM', assigned_key(worker), unpack(found.gone))
    end
    for i = 1, #found.ids do
        call('HDEL', task_key(found.ids[i]), 'as')
        call('HSET', task_key(found.ids[i]), 'le', found.ends[i])
    end
    if #found.ids > 0 then
        call('ZADD', P .. 'leases', unpack(found.leases))
        emit('task.claimed', {'ids', table.concat(found.ids, ' '), 'worker', worker, 'assigned', '1'})
    end
end

-- When a lease of this length ends: wall ms, and effective ms, as texts.
local lease_known, lease_end_known, lease_score_known
local function lease_ends(lease_ms)
    if lease_ms ~= lease_known then
        lease_known = lease_ms
        lease_end_known, lease_score_known = I(NOW + tonumber(lease_ms)), I(EFF() + tonumber(lease_ms))
    end
    return lease_end_known, lease_score_known
end

-- Leases tasks. Returns their texts (claim_out()), the array of their ids and tokens (the memo, for claim_again()), and whether the queue is paused. All of it is made
-- before the first lease is written: a task that cannot be shown must not leave others half leased.
-- The worker that commits counts claims by the code of the request: 4 = it has got something, 3 = there was nothing.
local function claim_take(a)
    local worker, incarnation, limit = ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3])
    local queue = ARGV[a + 6]
    local out, memo, held, leases = claim_out(), {nil, nil}, {nil}, {nil} -- the last two: ids, and the scores of their leases; nil: room for one
    local assigned = claim_assigned(a, limit, out, memo)
    local bytes, left = assigned.bytes, limit - #assigned.ids
    local wanted = left + CLAIM_PAST
    local is_paused = queue_is_paused(queue)
    local ids = PULLS and left > 0 and not is_paused and claim_candidates(queue, ARGV[a + 7], wanted) or NO_IDS
    local at, last, has_passed = ids.from, math.min(#ids, ids.from + wanted - 1), false
    local hashes, with_roles = {nil}, {}
    while at <= last and #held < left and bytes <= CLAIM_BYTES do
        local id, key = ids[at], task_key(ids[at])
        at = at + 1
        -- pcall: what is no hash has no fields either.
        local t = redis.pcall('HMGET', key, 'text', 'st', 'pr', 'q', 'at', 'ma', 'cr', 'up', 'v', 'ro', 'lm',
            'meta', 'payload', 'cc', 'sc', 'dn')
        if t[2] ~= 'pending' or not (t[1] and t[5] and t[6] and t[7] and t[9]) then
            queue_heads[queue] = nil -- should this claim fail, the next one does not find it again, and count it again
            queue_remove(id, queue)
            queue_remove(id, queue, t[10] or ARGV[a + 7])
            if t[2] == 'pending' or not t[2] then -- else it is counted where it is
                count_move(queue, 'pending', nil)
            end
        elseif queue_fits(queue, t[10]) and not (t[16] and is_denied(worker, t[16], queue, t[10], waits_since(id))) then
            local lease_ms = ARGV[a + 4] ~= '' and ARGV[a + 4] or t[11] or LEASE_MS
            local token = I(next_number()) .. '-' .. ARGV[a + 5]
            local lease_end, lease_score = lease_ends(lease_ms)
            local attempt, version = I(tonumber(t[5]) + 1), I(tonumber(t[9]) + 1)
            hashes[#hashes + 1] = {'HSET', key, 'st', 'in_progress', 'ho', worker, 'hi', incarnation, 'tk', token,
                'le', lease_end, 'at', attempt, 'up', NOW_TEXT, 'v', version}
            if t[10] and t[10] ~= '' then
                with_roles[id] = t[10]
            end
            held[#held + 1] = id
            leases[#leases + 1] = lease_score
            bytes = bytes + claim_put(out, id, {t[1], 'in_progress', t[3], t[4], attempt, t[6], t[7], NOW_TEXT, version,
                t[10], worker, nil, nil, nil, nil, t[12], nil, t[14], nil, t[15], nil, nil, nil, nil, t[13]}, token, lease_end)
            memo[#memo + 1] = id
            memo[#memo + 1] = token
        else
            has_passed = true
        end
    end
    if has_passed or ARGV[a + 7] ~= '' then
        queue_heads[queue] = nil -- the next claim may be given what this one is not, or this one has taken of the same tasks
    elseif ids ~= NO_IDS then
        ids.from = at
    end
    claim_hand_over(worker, assigned)
    current.code = #memo > 0 and 4 or 3
    if claim_was_mute then
        call('HDEL', instance_key(worker), 'mu')
        load_renew(worker)
    end
    if #held == 0 then
        return out, memo, is_paused
    end
    local held_by_worker, plain = held_key(worker), queue_key(queue)
    for i = 1, #held do
        local id = held[i]
        call(unpack(hashes[i]))
        index_change('zset', LEASES, id, leases[i])
        index_change('set', held_by_worker, id, true)
        if with_roles[id] then
            queue_remove(id, queue, with_roles[id])
        else
            index_change('zset', plain, id, false)
        end
    end
    load_change(worker, #held)
    count_move(queue, 'pending', 'in_progress', #held)
    if #ids < wanted and ARGV[a + 7] ~= '' then -- that was all of it
        queue_forget(queue, ARGV[a + 7])
    end
    emit_together('task.claimed', 'ids', held, {'worker', worker, 'queue', queue})
    return out, memo, is_paused
end

-- The same tasks again, for a repeat under the same idempotency key: those that the caller still holds. Returns as claim_take() does.
local function claim_again(memo)
    local out, found = claim_out(), {}
    for id, token in string.gmatch(memo, '(%S+) (%S+)') do
        local t = call('HMGET', task_key(id), unpack(CLAIM_HELD))
        if t[2] == 'in_progress' and t[16] == token then
            claim_held_put(out, id, t)
            put(found, id, token)
        end
    end
    return out, found
end
