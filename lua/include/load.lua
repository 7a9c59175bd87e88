-- load.lua: how much of its capacity each instance uses, for those that push tasks to the least-loaded
-- (assign_pending.lua). Needs wake.lua; task.lua includes it.
--   cb:instances:load                        every live agent with capacity
--   cb:instances:load:queue:<q>[:role:<r>]   those of them that serve the queue, and have the role
-- The score is the permille of the capacity in use × 10^12 + the ms of the last change (without its leading digit), so that
-- of two that are equally loaded the one is first that has had nothing new for longer.
local LOAD_FULL = 1000 * 1e12

-- The sets of an instance that serves these queues and has these roles, both joined by spaces.
local function load_sets(queues, roles)
    local sets = {P .. 'instances:load'}
    for queue in string.gmatch(queues, '%S+') do
        local set = P .. 'instances:load:queue:' .. queue
        sets[#sets + 1] = set
        for role in string.gmatch(roles, '%S+') do
            sets[#sets + 1] = set .. ':role:' .. role
        end
    end
    return sets
end

-- What has changed: instance → by how many tasks, or true when more than that may have changed.
local load_changes = {}
local function load_change(instance, by)
    local before = load_changes[instance] or 0
    load_changes[instance] = before == true or before + by
end
local function load_renew(instance)
    load_changes[instance] = true
end

local function load_write(instance, change)
    local k = call('HMGET', instance_key(instance), 'capacity', 'kind', 'st', 'qs', 'rs', 'mu')
    local capacity = tonumber(k[1] or '0')
    if capacity == 0 or k[2] ~= 'agent' then
        return
    end
    local sets = load_sets(k[4] or 'default', k[5] or '')
    local held = k[3] == 'ACTIVE' and call('SCARD', held_key(instance))
    local used = held and math.min(1000, math.floor(held * 1000 / capacity))
    local score = used and I((k[6] and 1000 or used) * 1e12 + NOW % 1e12)
    for i = 1, #sets do
        if held then
            call('ZADD', sets[i], score, instance)
        else
            call('ZREM', sets[i], instance)
        end
    end
    if held and held < capacity and (change == true or change < 0) then
        wake_for_room(instance)
    end
end

local function load_flush()
    local changes = load_changes
    load_changes = {}
    for instance, change in pairs(changes) do
        if change ~= 0 then
            load_write(instance, change)
        end
    end
end
before_finish[#before_finish + 1] = load_flush
