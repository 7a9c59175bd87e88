-- create.lua: puts new tasks on their queues. Needs task.lua. Where tasks may have extras, create_extras.lua is included instead.
-- @include dependents.lua
-- @include digits.lua
--
-- A task's nine arguments, behind position `a` of `list` (ARGV, or a template's): text (JSON), priority, queue,
-- payload (JSON or ''), metadata (JSON or ''), max_attempts, max_crashes, roles (joined by spaces), and its extras:
-- '' or a JSON object of ours with what few tasks have (create_extras.lua). Order of calls: create_extras() and
-- create_check() for each task of the request, then create_task() for each, the event, and create_told().
local CREATE_ARGS = 9

-- What only tasks with extras need: of include/create_extras.lua; others have none.
local create_special

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

-- Everything that can keep a task from being created, before the first write. `wanted` counts what the request asks
-- of each queue: an empty table at its first task, nil when it has only one; `path` is put before a field's name in a problem.
-- Returns true, or nil and the error.
local function create_check(list, a, extras, max_pending, wanted, path)
    local queue = list[a + 3]
    local waiting = count_waiting(queue) + (wanted and wanted[queue] or 0)
    if waiting >= max_pending then
        return create_full(queue, waiting)
    elseif wanted then
        wanted[queue] = (wanted[queue] or 0) + 1
    end
    want_moves()
    want_queue(queue, list[a + 8])
    if extras then
        return create_special().check(queue, extras, path or '')
    end
    return true
end

local PENDING, PLAIN = {status = 'pending'}, '0'
local NEW = state_text('pending', 1, 0, '')

-- The field c of a new task. The last one is kept: the tasks of a group are mostly alike.
local new_constants
do
local c_priority, c_attempts, c_crashes, c_marks, c_queue, c_text
function new_constants(priority, max_attempts, max_crashes, marks, queue)
    if priority ~= c_priority or max_attempts ~= c_attempts or max_crashes ~= c_crashes or marks ~= c_marks
        or queue ~= c_queue then
        c_text = constants_text(priority, max_attempts, max_crashes, NOW_TEXT, marks, queue)
        c_priority, c_attempts, c_crashes, c_marks, c_queue = priority, max_attempts, max_crashes, marks, queue -- behind what may raise
    end
    return c_text
end
end

-- Writes one task. Returns its id and state, and true when it is an older one that has the unique key.
local function create_task(list, a, extras, made)
    local queue, roles = list[a + 3], list[a + 8]
    local plan = extras and create_special().plan(queue, extras, made) or PENDING
    if plan.existing then
        return plan.existing[1], plan.existing[2], true
    end
    local head, d1, d2, d3 = next_digits()
    local id, status = 't-' .. head .. d1 .. d2 .. d3, plan.status
    local payload, metadata, marks = list[a + 4], list[a + 5], PLAIN
    local bytes = #payload + #metadata
    if bytes > SMALL_BYTES then
        marks = I(bytes)
    end
    if plan.unique and status ~= 'failed' then
        marks = marks .. 'u'
    end
    if extras or metadata ~= '' or roles ~= '' then
        marks = marks .. 'o'
    end
    -- A hash of so few fields is searched from end to end: those come first that are read and written most often.
    local key, text, constants = task_key(id), list[a + 1], new_constants(list[a + 2], list[a + 6], list[a + 7], marks, queue)
    if marks == PLAIN and payload ~= '' then -- no list to be made of it
        call('HSET', key, 's', NEW, 'c', constants, 'text', text, 'payload', payload)
    elseif marks == PLAIN then
        call('HSET', key, 's', NEW, 'c', constants, 'text', text)
    else
        local h = {'HSET', key, 's', status == 'pending' and NEW or state_text(status, 1, 0, ''), 'c', constants, 'text', text}
        local function add(name, value)
            if value and value ~= '' then
                h[#h + 1] = name
                h[#h + 1] = value
            end
        end
        add('payload', payload)
        add('meta', metadata)
        add('ro', roles)
        if extras then
            create_special().add_fields(add, plan, extras)
        end
        call(unpack(h))
    end
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
