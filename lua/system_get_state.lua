#!lua flags=allow-oom
-- system_get_state: counts of tasks, the instances, the shared state, and what happened last. Looks at no more than 100 queue sets, 100
-- instances, 10 events and 30 finished tasks.
-- KEYS  the envelope's
-- ARGV  request: the software's version (JSON)
-- Returns as the envelope. Caller: worker, system.get_state.
-- @include envelope.lua
-- @include task.lua
-- @include held.lua
-- @include instance.lua
-- @include counts_json.lua
-- @include shared_state.lua
-- @include instances_json.lua
local RECENT = 10
local EVENT_BYTES = 200000 -- what is told of them, at most
local VALUE_BYTES, VALUES = 3200, 40 -- of an event: the ids of a group fit, 64 requests with 99 tasks beyond one each (worker/commit.h)

-- ---- texts that others may have written ----

local UTF8 = {'^[\194-\223][\128-\191]', '^\224[\160-\191][\128-\191]', '^[\225-\236\238\239][\128-\191][\128-\191]',
    '^\237[\128-\159][\128-\191]', '^\240[\144-\191][\128-\191][\128-\191]',
    '^[\241-\243][\128-\191][\128-\191][\128-\191]', '^\244[\128-\143][\128-\191][\128-\191]'}
local function is_utf8(s)
    local at = string.find(s, '[\128-\255]')
    while at do
        local last
        for i = 1, #UTF8 do
            last = last or select(2, string.find(s, UTF8[i], at))
        end
        if not last then
            return false
        end
        at = string.find(s, '[\128-\255]', last + 1)
    end
    return true
end

-- A JSON string of at most `bytes` bytes; of what is no UTF-8, only the ASCII.
local function text_json(s, bytes)
    if #s > bytes then
        s = string.gsub(string.sub(s, 1, bytes), '[\192-\255]?[\128-\191]*$', '')
    end
    if not is_utf8(s) then
        s = string.gsub(s, '[\128-\255]', '?')
    end
    return S(s)
end

-- ---- events and tasks ----

local function event_json(id, entry)
    local kind, at, out, seen = nil, nil, {}, {}
    for i = 1, math.min(#entry, VALUES), 2 do
        local name, value = entry[i], entry[i + 1]
        if name == 'type' then
            kind = value
        elseif name == 'at' then
            at = string.match(value, '^%d+$')
        else
            local key = text_json(name, 64)
            if not seen[key] then
                seen[key] = true
                out[#out + 1] = key .. ':' .. text_json(value, VALUE_BYTES)
            end
        end
    end
    if not kind or kind == '' then
        return nil
    end
    if not at or #at > 15 then
        at = string.match(id, '^%d+')
    end
    return '{"id":"' .. id .. '","type":' .. text_json(kind, 64) .. ',"at":' .. ISO(at) .. ',"fields":{'
        .. table.concat(out, ',') .. '}}'
end

local function events_json()
    local entries = call('XREVRANGE', EVENTS, '+', '-', 'COUNT', RECENT)
    local out, bytes = {}, 0
    for i = 1, #entries do
        local json = event_json(entries[i][1], entries[i][2])
        if json and bytes + #json < EVENT_BYTES then
            out[#out + 1] = json
            bytes = bytes + #json
        end
    end
    return table.concat(out, ',')
end

-- The tasks that ended last.
local function tasks_json()
    local ended, out = {}, {}
    for _, index in ipairs({'tasks:completed', 'tasks:failed', 'tasks:cancelled'}) do
        local page = call('ZRANGE', P .. index, 0, RECENT - 1, 'REV', 'WITHSCORES')
        for i = 1, #page, 2 do
            ended[#ended + 1] = {page[i], tonumber(page[i + 1])}
        end
    end
    table.sort(ended, function(x, y)
        return x[2] > y[2]
    end)
    for i = 1, math.min(RECENT, #ended) do
        local t = task_read(task_key(ended[i][1]), {'s', 'c', 'text'})
        local s, c = task_state(t[1]), task_constants(t[2])
        if c and s and s[4] and t[3] then
            out[#out + 1] = '{"id":"' .. ended[i][1] .. '","text":' .. t[3] .. ',"status":"' .. s.status .. '","priority":'
                .. c[1] .. ',"queue":"' .. c[6] .. '","endedAt":' .. ISO(s[4]) .. '}'
        end
    end
    return table.concat(out, ',')
end

function op(r)
    return '{"tasks":' .. counts_json() .. ',"instances":[' .. instances_json() .. '],"instanceCount":' .. I(instances_count()) .. ',"recentEvents":[' .. events_json()
        .. '],"recentTasks":[' .. tasks_json() .. '],"leader":' .. leader_json() .. ',"state":' .. shared_state_json() .. ',"version":' .. ARGV[r.a + 1] .. '}'
end
-- @include commit.lua
