#!lua flags=allow-oom
-- task_update: changes what a task says, its priority, or its state by one of the moves below.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: keep_finished, keep_finished_ms, keep_finished_min_ms
--       request: task id, version that it must have ('' = any), and what it is to get ('' = as it is): text (JSON),
--       status, priority, metadata (JSON)
-- Returns as the envelope. Caller: worker, task.update.
-- @include envelope.lua
-- @include task.lua
-- @include retention.lua
local cancelled = 0

-- From a state, where an update may take a task. Completing and failing take a lease; a task in progress is not
-- cancelled by an update.
local MOVES = {pending = {cancelled = true}, delayed = {pending = true, cancelled = true}}
local IS_LIVE = {pending = true, delayed = true, in_progress = true}

-- Why not, or nil.
local function refusal(status, to, changes)
    if to ~= '' and not (MOVES[status] and MOVES[status][to]) then
        return 'a task that is ' .. status .. ' cannot be made ' .. to
    end
    if changes and not IS_LIVE[status] then
        return 'the task is ' .. status
    end
end

-- Takes it from where its state keeps it, and puts it where the new one does.
local function move(id, t, to, priority)
    if t.status == 'delayed' then
        call('ZREM', P .. 'queue:delayed', id)
        call('HDEL', task_key(id), 'du')
    else
        queue_remove(id, t.queue, t.roles)
        queue_forget(t.queue, t.roles)
    end
    if to == 'pending' then
        queue_add(id, t.queue, priority, t.roles)
        emit('task.due', {'ids', id})
        count_move(t.queue, t.status, 'pending')
    else
        call('ZADD', P .. 'tasks:cancelled', NOW, id)
        count_move(t.queue, t.status, 'cancelled')
        cancelled = cancelled + 1
        emit('task.cancelled', {'id', id, 'queue', t.queue})
    end
end

-- A repeat gets the first reply, unless that is large: then the task as it is by then.
local KEPT_BYTES = 16384
local function show(r, is_changed)
    local json = task_json(ARGV[r.a + 1], KEYS[r.k + 1])
    if not json then
        return not_found(ARGV[r.a + 1])
    end
    if not is_changed then
        return json, false
    end
    return json, #json > KEPT_BYTES and '' or nil
end

function op(r)
    local a, key = r.a, KEYS[r.k + 1]
    local id, expected, to = ARGV[a + 1], ARGV[a + 2], ARGV[a + 4]
    local fields = call('HMGET', key, 'st', 'v', 'q', 'ro', 'pr')
    local t = {status = fields[1], version = fields[2], queue = fields[3], roles = fields[4] or ''}
    if not t.status then
        return not_found(id)
    end
    if expected ~= '' and expected ~= t.version then
        return nil, -32005, 'the task has version ' .. t.version, '{"reason":"version","state":"' .. t.status
            .. '","version":' .. t.version .. '}'
    end
    local h = {'HSET', key, 'up', I(NOW), 'v', I(tonumber(t.version) + 1)}
    local changed = {}
    for i, name in ipairs({'text', '', 'priority', 'metadata'}) do
        local value = ARGV[a + 2 + i]
        if name ~= '' and value ~= '' then
            changed[#changed + 1] = name
            h[#h + 1] = name == 'priority' and 'pr' or name == 'metadata' and 'meta' or name
            h[#h + 1] = value
        end
    end
    if to == t.status and to ~= 'completed' and to ~= 'failed' then
        to = ''
    end
    local why = refusal(t.status, to, #changed > 0)
    if why then
        return conflict('state', t.status, why)
    end
    if to == '' and #changed == 0 then
        return show(r, false)
    end
    local priority = tonumber(ARGV[a + 5] ~= '' and ARGV[a + 5] or fields[5])
    want_moves()
    want('zset', P .. 'queue:delayed')
    want('zset', P .. 'tasks:cancelled')
    want_queue(t.queue, t.roles)
    if to ~= '' then
        h[#h + 1] = 'st'
        h[#h + 1] = to
        if to == 'cancelled' then
            h[#h + 1] = 'en'
            h[#h + 1] = I(NOW)
        end
    end
    call(unpack(h))
    if #changed > 0 then
        emit('task.updated', {'id', id, 'fields', table.concat(changed, ' '), 'version', I(tonumber(t.version) + 1)})
    end
    if to ~= '' then
        move(id, t, to, priority)
    elseif t.status == 'pending' and ARGV[a + 5] ~= '' then
        queue_add(id, t.queue, priority, t.roles)
    end
    return show(r, true)
end

function op_replay(r)
    return show(r, true)
end

function after_group()
    if cancelled > 0 then
        retention_trim('cancelled', math.min(100, 2 * cancelled), NOW - tonumber(op_arg(2)),
            tonumber(op_arg(1)), NOW - tonumber(op_arg(3)))
    end
end
-- @include commit.lua
