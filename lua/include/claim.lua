-- claim.lua: takes tasks off a queue for a worker. Needs task.lua; LEASE_MS = task.lease_ms, DENY_MS = task.deny_ms, and
-- PULLS: false when all tasks are pushed (task.assignment), and a claim gets only what was assigned to its worker.
-- @include denied.lua
-- @include paused.lua
-- @include indexes.lua
-- @include digits.lua
--
-- Arguments behind `a`: who claims what (claimant()), and 11 characters from the kernel.
local CLAIM_ARGS = 2
local CLAIM_BYTES = 450000 -- with one task of the largest size more, a reply stays under 1 MiB
local CLAIM_ASSIGNED = 100 -- entries of cb:assigned:<instance> that one claim looks at: more there are not
local CLAIM_PAST = 16 -- entries without a pending task behind them, or denied to the worker, that a claim looks past

-- Who claims what, taken apart once a text, as most claims of a group say the same: max tasks, lease_ms ('' = the task's), queue, the
-- worker's incarnation ('' = not given), its roles (joined by spaces), its id; each but the last ends with a line feed, which none has.
local claimants = {}
local function claimant(text)
    local w = claimants[text]
    if not w then
        local limit, lease_ms, queue, incarnation, roles, worker = string.match(text, '^(%d+)\n(%d*)\n(%C+)\n(%C*)\n(%C*)\n(.*)$')
        w = {worker = worker, incarnation = incarnation, limit = tonumber(limit), lease_ms = lease_ms ~= '' and lease_ms or nil,
            queue = queue, roles = roles}
        claimants[text] = w
    end
    return w
end

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

-- Claimed tasks as texts that are put together only with the reply (task_put()): those up to CLAIM_HEAD are what comes before them.
-- The rest is room for one task: Lua counts all of a table's keys whenever it has to make it larger.
local CLAIM_HEAD = 4
local function claim_out()
    return {'', '', '', '', nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil}
end

-- What claim_held_put() needs of a task that the caller holds already:
--   1 s   2 c   3 text   4 ro   5 meta   6 cc   7 pg   8 sc   9 payload   10 tk   11 lm
local CLAIM_HELD = {'s', 'c', 'text', 'ro', 'meta', 'cc', 'pg', 'sc', 'payload', 'tk', 'lm'}

-- Returns about how many bytes it has.
local function claim_held_put(out, id, t, token)
    if #out > CLAIM_HEAD then
        out[#out + 1] = ','
    end
    -- as TASK_PUBLIC is numbered: 1 s   2 c   3 text   4 ro   5 du   6 de   7 meta   8 err   9 cc   10 pg   11 sc   12 af   13 uk   14 dr
    -- 15 pn   16 payload
    task_put(out, id, {t[1], t[2], t[3], t[4], nil, nil, t[5], nil, t[6], t[7], t[8], nil, nil, nil, nil, t[9]})
    put(out, ',"lease_token":"', token)
    out[#out + 1] = '"}'
    return 500 + #t[3] + #(t[5] or '') + #(t[9] or '')
end

-- Is the claimant the instance that it says? Nothing to say when it gave no incarnation. One that is not there any
-- more, or was given up, is told so: it is to register again, while a stale one has lost its name. Found once a call, and with it for
-- claim_take(), whether it had let go by what was assigned to it, and is given nothing more (tick.lua): it is back.
local function claimant_check(w)
    if w.is_known or w.incarnation == '' and PULLS then
        return true
    end
    local known = call('HMGET', instance_key(w.worker), 'inc', 'st', 'mu')
    if w.incarnation == '' then
        w.is_known, w.was_mute = true, known[3]
        return true
    end
    if known[1] and known[1] ~= w.incarnation then
        return conflict('stale_incarnation', known[2], 'the instance was registered again')
    end
    if known[2] ~= 'ACTIVE' then
        return nil, -32004, 'the instance is unknown or was given up: register again', '{"reason":"unknown"}'
    end
    w.is_known, w.was_mute = true, known[3] -- nothing else in this call changes an instance
    return true
end

-- Said before the first write: what claim_take() writes has the right types (it sees the queues' own).
local function claim_want(w)
    if not w.is_wanted then
        want_moves()
        want('zset', LEASES)
        want('set', held_key(w.worker))
        want('zset', assigned_key(w.worker))
        want_queue(w.queue, w.roles)
        w.is_wanted = true
    end
end

local claim_take
do
local NO_IDS = {from = 1}
local NONE_ASSIGNED = {ids = {}, gone = {}, bytes = 0}

-- Tasks that were assigned to the caller and wait to be handed over, oldest first: what goes into `out` and `memo`, with
-- `ids` of those and `gone` of entries that the list is to lose. Nothing is written here.
local function claim_assigned(w, out, memo)
    local key = assigned_key(w.worker)
    if typed[key] == 'none' then -- claim_want() has looked
        return NONE_ASSIGNED
    end
    local found = {ids = {}, states = {}, leases = {}, gone = {}, bytes = 0}
    local incarnation = w.incarnation ~= '' and w.incarnation or call('HGET', instance_key(w.worker), 'inc')
    local ids = call('ZRANGE', key, 0, CLAIM_ASSIGNED - 1)
    for i = 1, #ids do
        if #found.ids == w.limit or found.bytes > CLAIM_BYTES then
            break
        end
        local t = task_read(task_key(ids[i]), CLAIM_HELD)
        local token, s = t[10], task_state(t[1])
        local hold = s and s.hold
        local is_whole = hold and token and t[3] and task_constants(t[2])
        if not is_whole or s.status ~= 'in_progress' or hold[4] ~= w.worker or hold[2] ~= '1' then
            found.gone[#found.gone + 1] = ids[i]
        elseif hold[3] == incarnation then -- an older incarnation's go back to their queues
            local ms = tonumber(w.lease_ms or t[11] or LEASE_MS)
            t[1] = state_with_hold(s, hold_text(I(NOW + ms), '0', hold[3], hold[4])) -- its lease begins when its holder gets it
            found.bytes = found.bytes + claim_held_put(out, ids[i], t, token)
            memo[#memo + 1] = ids[i]
            memo[#memo + 1] = token
            found.ids[#found.ids + 1] = ids[i]
            found.states[#found.states + 1] = t[1]
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
        call('HSET', task_key(found.ids[i]), 's', found.states[i])
    end
    if #found.ids > 0 then
        call('ZADD', P .. 'leases', unpack(found.leases))
        emit('task.claimed', {'ids', table.concat(found.ids, ' '), 'worker', worker, 'assigned', '1'})
    end
end

-- The lease of this length that the claimant gets: the hold, its score, and its JSON. The last one is kept.
local function lease_make(w, lease_ms)
    if lease_ms ~= w.leased_ms then
        local ends = I(NOW + tonumber(lease_ms))
        w.lease_hold, w.lease_score = hold_text(ends, '0', w.incarnation, w.worker), I(EFF() + tonumber(lease_ms))
        w.lease_json = ',"assignedTo":' .. S(w.worker) .. ',"lease_until":' .. ISO(ends)
        w.leased_ms = lease_ms
    end
    return w.lease_hold, w.lease_score, w.lease_json
end

-- The fields that claims show or go by: of all tasks, and those that few have.
local CLAIM_FIRST = {'s', 'c', 'text', 'payload'}
local CLAIM_FURTHER = {'s', 'ro', 'lm', 'meta', 'cc', 'sc', 'dn'}
local NO_FURTHER = {} -- a task that has none of them

-- A task's JSON for who claims it; `lease` = what lease_make() gives of it. Returns about how many bytes it has.
local function claim_put(out, id, t, further, c, s, lease, token)
    local n = #out
    if n > CLAIM_HEAD then
        n = n + 1
        out[n] = ','
    end
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = '{"id":"', id, '","text":', t[3]
    out[n + 5], out[n + 6], out[n + 7], out[n + 8] = ',"status":"in_progress"', constants_json(c), state_json(s), lease
    n = n + 8
    if further ~= NO_FURTHER then
        if further[2] and further[2] ~= '' then put(out, ',"roles":["' .. string.gsub(further[2], ' ', '","'), '"]') end
        if further[4] then put(out, ',"metadata":', further[4]) end
        if further[5] and further[5] ~= '0' then put(out, ',"crashes":', further[5]) end
        if further[6] then put_schedule(out, further[6]) end
        n = #out
    end
    if t[4] then
        out[n + 1], out[n + 2] = ',"payload":', t[4]
        n = n + 2
    end
    out[n + 1], out[n + 2], out[n + 3] = ',"lease_token":"', token, '"}'
    return 500 + #t[3] + #(t[4] or '') + #(further[4] or '')
end

-- Leases tasks. Returns their texts (claim_out()), the array of their ids and tokens (the memo, for claim_again()), and whether the queue is paused. All of it is made
-- before the first lease is written: a task that cannot be shown must not leave others half leased.
-- The worker that commits counts claims by the code of the request: 4 = it has got something, 3 = there was nothing.
local TOLD_OF_CLAIMS = {'worker', 'queue'}
function claim_take(w, secret)
    local worker, queue, roles_asked = w.worker, w.queue, w.roles
    local out, memo = claim_out(), {nil, nil}
    -- Of those that are to be leased: ids; key, state, token, score of the lease. nil: room for one.
    local held, writes = {nil}, {nil, nil, nil, nil}
    local assigned = claim_assigned(w, out, memo)
    local bytes, left = assigned.bytes, w.limit - #assigned.ids
    local wanted = left + CLAIM_PAST
    local is_paused = queue_is_paused(queue)
    local ids = PULLS and left > 0 and not is_paused and claim_candidates(queue, roles_asked, wanted) or NO_IDS
    local at, last, has_passed = ids.from, math.min(#ids, ids.from + wanted - 1), false
    local with_roles = NO_FURTHER -- by task, when there are any
    while at <= last and #held < left and bytes <= CLAIM_BYTES do
        local id = ids[at]
        local key = task_key(id)
        at = at + 1
        local t = task_read(key, CLAIM_FIRST)
        local s, c = task_state(t[1]), task_constants(t[2])
        local version = s and s[1]
        local further = version and c and not (version == 1 and c.is_plain) and task_read(key, CLAIM_FURTHER) or NO_FURTHER
        local roles = further[2]
        if not version or s.status ~= 'pending' or not (t[3] and c) then
            roles = redis.pcall('HGET', key, 'ro')
            queue_heads[queue] = nil -- should this claim fail, the next one does not find it again, and count it again
            queue_remove(id, queue)
            queue_remove(id, queue, type(roles) == 'string' and roles or roles_asked)
            if not s or s.status == 'pending' then -- else it is counted where it is
                count_move(queue, 'pending', nil)
            end
        elseif queue_fits(queue, roles) and not (further[7] and is_denied(worker, further[7], queue, roles, waits_since(id))) then
            local head, d1, d2, d3 = next_digits()
            local token = head .. d1 .. d2 .. d3 .. '-' .. secret
            local hold, score, lease = lease_make(w, w.lease_ms or further[3] or LEASE_MS)
            local now = s.claimed -- by the one before it
            if not now or now.held ~= hold then
                now = task_state(state_text('in_progress', version + 1, s[2] + 1, hold))
                s.claimed = now
            end
            local h, k = #held + 1, #writes
            held[h], writes[k + 1], writes[k + 2], writes[k + 3], writes[k + 4] = id, key, now.text, token, score
            if roles and roles ~= '' then
                with_roles = with_roles ~= NO_FURTHER and with_roles or {}
                with_roles[id] = roles
            end
            bytes = bytes + claim_put(out, id, t, further, c, now, lease, token)
            memo[#memo + 1] = id
            memo[#memo + 1] = token
        else
            has_passed = true
        end
    end
    if has_passed or roles_asked ~= '' then
        queue_heads[queue] = nil -- the next claim may be given what this one is not, or this one has taken of the same tasks
    elseif ids ~= NO_IDS then
        ids.from = at
    end
    claim_hand_over(worker, assigned)
    done_code = #memo > 0 and 4 or 3
    if w.was_mute then
        w.was_mute = nil
        call('HDEL', instance_key(worker), 'mu')
        load_renew(worker)
    end
    if #held == 0 then
        return out, memo, is_paused
    end
    local held_by_worker, plain = held_key(worker), queue_key(queue)
    for i = 1, #held do
        local id = held[i]
        local k = 4 * i
        call('HSET', writes[k - 3], 's', writes[k - 2], 'tk', writes[k - 1])
        index_change('zset', LEASES, id, writes[k])
        index_change('set', held_by_worker, id, true)
        if with_roles[id] then
            queue_remove(id, queue, with_roles[id])
        else
            index_change('zset', plain, id, false)
        end
    end
    load_change(worker, #held)
    count_move(queue, 'pending', 'in_progress', #held)
    if #ids < wanted and roles_asked ~= '' then -- that was all of it
        queue_forget(queue, roles_asked)
    end
    emit_together('task.claimed', 'ids', held, TOLD_OF_CLAIMS, worker, queue)
    return out, memo, is_paused
end
end

-- The same tasks again, for a repeat under the same idempotency key: those that the caller still holds. Returns as claim_take() does.
local function claim_again(memo)
    local out, found = claim_out(), {}
    for id, token in string.gmatch(memo, '(%S+) (%S+)') do
        local t = task_read(task_key(id), CLAIM_HELD)
        local s = task_state(t[1])
        if s and s.status == 'in_progress' and t[10] == token then
            claim_held_put(out, id, t, token)
            put(found, id, token)
        end
    end
    return out, found
end
