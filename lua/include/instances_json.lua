-- instances_json.lua: the instances as JSON, for system.get_state and the daemon's figures. At most 100, and 400 kB. Needs instance.lua.
local INSTANCES, INSTANCE_BYTES = 100, 400000
local INCARNATION_SHOWN = 8 -- enough to see that it is another one, too little to speak for it

-- Whom it saw at its last beat: an agent says so itself; a daemon's ticks find it out (include/gossip.lua).
local function seen_json(id, kind, told)
    local report = kind == 'daemon' and redis.pcall('HGET', P .. 'gossip:health', id)
    local seen = told or type(report) == 'string' and string.match(report, '"ages":({.*})}$')
    return seen and ',"seen":' .. seen or ''
end

local function instance_json(id)
    local t = redis.pcall('HMGET', instance_key(id), 'kind', 'st', 'roles', 'capacity', 'load', 'beat', 'seen', 'health', 'inc')
    if not (t[1] and t[2] and t[3] and t[4] and t[6] and tonumber(t[6])) then
        return nil
    end
    local is_active = t[2] == 'ACTIVE'
    local held = redis.pcall('SCARD', held_key(id))
    return '{"id":' .. S(id) .. ',"kind":"' .. t[1] .. '","status":"' .. t[2] .. '","roles":' .. t[3] .. ',"capacity":'
        .. t[4] .. (t[5] and is_active and ',"load":' .. t[5] or '') .. ',"lastBeat":' .. ISO(t[6])
        .. ',"beat_age_ms":' .. I(math.max(0, NOW - tonumber(t[6]))) .. ',"held":' .. (type(held) == 'number' and I(held) or '0')
        .. (t[8] and t[8] ~= '' and is_active and ',"health":' .. S(t[8]) or '')
        .. (t[9] and ',"incarnation":' .. S(string.sub(t[9], 1, INCARNATION_SHOWN)) or '')
        .. (is_active and seen_json(id, t[1], t[7]) or '') .. '}'
end

-- Those that will live longest first, then those that ended, the latest first.
local function instances_json()
    local out, bytes = {}, 0
    for _, index in ipairs({'instances:active', 'instances:offline'}) do
        local ids = call('ZRANGE', P .. index, 0, INSTANCES - 1, 'REV')
        for i = 1, #ids do
            local json = #out < INSTANCES and bytes < INSTANCE_BYTES and instance_json(ids[i])
            if json then
                out[#out + 1] = json
                bytes = bytes + #json
            end
        end
    end
    return table.concat(out, ',')
end

local function instances_count()
    return call('ZCARD', P .. 'instances:active') + call('ZCARD', P .. 'instances:offline')
end
