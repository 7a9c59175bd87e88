#!lua flags=allow-oom
-- task_update: changes what a task says, its priority, or its state by one of the moves below.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: the four of include/retention.lua
--       request: task id, version that it must have ('' = any), and what it is to get ('' = as it is): text (JSON),
--       status, priority, metadata (JSON)
-- Returns as the envelope. Caller: worker, task.update.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include history.lua
-- @include dependents.lua
-- @include leave.lua
-- @include retention.lua
-- @include cancel.lua
-- @include cancel_group.lua

-- From a state, where an update may take a task. Completing and failing take a lease; a task in progress is
-- cancelled by task.cancel. A blocked task that is made pending waits for nobody any more.
local MOVES = {pending = {cancelled = true}, delayed = {pending = true, cancelled = true},
    blocked = {pending = true, cancelled = true}}

-- Why not, or nil.
local function refusal(status, to, changes)
    if to ~= '' and not (MOVES[status] and MOVES[status][to]) then
        return 'a task that is ' .. status .. ' cannot be made ' .. to
    end
    if changes and ENDED[status] then
        return 'the task is ' .. status
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
    local id, to = ARGV[a + 1], ARGV[a + 4]
    local t, code, message, data = version_read(id, key, ARGV[a + 2])
    if not t then
        return nil, code, message, data
    end
    local h = {'HSET', key, 's', state_text(t.status, t.version + 1, t.attempts, t.state.held)}
    if t.status == 'pending' then
        h[#h + 1], h[#h + 2] = 'ws', I(t.version + 1) .. ' ' .. waits_since(id)
    end
    local changed, c = {}, t.constants
    for i, name in ipairs({'text', '', 'priority', 'metadata'}) do
        local value = ARGV[a + 2 + i]
        if name ~= '' and value ~= '' then
            changed[#changed + 1] = name
            h[#h + 1] = name == 'priority' and 'c' or name == 'metadata' and 'meta' or name
            h[#h + 1] = name == 'priority' and constants_text(value, c[2], c[3], c[4], c.marks, c[6]) or value
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
    t.priority = ARGV[a + 5] ~= '' and ARGV[a + 5] or t.priority
    want_whole(t)
    want_queue(t.queue, t.roles)
    cancel_want(id, t, '')
    if #changed > 0 then
        call(unpack(h))
        t.version = t.version + 1
        emit('task.updated', {'id', id, 'fields', table.concat(changed, ' '), 'version', I(t.version)})
    end
    if to == 'cancelled' then
        cancel(id, t, '')
    elseif to == 'pending' then
        leave(id, t)
        to_pending(id, t.queue, t.priority, t.roles, t.attempts, t.status)
        emit('task.due', {'ids', id})
    elseif t.status == 'pending' and ARGV[a + 5] ~= '' then
        queue_add(id, t.queue, tonumber(t.priority), t.roles)
    end
    return show(r, true)
end

function op_replay(r)
    return show(r, true)
end
-- @include commit.lua
