-- counts_json.lua: the counts of all states for system.get_state and system.metrics. Needs counts.lua.
local function counts_json()
    local out = {'{"pending":' .. (call('HGET', COUNTS, 'pending') or '0')}
    local function add(name, index)
        out[#out + 1] = '"' .. name .. '":' .. I(call('ZCARD', P .. index))
    end
    add('delayed', 'queue:delayed')
    add('blocked', 'queue:blocked')
    add('in_progress', 'leases')
    add('completed', 'tasks:completed')
    add('failed', 'tasks:failed')
    add('dead', 'queue:dead')
    add('cancelled', 'tasks:cancelled')
    return table.concat(out, ',') .. '}'
end
