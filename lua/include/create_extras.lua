-- create_extras.lua: tasks that have more than the usual: a time before which they do not begin, others that they wait for, a unique key,
-- a partition, a backoff or a lease of their own. Needs task.lua.
-- @include create.lua

-- Members of the extras, all optional: backoff_ms (or "backoff_ms backoff_max_ms") and lease_ms (absent = the option's);
-- run_at (wall ms) or delay_ms; after (ids), after_index (numbers of earlier tasks of the batch, from 0) and on_failure
-- (ignore or block; absent = fail); unique_key; partition. nil = there are none, which costs nothing.
local function create_extras(list, a)
    local text = list[a + 9]
    return text ~= '' and cjson.decode(text) or nil
end

-- Made when there is one that has some.
local create_made
function create_special()
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
            local state = task_status(id)
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
            task_mark(task_key(dependency), 'd')
        end
        call('ZADD', P .. 'queue:blocked', NOW, id)
    end

    create_made = {check = check, plan = plan_of, add_fields = add_fields, wait = wait}
    return create_made
end
