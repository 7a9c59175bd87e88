-- leave.lua: takes a task out of its state, whatever that is, for operations that may come in any of several. Needs task.lua,
-- lease.lua, dependents.lua. `t` as lease_read() gives it.

-- The sets that list a task in this state, apart from a pending one's and a held one's.
local LEAVE_INDEXES = {delayed = {'queue:delayed'}, blocked = {'queue:blocked'}, completed = {'tasks:completed'},
    failed = {'tasks:failed', 'queue:dead'}, cancelled = {'tasks:cancelled'}}

-- Said before the first write.
local function leave_want(id, t)
    want_moves()
    if not t.queue then
        error({err = 'DAMAGED ' .. t.key}) -- it could be counted nowhere
    end
    for _, index in ipairs(LEAVE_INDEXES[t.status] or {}) do
        want('zset', P .. index)
    end
    if t.status == 'pending' then
        want_queue(t.queue, t.roles)
    elseif t.status == 'in_progress' then
        lease_want(t)
    elseif ENDED[t.status] then
        want('hash', P .. 'tasks:large')
    end
end

-- Indexes, and the fields that belong to the state; the caller sets the new state, and counts.
local function leave(id, t)
    if t.status == 'pending' then
        queue_remove(id, t.queue, t.roles)
        queue_forget(t.queue, t.roles)
    elseif t.status == 'in_progress' then
        unlease(id, t.holder, t.assigned)
    elseif t.status == 'blocked' then
        dependents().unblock_index(id, call('HGET', task_key(id), 'af') or '')
    end
    for _, index in ipairs(LEAVE_INDEXES[t.status] or {}) do
        call('ZREM', P .. index, id)
    end
    if ENDED[t.status] then
        local bytes = call('HGET', P .. 'tasks:large', id)
        if bytes then
            call('HDEL', P .. 'tasks:large', id)
            count_large(t.status, -tonumber(bytes))
        end
    end
    call('HDEL', task_key(id), 'du', 'de', 'dr')
end
