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

-- Length of each queue, read once per group and kept up to date here.
local queue_length = {}
local function queue_room(key, max_pending)
    if not queue_length[key] then
        queue_length[key] = call('ZCARD', key)
    end
    return max_pending - queue_length[key]
end

-- The first set that a task goes to: what max_pending is measured on.
local function create_first_key(list, a)
    local role = string.match(list[a + 8], '%S+')
    return role and role_key(list[a + 3], role) or queue_key(list[a + 3])
end

local function create_full(queue)
    return nil, -32007, 'the queue is full', '{"retry_after_ms":1000,"queue":"' .. queue .. '"}'
end

-- Everything that can keep a task from being created, before the first write. `wanted` counts what the request asks
-- of each queue: an empty table at its first task. Returns true, or nil and the error.
local function create_check(list, a, max_pending, wanted)
    local key = create_first_key(list, a)
    local count = (wanted[key] or 0) + 1
    wanted[key] = count
    if queue_room(key, max_pending) < count then
        return create_full(list[a + 3])
    end
    want('stream', EVENTS)
    want_queue(list[a + 3], list[a + 8])
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
    local key = create_first_key(list, a)
    if queue_length[key] == 0 or string.find(roles, ' ', 1, true) then
        queue_add(id, queue, tonumber(list[a + 2]), roles)
    else
        call('ZADD', key, I(-tonumber(list[a + 2])), id)
    end
    queue_length[key] = queue_length[key] + 1
    return id
end
