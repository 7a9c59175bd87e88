#!lua flags=allow-oom
-- task_complete_batch: accepts the results of up to 100 tasks, each by itself.
-- KEYS  the envelope's; request: the task of each item
-- ARGV  operation: task.lease_ms (not used), the four of include/retention.lua, two more that are not used
--       request: worker id ('' = none), number of items, then task id, lease token ('' = none) and result (JSON or '')
--       of each
-- Returns as the envelope. Caller: worker, task.complete_batch.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include dependents.lua
-- @include retention.lua
-- @include complete_group.lua

local function error_json(code, message, data)
    return '"error":{"code":' .. code .. ',"message":' .. S(message) .. ',"data":' .. (data or '{}') .. '}}'
end

-- Reads the tasks, each once. One that cannot be read or written is `false`: its item fails, not its neighbours.
local function read_tasks(r, count)
    local tasks = {}
    for i = 1, count do
        local key = KEYS[r.k + i]
        if tasks[key] == nil then
            local ok, t = pcall(lease_read_short, key)
            if ok and t and t.status == 'in_progress' and not (t.token and t.holder and t.queue
                and has_type('set', held_key(t.holder))
                and (not t.assigned or has_type('zset', assigned_key(t.holder)))
                and pcall(ended_want, ARGV[r.a + 3 * i], t, #ARGV[r.a + 3 * i + 2])) then
                ok = false
            end
            tasks[key] = ok and (t or 'none')
        end
    end
    return tasks
end

function op(r)
    local worker, count = ARGV[r.a + 1], tonumber(ARGV[r.a + 2])
    complete_want()
    want('zset', P .. 'leases')
    local tasks = read_tasks(r, count)
    local out, ids, workers, is_named = {}, {}, {}, {}
    for i = 1, count do
        local a, key = r.a + 3 * i, KEYS[r.k + i]
        local id, t = ARGV[a], tasks[key]
        local verdict, code, message, data
        if not t then
            code, message = -32603, 'internal error'
        elseif t == 'none' then
            verdict, code, message, data = not_found(id)
        else
            verdict, code, message, data = lease_check(t, 'complete', ARGV[a + 1], worker)
        end
        if verdict == 'go' then
            complete(id, key, t, ARGV[a + 2])
            t.status, t.done_op, t.done_token, t.done_by = 'completed', 'complete', t.token, t.holder
            ids[#ids + 1] = id
            if not is_named[t.holder] then
                workers[#workers + 1], is_named[t.holder] = t.holder, true
            end
        end
        out[i] = '{"id":"' .. id .. '",' .. (verdict and '"status":"completed"}' or error_json(code, message, data))
    end
    if #ids > 0 then
        table.sort(workers)
        emit('task.completed', {'ids', table.concat(ids, ' '), 'worker', table.concat(workers, ' ')})
    end
    return '{"items":[' .. table.concat(out, ',') .. ']}'
end
-- @include commit.lua
