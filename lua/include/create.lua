-- create.lua: puts new tasks on their queues. Needs task.lua.
--
-- A task's ten arguments: text (JSON), priority, queue, payload (JSON or ''), metadata (JSON or ''),
-- max_attempts, max_crashes, backoff_ms ('' = the option's), lease_ms ('' = the option's), roles (joined
-- by spaces).
local CREATE_ARGS = 10

-- Length of each queue, read once per group and kept up to date here.
local queue_length = {}
local function queue_room(key, max_pending)
    if not queue_length[key] then
        queue_length[key] = call('ZCARD', key)
    end
    return max_pending - queue_length[key]
end

-- The first set that a task goes to: what max_pending is measured on.
local function create_first_key(a)
    local role = string.match(ARGV[a + 10], '%S+')
    return role and role_key(ARGV[a + 3], role) or queue_key(ARGV[a + 3])
end

-- Writes one task whose arguments begin behind `a`; returns its id.
local function create_task(a)
    local id = string.format('t-%016.0f', next_number())
    local queue, roles, now = ARGV[a + 3], ARGV[a + 10], I(NOW)
    local h = {'HSET', task_key(id), 'st', 'pending', 'text', ARGV[a + 1], 'pr', ARGV[a + 2], 'q', queue,
        'cr', now, 'up', now, 'v', '1', 'at', '0', 'ma', ARGV[a + 6], 'mc', ARGV[a + 7]}
    local function add(name, value)
        if value ~= '' then
            h[#h + 1] = name
            h[#h + 1] = value
        end
    end
    add('payload', ARGV[a + 4])
    add('meta', ARGV[a + 5])
    add('bo', ARGV[a + 8])
    add('lm', ARGV[a + 9])
    add('ro', roles)
    call(unpack(h))
    local key = create_first_key(a)
    if queue_length[key] == 0 or string.find(roles, ' ', 1, true) then
        queue_add(id, queue, tonumber(ARGV[a + 2]), roles)
    else
        call('ZADD', key, I(-tonumber(ARGV[a + 2])), id)
    end
    queue_length[key] = queue_length[key] + 1
    return id
end

local function create_full(queue)
    return nil, -32007, 'the queue is full', '{"retry_after_ms":1000,"queue":"' .. queue .. '"}'
end
