-- create.lua: puts new tasks on their queues. Needs task.lua.
-- @include dependents.lua
--
-- A task's nine arguments, behind position `a` of `list` (ARGV, or a template's): text (JSON), priority, queue,
-- payload (JSON or ''), metadata (JSON or ''), max_attempts, max_crashes, roles (joined by spaces), and its extras:
-- '' or a JSON object of ours with what few tasks have (create_extras()). Order of calls: create_extras() and
-- create_check() for each task of the request, then create_task() for each, the event, and create_told().
local CREATE_ARGS = 9

-- Members of the extras, all optional: backoff_ms (or "backoff_ms backoff_max_ms") and lease_ms (absent = the option's);
-- run_at (wall ms) or delay_ms; after (ids), after_index (numbers of earlier tasks of the batch, from 0) and on_failure
-- (ignore or block; absent = fail); unique_key; partition. nil = there are none, which costs nothing.
local function create_extras(list, a)
    local text = list[a + 9]
    return text ~= '' and cjson.decode(text) or nil
end

-- Tasks of the queue that wait (pending, delayed, blocked), with what this call has changed so far.
local count_waited = {}
local function count_waiting(queue)
    local n = count_waited[queue]
    if not n then
        local prefix = 'q:' .. queue .. ':'
        local c = call('HMGET', COUNTS, prefix .. 'pending', prefix .. 'delayed', prefix .. 'blocked')
        typed[COUNTS] = 'hash' -- or there is none
        n = tonumber(c[1] or '0') + tonumber(c[2] or '0') + tonumber(c[3] or '0')
        count_waited[queue] = n
    end
    local changes = count_deltas[queue]
    if changes then
        n = n + (changes.pending or 0) + (changes.delayed or 0) + (changes.blocked or 0)
    end
    return n
end

-- When to try again: ten times what the queue needed for one task so far, which is the age of its first one by the
-- number of those that wait (Little's law); later and later while nobody takes any.
local function create_full(queue, waiting)
    local first = string.match(call('ZRANGE', queue_key(queue), 0, 0)[1] or '', '^t%-(%d+)$')
    local age_ms = first and NOW - tonumber(first) / 1000 or 1000 * waiting / 10
    local retry_ms = math.max(100, math.min(60000, math.floor(10 * age_ms / waiting)))
    return nil, -32007, 'the queue is full', '{"retry_after_ms":' .. retry_ms .. ',"queue":"' .. queue .. '"}'
end

-- How a new task comes to its queue: at once, or, behind create_together(), at the end of the call, all of a queue by one command.
-- That is for scripts of which no operation looks at a queue, or changes a task that was there.
local create_put = queue_add
local function create_together()
    local queued = {} -- queue → scores and ids
    before_finish[#before_finish + 1] = function() -- before those of task.lua, which answer claims that wait
        for queue, members in pairs(queued) do
            call('ZADD', queue_key(queue), unpack(members))
        end
    end
    function create_put(id, queue, priority, roles)
        if roles ~= '' then
            return queue_add(id, queue, priority, roles)
        end
        wake_for_task(id, queue, roles)
        local members = queued[queue]
        if not members then
            members = {}
            queued[queue] = members
        end
        members[#members + 1], members[#members + 2] = priority == '0' and '0' or '-' .. priority, id
    end
end

-- What only tasks with extras need, made when there is one.
local create_made
local function create_special()
    if create_made then
        return create_made
    end
    local lib = dependents()

    local function unknown(path, id)
        return nil, -32602, 'invalid params: ' .. path .. ': expected the id of a task that exists, got ' .. id,
            '{"path":"' .. path .. '","expected":"the id of a task that exists","got":"' .. id .. '"}'
    end

    -- Checks the extras, and reads the states of the tasks that it is to wait for.
    local function check(queue, extras, path)
        for _, name in ipairs({'queue:delayed', 'queue:blocked', 'tasks:failed', 'queue:dead'}) do
            want('zset', P .. name)
        end
        if extras.unique_key then
            want('string', lib.unique_key(queue, extras.unique_key))
        end
        if extras.partition then
            want('stream', partitions().key(extras.partition))
            want('zset', partitions().index)
        end
        extras.states = {}
        for i, id in ipairs(extras.after or {}) do
            local state = call('HGET', task_key(id), 'st')
            if not state then
                return unknown(path .. 'after[' .. i - 1 .. ']', id)
            end
            want('set', lib.key(id))
            extras.states[i] = state
        end
        return true
    end

    -- One task that the new one is to wait for, and its state: into waiting, or it is met, or broken.
    local function depend(plan, id, state, on_failure)
        if state == 'completed' or on_failure == 'ignore' and (state == 'failed' or state == 'cancelled') then
            return
        end
        if on_failure ~= 'block' and (state == 'failed' or state == 'cancelled') then
            plan.broken = plan.broken or {id, state}
        else
            plan.waiting[#plan.waiting + 1] = id
        end
    end

    -- The state that a task with extras begins in. `made` = {id, state} of the earlier tasks of a batch, or nil.
    local function plan_of(queue, extras, made)
        local plan = {waiting = {}}
        if extras.unique_key then
            plan.unique = lib.unique_key(queue, extras.unique_key)
            local id, status = lib.unique_holder(plan.unique)
            if id then
                plan.existing = {id, status}
                return plan
            end
        end
        for i, id in ipairs(extras.after or {}) do
            depend(plan, id, extras.states[i], extras.on_failure)
        end
        for _, number in ipairs(extras.after_index or {}) do
            depend(plan, made[number + 1][1], made[number + 1][2], extras.on_failure)
        end
        local due = extras.run_at or extras.delay_ms and NOW + extras.delay_ms
        plan.due = due and due > NOW and I(due) or nil
        plan.status = plan.broken and 'failed' or #plan.waiting > 0 and 'blocked' or plan.due and 'delayed' or 'pending'
        return plan
    end

    -- The fields of the hash that only such a task has.
    local function add_fields(add, plan, extras)
        add('bo', extras.backoff_ms)
        add('lm', extras.lease_ms)
        add('pn', extras.partition)
        if plan.unique and plan.status ~= 'failed' then
            add('uk', extras.unique_key)
        end
        if plan.status == 'blocked' then
            add('af', table.concat(plan.waiting, ' '))
            add('of', extras.on_failure)
        elseif plan.status == 'failed' then
            add('de', '1')
            add('dr', 'dependency')
            add('en', I(NOW))
            add('err', S('the task ' .. plan.broken[1] .. ' that it was to wait for ' .. lib.GONE[plan.broken[2]]))
        end
        if plan.status == 'blocked' or plan.status == 'delayed' then
            add('du', plan.due)
        end
    end

    -- Each of the tasks that the new one waits for knows it, and is marked.
    local function wait(id, waiting)
        for _, dependency in ipairs(waiting) do
            call('SADD', lib.key(dependency), id)
            local extra = call('HGET', task_key(dependency), 'ex') or ''
            if not string.find(extra, 'd', 1, true) then
                call('HSET', task_key(dependency), 'ex', extra .. 'd')
            end
        end
        call('ZADD', P .. 'queue:blocked', NOW, id)
    end

    create_made = {check = check, plan = plan_of, add_fields = add_fields, wait = wait}
    return create_made
end

-- Everything that can keep a task from being created, before the first write. `wanted` counts what the request asks
-- of each queue: an empty table at its first task; `path` is put before a field's name in a problem. Returns true, or
-- nil and the error.
local function create_check(list, a, extras, max_pending, wanted, path)
    local queue = list[a + 3]
    local waiting = count_waiting(queue) + (wanted[queue] or 0)
    if waiting >= max_pending then
        return create_full(queue, waiting)
    end
    wanted[queue] = (wanted[queue] or 0) + 1
    want_moves()
    want_queue(queue, list[a + 8])
    if extras then
        return create_special().check(queue, extras, path or '')
    end
    return true
end

local PENDING = {status = 'pending'}

-- Writes one task. Returns its id and state, and true when it is an older one that has the unique key.
local function create_task(list, a, extras, made)
    local queue, roles, now = list[a + 3], list[a + 8], NOW_TEXT
    local plan = extras and create_special().plan(queue, extras, made) or PENDING
    if plan.existing then
        return plan.existing[1], plan.existing[2], true
    end
    local id, status = format('t-%016d', next_number()), plan.status
    -- A hash of so few fields is searched from end to end: those come first that are read and written most often.
    local h = {'HSET', task_key(id), 'st', status, 'v', '1', 'at', '0', 'up', now, 'q', queue, 'pr', list[a + 2],
        'cr', now, 'ma', list[a + 6], 'text', list[a + 1], 'mc', list[a + 7]}
    local payload, metadata, n = list[a + 4], list[a + 5], #h
    if payload ~= '' then
        h[n + 1], h[n + 2], n = 'payload', payload, n + 2
    end
    if metadata ~= '' then
        h[n + 1], h[n + 2], n = 'meta', metadata, n + 2
    end
    if roles ~= '' then
        h[n + 1], h[n + 2] = 'ro', roles
    end
    local bytes = #payload + #metadata
    if extras or bytes > SMALL_BYTES then
        local function add(name, value)
            if value and value ~= '' then
                h[#h + 1] = name
                h[#h + 1] = value
            end
        end
        local mark = bytes > SMALL_BYTES and I(bytes) or ''
        if extras then
            create_special().add_fields(add, plan, extras)
            mark = mark .. (plan.unique and status ~= 'failed' and 'u' or '')
        end
        add('ex', mark)
    end
    call(unpack(h))
    if status == 'pending' then
        create_put(id, queue, list[a + 2], roles)
    elseif status == 'delayed' then
        call('ZADD', P .. 'queue:delayed', plan.due, id)
    elseif status == 'blocked' then
        create_special().wait(id, plan.waiting)
    else
        call('ZADD', P .. 'tasks:failed', NOW, id)
        call('ZADD', P .. 'queue:dead', NOW, id)
    end
    if plan.unique and status ~= 'failed' then
        call('SET', plan.unique, id)
    end
    if extras and extras.partition then
        partitions().begin(id, extras.partition)
    end
    count_move(queue, nil, status)
    return id, status
end

-- The event of tasks that were to wait for others that had failed already.
local function create_told(failed)
    if #failed > 0 then
        emit('task.failed', {'ids', table.concat(failed, ' '), 'dead', '1', 'reason', 'dependency'})
    end
end
