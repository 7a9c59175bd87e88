-- task.lua: the task hash: its fields, its place in the indexes, and its JSON.
-- @include counts.lua
--
-- Fields (private): text payload meta result err = JSON literals as they came; st status; pr priority;
-- q queue; ro roles, joined by spaces; cr up created and updated, wall ms; v version; at attempts
-- charged; ma max_attempts; cc crashes; mc max_crashes; bo backoff_ms, or it and backoff_max_ms; lm lease_ms; ho holder;
-- hi its incarnation; tk lease token (it begins with the microsecond of the claim); le lease end, wall ms as told;
-- du due, wall ms; en end, wall ms; de 1 = dead; dr why; pg progress of this attempt (JSON); pe wall ms of the last event
-- about it; as 1 = assigned, and not yet handed over; dn deny list (deny.lua); hy attempts that failed (history.lua);
-- ws see waits_since();
-- sc due time (wall ms) and id of the schedule that it came of; af ids of tasks that it waits for, joined by spaces, and
-- of what a failed one of them means (dependents.lua); uk unique key; pn partition (partition.lua); ex mark of what few tasks have (dependents.lua);
-- dop dtk dby dou = operation, token, worker and outcome of the last finishing call that was not a completion (in older data: of
-- that, too). A completed task keeps the fields of its holder, which say the same of its completion.
-- @include wake.lua
-- @include load.lua

local function conflict(reason, state, message)
    return nil, -32005, message, '{"reason":"' .. reason .. '","state":"' .. state .. '"}'
end
-- The index of each state that a task ends in.
local ENDED = {completed = P .. 'tasks:completed', failed = P .. 'tasks:failed', cancelled = P .. 'tasks:cancelled'}

local function not_found(id)
    return nil, -32004, 'no task ' .. id, '{"reason":"unknown"}'
end

local AGED = '-1000' -- the score of a pending task that goes ahead of all priorities (sweep_tasks.lua)

-- Higher priority first; equal scores are ordered by id, which is the order of commit. The names of queue and role
-- go to cb:queues here, once per call; those of queues by the counts.
local queue_named = {}
local queue_heads = {} -- what claims of this call have found there (claim.lua), until another task comes
local function queue_add(id, queue, priority, roles)
    local score = I(-priority)
    queue_heads[queue] = nil
    wake_for_task(id, queue, roles)
    if not roles or roles == '' then
        call('ZADD', queue_key(queue), score, id)
        return
    end
    for role in string.gmatch(roles, '%S+') do
        local name = queue .. ' ' .. role
        if call('ZADD', role_key(queue, role), score, id) == 1 and not queue_named[name] then
            call('ZADD', P .. 'queues', 0, name)
            queue_named[name] = true
        end
    end
end
local function queue_remove(id, queue, roles)
    if roles and roles ~= '' then
        for role in string.gmatch(roles, '%S+') do
            call('ZREM', role_key(queue, role), id)
        end
    else
        call('ZREM', queue_key(queue), id)
    end
end

-- The names of roles' sets that are empty go from cb:queues at once, else one name per task could pile up there.
local function queue_forget(queue, roles)
    for role in string.gmatch(roles, '%S+') do
        if call('EXISTS', role_key(queue, role)) == 0 then
            call('ZREM', P .. 'queues', queue .. ' ' .. role)
            queue_named[queue .. ' ' .. role] = nil
        end
    end
end

-- Can the task be put on, or taken off, its queue?
local wanted_queue -- the last one without roles of which that was said
local function queue_fits(queue, roles)
    if not roles or roles == '' then
        return queue == wanted_queue or has_type('zset', queue_key(queue)) and has_type('zset', P .. 'queues')
    end
    for role in string.gmatch(roles, '%S+') do
        if not has_type('zset', role_key(queue, role)) then
            return false
        end
    end
    return has_type('zset', P .. 'queues')
end
local function want_queue(queue, roles)
    if queue == wanted_queue and roles == '' then
        return
    end
    if not queue_fits(queue, roles) then
        error({err = 'WRONGTYPE a set of queue ' .. queue})
    end
    wanted_queue = roles == '' and queue or nil
end

-- Said before the first write by whatever moves a task between states.
local moves_fit
local function want_moves()
    if not moves_fit then
        want('stream', EVENTS)
        want('hash', COUNTS)
        want('zset', P .. 'queues')
        moves_fit = true
    end
end

-- Since when a pending task has waited (wall ms, as a text): since it became pending. An update of it is a change, too (up), but
-- no new wait: it leaves in the field ws the version that it made, and since when the task had waited. Never raises.
local function waits_since(id)
    local t = redis.pcall('HMGET', task_key(id), 'up', 'v', 'ws')
    local version, since = string.match(t[3] or '', '^(%d+) (%d+)$')
    return version and version == t[2] and since or t[1] or '0'
end

-- What a task has while it is in progress, and a completed one keeps, but for `as`.
local HOLDER_FIELDS = {'ho', 'hi', 'tk', 'le', 'pg', 'pe', 'as'}

-- A task in progress leaves its holder: indexes only.
local function unlist_held(id, holder, assigned)
    call('ZREM', P .. 'leases', id)
    if holder then
        call('SREM', held_key(holder), id)
        load_change(holder, -1)
    end
    if assigned then
        call('ZREM', assigned_key(holder), id)
        call('HDEL', task_key(id), 'as')
    end
