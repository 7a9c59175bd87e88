-- denied.lua: may a worker claim a task on whose deny list (deny.lua) it is? Needs base.lua; DENY_MS = task.deny_ms. Made
-- when it is first needed.
local denied_made
local function is_denied(...)
    if denied_made then
        return denied_made(...)
    end
    local LOOKS = 100 -- live instances that are looked at, once per call
    local agents

    local function deny_has(list, instance)
        return string.find('\n' .. list .. '\n', '\n' .. instance .. '\n', 1, true) ~= nil
    end

    -- Live agents: {id, queues, roles}, these joined by spaces, with one at each end.
    local function live()
        if not agents then
            agents = {}
            local ids = call('ZRANGEBYSCORE', P .. 'instances:active', '(' .. I(EFF()), '+inf', 'LIMIT', 0, LOOKS)
            for i = 1, #ids do
                local known = redis.pcall('HMGET', instance_key(ids[i]), 'kind', 'st', 'qs', 'rs')
                if known[1] == 'agent' and known[2] == 'ACTIVE' then
                    agents[#agents + 1] = {ids[i], ' ' .. (known[3] or 'default') .. ' ', ' ' .. (known[4] or '') .. ' '}
                end
            end
        end
        return agents
    end

    local function role_fits(agent_roles, task_roles)
        if not task_roles or task_roles == '' then
            return true
        end
        for role in string.gmatch(task_roles, '%S+') do
            if string.find(agent_roles, ' ' .. role .. ' ', 1, true) then
                return true
            end
        end
        return false
    end

    -- Whether another live instance serves the queue and has the role. That one may be busy for long, so a task that has been
    -- pending (since `since`, wall ms) for DENY_MS without being taken is for everybody again.
    local function check(worker, list, queue, task_roles, since)
        if not deny_has(list, worker) or NOW - tonumber(since) >= DENY_MS then
            return false
        end
        for _, agent in ipairs(live()) do
            if agent[1] ~= worker and not deny_has(list, agent[1])
                and string.find(agent[2], ' ' .. queue .. ' ', 1, true) and role_fits(agent[3], task_roles) then
                return true
            end
        end
        return false
    end

    denied_made = check
    return check(...)
end
