-- base.lua: what every script uses: calls, time, numbers that never repeat, JSON and key spelling.
-- A script that includes this sets P (the prefix with its colon) first.
local call = redis.call
local NOW_US, NOW
do
    local t = call('TIME')
    NOW_US = t[1] * 1000000 + t[2]
    NOW = math.floor(NOW_US / 1000)
end

-- Lua prints numbers with 14 digits; ids and times have 16. For whole numbers only. (%d takes a sixth of the time of %.0f;
-- a number that is left to redis.call is printed with %.17g, which is slower still.)
-- Small ones come again and again.
local format = string.format
local small_texts = {}
local function I(n)
    local text = small_texts[n]
    if not text then
        text = format('%d', n)
        if n < 1000 then
            small_texts[n] = text
        end
    end
    return text
end
local NOW_TEXT = I(NOW)

-- A JSON string literal for bytes that are not yet JSON. (cjson writes "\/", which is JSON, but no name that one could look for.)
-- Kept for the call: names of workers and queues come again and again.
local literals = {}
local function S(s)
    local literal = literals[s]
    if not literal then
        literal = cjson.encode(s)
        if string.find(literal, '/', 1, true) then
            literal = string.gsub(literal, '\\/', '/')
        end
        literals[s] = literal
    end
    return literal
end

-- RFC 3339 UTC of wall ms (days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date
-- Algorithms"). The texts and the date part are kept: most times of one call are the same.
local iso_day, iso_date
local iso_texts = {} -- by what was asked for, a number or its text
local function ISO(asked)
    if iso_texts[asked] then
        return iso_texts[asked]
    end
    local ms = tonumber(asked)
    local s = math.floor(ms / 1000)
    local day = math.floor(s / 86400)
    if day ~= iso_day then
        local z = day + 719468
        local era = math.floor(z / 146097)
        local doe = z - era * 146097
        local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
            - math.floor(doe / 146096)) / 365)
        local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
        local mp = math.floor((5 * doy + 2) / 153)
        local month = mp < 10 and mp + 3 or mp - 9
        iso_date = string.format('%04d-%02d-%02dT', yoe + era * 400 + (month <= 2 and 1 or 0),
            month, doy - math.floor((153 * mp + 2) / 5) + 1)
        iso_day = day
    end
    local rest = s - day * 86400
    local text = format('"%s%02d:%02d:%02d.%03dZ"', iso_date, math.floor(rest / 3600),
        math.floor(rest / 60) % 60, rest % 60, ms - s * 1000)
    iso_texts[asked] = text
    return text
end

-- Keys that a script learns inside (common/keys.def has them all).
local function task_key(id)
    return P .. 'task:' .. id
end
local DEFAULT_QUEUE_KEY = P .. 'queue:tasks:pending'
local function queue_key(queue)
    if queue == 'default' then
        return DEFAULT_QUEUE_KEY
    end
    return P .. 'queue:' .. queue .. ':pending'
end
local function role_key(queue, role)
    return P .. 'queue:' .. queue .. ':role:' .. role
end
local held_keys = {}
local function held_key(instance)
    local key = held_keys[instance]
    if not key then
        key = P .. 'queue:instance:' .. instance
        held_keys[instance] = key
    end
    return key
end
local assigned_keys = {}
local function assigned_key(instance)
    local key = assigned_keys[instance]
    if not key then
        key = P .. 'assigned:' .. instance
        assigned_keys[instance] = key
    end
    return key
end
local function instance_key(instance)
    return P .. 'instance:' .. instance
end

-- An operation looks at the types of the keys that it will write before its first write, so that a wrong
-- one (someone else's, or a damaged one) does not leave half of it done. Once per key and call.
local typed = {}
local function has_type(kind, key)
    local found = typed[key] or call('TYPE', key).ok
    typed[key] = found
    return found == kind or found == 'none'
end
local function want(kind, key)
    if not has_type(kind, key) then
        error({err = 'WRONGTYPE ' .. key .. ' is a ' .. typed[key]})
    end
end

-- cb:meta as the group found it, read once: last_number, idem_gen, idem_at, idem_bytes, partitions, readers.
local META = P .. 'meta'
local meta
local function meta_read()
    meta = meta or call('HMGET', META, 'last_number', 'idem_gen', 'idem_at', 'idem_bytes', 'partitions', 'readers')
    return meta
end

-- Task ids, fences and epochs: max(last + 1, TIME in µs), so that a Redis that lost data does not hand
-- one out again. Written back once, by meta_save().
local numbers_last
local function next_number()
    numbers_last = numbers_last or tonumber(meta_read()[1] or '0')
    numbers_last = numbers_last < NOW_US and NOW_US or numbers_last + 1
    return numbers_last
end

-- Writes back what changed, in one call; `fields` is a flat list of other fields of cb:meta, or nil.
local function meta_save(fields)
    fields = fields or {}
    if numbers_last then
        fields[#fields + 1] = 'last_number'
        fields[#fields + 1] = I(numbers_last)
    end
    if #fields > 0 then
        call('HSET', META, unpack(fields))
    end
end

-- Effective time, ms: what leases and beats are measured in. Only ticks advance it; between two of them it is
-- what a tick would make it now, so that a lease is not shorter by the age of the last tick.
local effective
local has_paused -- the clock says, too, that there are paused queues (include/paused.lua)
local function effective_at(c)
    return tonumber(c[1]) + math.max(0, math.min(NOW - tonumber(c[2]), 2 * tonumber(c[3] or '500')))
end
local function EFF()
    if not effective then
        local c = call('HMGET', P .. 'clock', 'eff', 'at', 'tick', 'paused')
        if not c[1] then
            c = {I(NOW), I(NOW)}
            call('HSET', P .. 'clock', 'eff', c[1], 'at', c[2])
        end
        effective, has_paused = effective_at(c), c[4]
    end
    return effective
end
