-- metrics_json.lua: the figures of all daemons as they were summed up last (include/metrics.lua), as JSON. Needs base.lua.
local METRICS_GLOBAL = {'requests', 'errors', 'refused', 'commits', 'duplicates', 'reconnects', 'restarts', 'hosts', 'workers',
    'decisions', 'denied', 'fallbacks'}
local METRICS_SCALING = {'daemons', 'agents', 'capacity', 'held', 'load_min', 'load_max', 'load_spread', 'created_per_s',
    'completed_per_s'}

local function metrics_members(fields, values)
    local out = {}
    for i = 1, #fields do
        out[i] = '"' .. fields[i] .. '":' .. (tonumber(values[i]) and values[i] or '0')
    end
    return table.concat(out, ',')
end

local function metrics_ms(us)
    return string.format('%.3f', (tonumber(us) or 0) / 1000)
end

-- Two objects, or null and null before the first sum and when there has been none for an hour.
local function metrics_json()
    local sum, scaling = P .. 'metrics:global', P .. 'metrics:scaling'
    local t = call('HMGET', sum, 'since', 'at', 'rate', 'p50_us', 'p95_us', 'p99_us')
    if not (t[1] and t[2]) then
        return 'null', 'null'
    end
    local global = '{"since":' .. ISO(t[1]) .. ',"at":' .. ISO(t[2]) .. ','
        .. metrics_members(METRICS_GLOBAL, call('HMGET', sum, unpack(METRICS_GLOBAL))) .. ',"requests_per_s":'
        .. (t[3] or '0') .. ',"p50_ms":' .. metrics_ms(t[4]) .. ',"p95_ms":' .. metrics_ms(t[5]) .. ',"p99_ms":'
        .. metrics_ms(t[6]) .. '}'
    return global, '{' .. metrics_members(METRICS_SCALING, call('HMGET', scaling, unpack(METRICS_SCALING))) .. '}'
end
