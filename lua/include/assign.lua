-- assign.lua: leases a task to an instance that has not asked for it. Needs task.lua, lease.lua and instance.lua.
-- The task is in progress from then on, and listed in cb:assigned:<instance> until the instance's next claim hands it over
-- with its token (include/claim.lua).
local ASSIGNED_MAX = 100

-- Can the instance take one? (`is_listed`: it waits for this instance already.) A task's roles are not looked at: to assign is
-- to overrule them. Returns its incarnation, or nil and the error. It says what assign_write() writes, too:
-- called before the first write.
local function assign_check(instance, is_listed)
    local known = call('HMGET', instance_key(instance), 'st', 'kind', 'inc')
    if not known[1] or not known[3] then
        return nil, -32004, 'no such instance', '{"reason":"unknown"}'
    end
    if known[2] == 'daemon' then
        return conflict('state', known[1], 'a daemon takes no tasks')
    end
    if known[1] ~= 'ACTIVE' or not instance_is_live(instance) then
        return conflict('state', 'OFFLINE', 'the instance is not alive')
    end
    want_moves()
    want('zset', P .. 'leases')
    want('set', held_key(instance))
    want('zset', assigned_key(instance))
    if not is_listed and call('ZCARD', assigned_key(instance)) >= ASSIGNED_MAX then
        return nil, -32007, 'too many tasks wait for the instance to claim them', '{"retry_after_ms":1000}'
    end
    return known[3]
end

-- What is to be written, all of it reckoned before the first write: what fails, fails here.
local function assign_plan(t, lease_ms, secret)
    local number = next_number()
    return {token = I(number) .. '-' .. secret, number = I(number), ends = I(NOW + tonumber(lease_ms)),
        deadline = I(EFF() + tonumber(lease_ms)), version = t.version + 1}
end

local function assign_write(id, t, key, plan, instance, incarnation, attempts)
    call('HSET', key, 's', state_text('in_progress', plan.version, attempts, hold_text(plan.ends, '1', incarnation, instance)), 'tk',
        plan.token)
    call('ZADD', P .. 'leases', plan.deadline, id)
    count_move(t.queue, t.status, 'in_progress')
    call('SADD', held_key(instance), id)
    call('ZADD', assigned_key(instance), plan.number, id)
    load_change(instance, 1)
    wake_for_instance(instance)
end
