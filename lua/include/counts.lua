-- counts.lua: how many tasks there are in each state, by the lengths of the indexes. Needs task.lua.
local COUNT_SETS = 100 -- sets of pending tasks that are looked at

-- A pending task that asks for several roles lies in several sets, and is counted in each.
local function counts_json()
    local names, pending = call('ZRANGE', P .. 'queues', 0, COUNT_SETS), 0
    for i = 1, math.min(COUNT_SETS, #names) do
        local queue, role = string.match(names[i], '^(%S+) ?(%S*)$')
        if queue then
            local n = redis.pcall('ZCARD', role ~= '' and role_key(queue, role) or queue_key(queue))
            pending = pending + (type(n) == 'number' and n or 0) -- a damaged set must not hide the others
        end
    end
    local out = {'{"pending":', I(pending), ',"pendingIsPartial":', #names > COUNT_SETS and 'true' or 'false'}
    local function add(name, index)
        out[#out + 1] = ',"' .. name .. '":' .. I(call('ZCARD', P .. index))
    end
    add('delayed', 'queue:delayed')
    add('in_progress', 'leases')
    add('completed', 'tasks:completed')
    add('failed', 'tasks:failed')
    add('dead', 'queue:dead')
    add('cancelled', 'tasks:cancelled')
    return table.concat(out) .. '}'
end
