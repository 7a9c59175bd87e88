#!lua flags=allow-oom
-- assign_pending: pushes pending tasks, at most 100 a call, to the instances that use the least of their capacity, are alive,
-- and serve the task's queue and role (task.assignment push; with hybrid, tasks that have waited for long).
-- KEYS  1 cb:leader:current   2 cb:stream:events   3 cb:meta
-- ARGV  1 prefix with colon   2 instance id   3 incarnation   4 epoch   5 the policy for events (include/emit.lua)   6 mode: pull, push or hybrid
--       7 ms that a task must have been pending   8 task.lease_ms   9 11 characters from the kernel
--       10 name in cb:queues to go on behind   11 reply token: woken there when there may be more ('' = not)
--       12 task.deny_ms
-- Returns {state, tasks assigned, name to go on behind, names looked at, names in all, what went wrong or ''}
-- State: ok | refused (this is not the leader of that epoch: nothing was changed).
-- A name is a queue, or a queue and a role. Each gets its turn, with at most 25 tasks. Mode pull only ends what the others
-- have left, and looks at none of 0 names.
-- Caller: supervisor (assign.c), while it leads.
local P = ARGV[1]
-- @include base.lua
local EVENTS, EVENTS_POLICY = KEYS[2], ARGV[5]
-- @include emit.lua
local before_finish = {} -- as in include/envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include held.lua
-- @include instance.lua
-- @include assign.lua
local DENY_MS = tonumber(ARGV[12])
-- @include denied.lua
-- @include paused.lua
local LIMIT, TURN = 100, 25
local NAMES = 20 -- names that one call looks at
local LOOKS = 16 -- tasks that cannot be pushed, and instances that cannot take one, that are looked past
local mode = ARGV[6]

local problem = ''
local function guarded(part, ...)
    local ok, result = pcall(part, ...)
    if not ok then
        problem = type(result) == 'table' and tostring(result.err) or tostring(result)
        return nil
    end
    return result
end

local function leads()
    local l = call('HMGET', KEYS[1], 'id', 'inc', 'epoch', 'deadline')
    return l[1] == ARGV[2] and l[2] == ARGV[3] and l[3] == ARGV[4] and tonumber(l[4]) > EFF()
end

-- Scripts wake the leader only, not those who wait for tasks, while all tasks are pushed. When that ends, the tick looks for
-- tasks that nobody was woken for.
local function declare_mode()
    want('hash', META)
    local known = call('HGET', META, 'assignment')
    if known == 'push' and mode ~= 'push' then
        call('HSET', META, 'push_ended', I(NOW))
    end
    if mode == 'pull' then
        if known then
            call('HDEL', META, 'assignment')
        end
        call('HDEL', P .. 'waiters', waiting().LEADER)
    elseif known ~= mode then
        call('HSET', META, 'assignment', mode)
    end
end

-- The next names behind the last one, and on from the first.
local function next_names()
    local names = call('ZRANGEBYLEX', P .. 'queues', ARGV[10] ~= '' and '(' .. ARGV[10] or '-', '+', 'LIMIT', 0, NAMES)
    if #names < NAMES and ARGV[10] ~= '' then
        local first = call('ZRANGEBYLEX', P .. 'queues', '-', '[' .. ARGV[10], 'LIMIT', 0, NAMES - #names)
        for i = 1, #first do
            names[#names + 1] = first[i]
        end
    end
    return names
end

-- The least-loaded instance of a set that can take the task, and its incarnation.
local function pick(set, t, since)
    local instances = call('ZRANGEBYSCORE', set, '-inf', '(' .. I(LOAD_FULL), 'LIMIT', 0, LOOKS)
    for i = 1, #instances do
        local incarnation = assign_check(instances[i])
        if incarnation and not (t.denied and is_denied(instances[i], t.denied, t.queue, t.roles, since)) then
            return instances[i], incarnation
        end
    end
end

local pushed = {} -- instance → ids

-- Returns 'pushed', 'passed' (not this task) or 'full' (nobody takes more of these).
local function push_one(id, queue, tasks, loads)
    local key = task_key(id)
    local t = lease_read(key)
    if not t or t.status ~= 'pending' then
        if call('ZREM', tasks, id) == 1 and not t then -- else it is counted where it is
            count_move(queue, 'pending', nil)
        end
        return 'passed'
    end
    local since = waits_since(id)
    if NOW - tonumber(since) < tonumber(ARGV[7]) then
        return 'passed'
    end
    local instance, incarnation = pick(loads, t, since)
    if not instance then
        return t.denied and 'passed' or 'full'
    end
    want_queue(t.queue, t.roles or '')
    local plan = assign_plan(t, t.lease_ms or ARGV[8], ARGV[9])
    queue_remove(id, t.queue, t.roles)
    queue_forget(t.queue, t.roles or '')
    assign_write(id, t, key, plan, instance, incarnation, t.attempts + 1)
    load_flush() -- the next one goes by the loads of now
    pushed[instance] = pushed[instance] or {}
    table.insert(pushed[instance], id)
    return 'pushed'
end

local function push_from(name, limit)
    local queue, role = string.match(name, '^(%S+) ?(%S*)$')
    if queue_is_paused(queue) then
        return 0
    end
    local tasks, loads = queue_key(queue), P .. 'instances:load:queue:' .. queue
    if role ~= '' then
        tasks, loads = role_key(queue, role), loads .. ':role:' .. role
    end
    local ids = call('ZRANGE', tasks, 0, limit + LOOKS - 1)
    local done = 0
    for i = 1, #ids do
        local verdict = guarded(push_one, ids[i], queue, tasks, loads)
        if verdict == 'pushed' then
            done = done + 1
        end
        if verdict == 'full' or done == limit then
            break
        end
    end
    return done
end

local function tell()
    for instance, ids in pairs(pushed) do
        guarded(event_add, 'task.assigned',
            event_entry('task.assigned', {'ids', table.concat(ids, ' '), 'to', instance, 'by', ARGV[2]}))
    end
end

if not leads() then
    return {'refused', 0, '', 0, 0, ''}
end
guarded(declare_mode)
local names = mode ~= 'pull' and guarded(next_names) or {}
local assigned, last = 0, ARGV[10]
for i = 1, #names do
    if assigned == LIMIT then
        break
    end
    local done = guarded(push_from, names[i], math.min(TURN, LIMIT - assigned)) or 0
    assigned = assigned + done
    if done > 0 or assigned == 0 then -- who comes after the last that had a turn is next
        last = names[i]
    end
end
if assigned == 0 and mode ~= 'pull' and ARGV[11] ~= '' then
    guarded(call, 'HSET', P .. 'waiters', waiting().LEADER, cjson.encode({ARGV[11], 'null', '', '', '', I(NOW)}))
end
tell()
for i = #before_finish, 1, -1 do
    guarded(before_finish[i])
end
guarded(events_publish)
meta_save()
return {'ok', assigned, last, #names, mode ~= 'pull' and call('ZCARD', P .. 'queues') or 0, problem}
