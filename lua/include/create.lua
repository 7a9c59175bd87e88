-- create.lua: puts new tasks on their queues. Needs task.lua.
--
-- A task's nine arguments, behind position `a` of `list` (ARGV, or a template's): text (JSON), priority, queue,
-- payload (JSON or ''), metadata (JSON or ''), max_attempts, max_crashes, roles (joined by spaces), and its extras:
-- '' or a JSON object of ours with what few tasks have (create_extras()). Order of calls: create_extras() and
-- create_check() for each task of the request, then create_task() for each.
local CREATE_ARGS = 9

-- Members of the extras: backoff_ms and lease_ms (absent = the option's). nil = there are none, which costs nothing.
local function create_extras(list, a)
    local text = list[a + 9]
    return text ~= '' and cjson.decode(text) or nil
end

-- When to try again: ten times what the queue needed for one task so far, which is the age of its first one by the
-- number of those that wait (Little's law); later and later while nobody takes any.
local function create_full(queue, waiting)
    local first = string.match(call('ZRANGE', queue_key(queue), 0, 0)[1] or '', '^t%-(%d+)$')
    local age_ms = first and NOW - tonumber(first) / 1000 or 1000 * waiting / 10
    local retry_ms = math.max(100, math.min(60000, math.floor(10 * age_ms / waiting)))
    return nil, -32007, 'the queue is full', '{"retry_after_ms":' .. retry_ms .. ',"queue":"' .. queue .. '"}'
end

-- Everything that can keep a task from being created, before the first write. `wanted` counts what the request asks
-- of each queue: an empty table at its first task. Returns true, or nil and the error.
local function create_check(list, a, max_pending, wanted)
    local queue = list[a + 3]
    local waiting = count_waiting(queue) + (wanted[queue] or 0)
    if waiting >= max_pending then
        return create_full(queue, waiting)
    end
    wanted[queue] = (wanted[queue] or 0) + 1
    want_moves()
    want_queue(queue, list[a + 8])
    return true
end

-- Writes one task; returns its id.
local function create_task(list, a, extras)
    local id = string.format('t-%016.0f', next_number())
    local queue, roles, now = list[a + 3], list[a + 8], I(NOW)
    local h = {'HSET', task_key(id), 'st', 'pending', 'text', list[a + 1], 'pr', list[a + 2], 'q', queue,
        'cr', now, 'up', now, 'v', '1', 'at', '0', 'ma', list[a + 6], 'mc', list[a + 7]}
    local function add(name, value)
        if value and value ~= '' then
            h[#h + 1] = name
            h[#h + 1] = value
        end
    end
    add('payload', list[a + 4])
    add('meta', list[a + 5])
    add('ro', roles)
    if extras then
        add('bo', extras.backoff_ms)
        add('lm', extras.lease_ms)
    end
    call(unpack(h))
    queue_add(id, queue, tonumber(list[a + 2]), roles)
    count_move(queue, nil, 'pending')
    return id
end
