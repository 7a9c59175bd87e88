-- task.lua: the task hash: its fields, its place in the indexes, and its JSON.
-- @include counts.lua
--
-- Fields (private): s c see task_fields.lua; text payload meta result err = JSON literals as they came;
-- ro roles, joined by spaces; cc crashes; bo backoff_ms, or it and backoff_max_ms; lm lease_ms;
-- tk lease token (it begins with the microsecond of the claim); du due, wall ms; de 1 = dead; dr why;
-- pg progress of this attempt (JSON); pe wall ms of the last event about it; dn deny list (deny.lua);
-- hy attempts that failed (history.lua); ws see waits_since();
-- sc due time (wall ms) and id of the schedule that it came of; af ids of tasks that it waits for, joined by spaces, and
-- of what a failed one of them means (dependents.lua); uk unique key; pn partition (partition.lua);
-- dop dtk dby dou = operation, token, worker and outcome of the last finishing call that was not a completion (in older data: of
-- that, too). A completed task keeps the fields of its holder, which say the same of its completion.
-- @include task_fields.lua
-- @include wake.lua
-- @include load.lua

local function conflict(reason, state, message)
    return nil, -32005, message, '{"reason":"' .. reason .. '","state":"' .. state .. '"}'
end

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
    if not queue then
        error({err = 'DAMAGED a task without a queue'}) -- its field c is no such text
    elseif queue == wanted_queue and roles == '' then
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

-- Since when a pending task has waited (wall ms, as a text): since it became pending. An update of it is a change, too, but
-- no new wait: it leaves in the field ws the version that it made, and since when the task had waited. Never raises.
local function waits_since(id)
    local t = task_read(task_key(id), {'s', 'ws'})
    local s = task_state(t[1])
    local version, since = string.match(t[2] or '', '^(%d+) (%d+)$')
    return s and s[1] and (version == I(s[1]) and since or s[3]) or '0'
end

-- What a task has besides its hold while it is in progress, and a completed one keeps.
local HOLDER_FIELDS = {'tk', 'pg', 'pe'}

-- A task in progress leaves its holder: indexes only.
local function unlist_held(id, holder, assigned)
    call('ZREM', P .. 'leases', id)
    if holder then
        call('SREM', held_key(holder), id)
        load_change(holder, -1)
    end
    if assigned then
        call('ZREM', assigned_key(holder), id)
    end
end

-- The same, and the fields of its holder; the caller sets the new state, without a hold.
local function unlease(id, holder, assigned)
    unlist_held(id, holder, assigned)
    call('HDEL', task_key(id), unpack(HOLDER_FIELDS))
end

-- Renews a lease, counted from now; `s` is the task's state, which has a hold. With no length asked for, it is the
-- task's, and a claim that asked for a longer one is not cut short. Returns the new end.
local function extend_lease(id, s, asked_ms, default_ms)
    local ms, hold = tonumber(asked_ms or default_ms), s.hold
    local le = asked_ms and NOW + ms or math.max(NOW + ms, tonumber(hold[1]))
    call('HSET', task_key(id), 's', state_with_hold(s, hold_text(I(le), hold[2], hold[3], hold[4])))
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
    call('HSET', key, 's', state_changed(key, 'pending', attempts))
    queue_add(id, queue, tonumber(priority), roles)
    count_move(queue, from, 'pending')
end

-- Back to its queue from an instance that it was assigned to and that never got it: nobody has started it, so neither
-- an attempt nor a loss is charged.
local function to_unstarted(id, t)
    to_pending(id, t.queue, t.priority, t.roles, math.max(0, t.attempts - 1), 'in_progress')
    return true
end

-- What lists show of a task, what a claim shows besides, and what only task.get does. By their numbers, as task_put() has them:
--   1 s   2 c   3 text   4 ro   5 du   6 de   7 meta   8 err   9 cc   10 pg   11 sc   12 af   13 uk   14 dr   15 pn
--   16 payload   17 result   18 hy   19 dby   20 dtk   21 tk
local TASK_PUBLIC = {'s', 'c', 'text', 'ro', 'du', 'de', 'meta', 'err', 'cc', 'pg', 'sc', 'af', 'uk', 'dr', 'pn',
    'payload', 'result', 'hy', 'dby', 'dtk', 'tk'}
local TASK_SUMMARY = 15

-- Puts a task's JSON, from a task_read() of TASK_PUBLIC, behind the texts of the list `out`, but for the brace at its end. A list, and nothing
-- put together before its end, because Lua looks each new text up among all that it has, and samples long ones for that: those that
-- differ in little lie in one place, and are gone through one by one.
local function put(out, name, value)
    local n = #out
    out[n + 1], out[n + 2] = name, value
end
local function state_json(s)
    s.json = s.json or ',"attempt":' .. I(s[2]) .. ',"version":' .. I(s[1]) .. ',"updatedAt":' .. ISO(s[3])
    return s.json
end
local function constants_json(c)
    c.json = c.json or ',"priority":' .. c[1] .. ',"queue":"' .. c[6] .. '","maxAttempts":' .. c[2] .. ',"createdAt":' .. ISO(c[4])
    return c.json
end
local function put_schedule(out, text)
    local due, schedule = string.match(text, '^(%d+) (.*)$')
    put(out, ',"schedule":', S(schedule))
    put(out, ',"scheduledFor":', ISO(due))
end
local function task_put(out, id, t)
    local n, s, c = #out, task_state(t[1]), task_constants(t[2])
    local status = s.status
    local is_held = status == 'in_progress'
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = '{"id":"', id, '","text":', t[3]
    out[n + 5], out[n + 6], out[n + 7] = ',"status":"', status, '"'
    out[n + 8], out[n + 9] = constants_json(c), state_json(s)
    if t[4] and t[4] ~= '' then put(out, ',"roles":["' .. string.gsub(t[4], ' ', '","'), '"]') end
    if is_held and s.hold then
        put(out, ',"assignedTo":', S(s.hold[4]))
        put(out, ',"lease_until":', ISO(s.hold[1]))
    end
    if t[5] and (status == 'delayed' or status == 'blocked') then put(out, ',"next_run_at":', ISO(t[5])) end
    if s[4] then put(out, status == 'completed' and ',"completedAt":' or ',"endedAt":', ISO(s[4])) end
    if t[6] then put(out, ',"dead":', 'true') end
    if t[7] then put(out, ',"metadata":', t[7]) end
    if t[8] then put(out, ',"error":', t[8]) end
    if t[9] and t[9] ~= '0' then put(out, ',"crashes":', t[9]) end
    if is_held and t[10] then put(out, ',"progress":', t[10]) end
    if t[11] then put_schedule(out, t[11]) end
    if t[12] then put(out, ',"waiting_for":["' .. string.gsub(t[12], ' ', '","'), '"]') end
    if t[13] then put(out, ',"unique_key":', S(t[13])) end
    if t[14] then put(out, ',"dead_reason":"' .. t[14], '"') end
    if t[15] then put(out, ',"partition":"' .. t[15], '"') end
    if t[16] then put(out, ',"payload":', t[16]) end
    if t[17] then put(out, ',"result":', t[17]) end
end

-- The same as one text; `further` = more members, each behind a comma.
local function task_text(id, t, further)
    local out = {}
    task_put(out, id, t)
    put(out, further or '', '}')
    return table.concat(out)
end