end

-- The same, and the fields of its holder; the caller sets the new state.
local function unlease(id, holder, assigned)
    unlist_held(id, holder, assigned)
    call('HDEL', task_key(id), unpack(HOLDER_FIELDS))
end

-- Renews a lease, counted from now; `ends` is its end so far (wall ms). With no length asked for, it is the
-- task's, and a claim that asked for a longer one is not cut short. Returns the new end.
local function extend_lease(id, ends, asked_ms, default_ms)
    local ms = tonumber(asked_ms or default_ms)
    local le = asked_ms and NOW + ms or math.max(NOW + ms, tonumber(ends) or 0)
    call('HSET', task_key(id), 'le', I(le))
    if asked_ms then
        call('ZADD', P .. 'leases', I(EFF() + ms), id)
    else
        call('ZADD', P .. 'leases', 'GT', I(EFF() + ms), id)
    end
    return le
end

-- Back to its queue, from the state `from`, with `attempts` charged so far.
local function to_pending(id, queue, priority, roles, attempts, from)
    local key = task_key(id)
    call('HSET', key, 'st', 'pending', 'at', attempts, 'up', NOW_TEXT)
    call('HINCRBY', key, 'v', 1)
    queue_add(id, queue, tonumber(priority), roles)
    count_move(queue, from, 'pending')
end

-- Back to its queue from an instance that it was assigned to and that never got it: nobody has started it, so neither
-- an attempt nor a loss is charged.
local function to_unstarted(id, t)
    to_pending(id, t.queue, t.priority, t.roles, I(math.max(0, t.attempts - 1)), 'in_progress')
    return true
end

-- What lists show of a task, what a claim shows besides, and what only task.get does.
local TASK_PUBLIC = {'text', 'st', 'pr', 'q', 'at', 'ma', 'cr', 'up', 'v', 'ro', 'ho', 'le', 'du', 'en',
    'de', 'meta', 'err', 'cc', 'pg', 'sc', 'af', 'uk', 'dr', 'pn', 'payload', 'result', 'hy', 'dby', 'dtk', 'tk'}
local TASK_SUMMARY, TASK_PAYLOAD = 24, 25

-- Puts a task's JSON, from a HMGET of TASK_PUBLIC, behind the texts of the list `out`, but for the brace at its end. A list, and nothing
-- put together before its end, because Lua looks each new text up among all that it has, and samples long ones for that: those that
-- differ in little lie in one place, and are gone through one by one.
local function put(out, name, value)
    local n = #out
    out[n + 1], out[n + 2] = name, value
end
local function task_put(out, id, t)
    local n, is_held = #out, t[2] == 'in_progress'
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = '{"id":"', id, '","text":', t[1]
    out[n + 5], out[n + 6], out[n + 7], out[n + 8] = ',"status":"', t[2], '","priority":', t[3]
    out[n + 9], out[n + 10], out[n + 11], out[n + 12] = ',"queue":"', t[4], '","attempt":', t[5] or '0'
    out[n + 13], out[n + 14], out[n + 15], out[n + 16] = ',"maxAttempts":', t[6], ',"version":', t[9]
    out[n + 17], out[n + 18], out[n + 19], out[n + 20] = ',"createdAt":', ISO(t[7]), ',"updatedAt":', ISO(t[8])
    if t[10] and t[10] ~= '' then put(out, ',"roles":["' .. string.gsub(t[10], ' ', '","'), '"]') end
    if is_held and t[11] then put(out, ',"assignedTo":', S(t[11])) end
    if is_held and t[12] then put(out, ',"lease_until":', ISO(t[12])) end
    if t[13] and (t[2] == 'delayed' or t[2] == 'blocked') then put(out, ',"next_run_at":', ISO(t[13])) end
    if t[14] then put(out, t[2] == 'completed' and ',"completedAt":' or ',"endedAt":', ISO(t[14])) end
    if t[15] then put(out, ',"dead":', 'true') end
    if t[16] then put(out, ',"metadata":', t[16]) end
    if t[17] then put(out, ',"error":', t[17]) end
    if t[18] and t[18] ~= '0' then put(out, ',"crashes":', t[18]) end
    if is_held and t[19] then put(out, ',"progress":', t[19]) end
    if t[20] then
        local due, schedule = string.match(t[20], '^(%d+) (.*)$')
        put(out, ',"schedule":', S(schedule))
        put(out, ',"scheduledFor":', ISO(due))
    end
    if t[21] then put(out, ',"waiting_for":["' .. string.gsub(t[21], ' ', '","'), '"]') end
    if t[22] then put(out, ',"unique_key":', S(t[22])) end
    if t[23] then put(out, ',"dead_reason":"' .. t[23], '"') end
    if t[24] then put(out, ',"partition":"' .. t[24], '"') end
    if t[TASK_PAYLOAD] then put(out, ',"payload":', t[TASK_PAYLOAD]) end
    if t[26] then put(out, ',"result":', t[26]) end
end

-- The same as one text; `further` = more members, each behind a comma.
local function task_text(id, t, further)
    local out = {}
    task_put(out, id, t)
    put(out, further or '', '}')
    return table.concat(out)
end
