-- queues_json.lua: a page of queues as JSON: what is counted of each, whether it is paused, and how old its oldest pending task is.
-- Looks at no more than 500 names and 1000 tasks. Needs counts.lua and paused.lua.
local EXAMINE, PRIORITIES, TASKS = 500, 20, 1000
local looked = 0

-- The microsecond in which the oldest task of a set was created, or nil: ids are in that order, within each priority.
local function oldest(key)
    local found, behind = nil, '-inf'
    for _ = 1, PRIORITIES do
        local first = call('ZRANGEBYSCORE', key, behind, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
        if not first[1] or looked >= TASKS then
            break
        end
        looked = looked + 1
        local at = tonumber(string.match(first[1], '^t%-(%d+)$'))
        found = at and math.min(found or at, at) or found
        behind = '(' .. first[2]
    end
    return found
end

local function queue_json(q)
    local counts = call('HMGET', COUNTS, unpack(count_fields(q.name)))
    local out = {'{"queue":"', q.name, '","paused":', tostring(queue_is_paused(q.name))}
    for i = 1, #QUEUE_STATES do
        out[#out + 1] = ',"' .. QUEUE_STATES[i] .. '":' .. (counts[i] or '0')
    end
    if q.oldest then
        out[#out + 1] = ',"oldest_ms":' .. I(math.max(0, math.floor((NOW_US - q.oldest) / 1000)))
    end
    return table.concat(out) .. '}'
end

-- Behind the queue `cursor` ('' = from the start). The page as JSON, and where the next one begins, nil when there is none.
local function queues_page(cursor, limit)
    local from = cursor == '' and '-' or '[' .. cursor .. '!' -- behind "queue role", before any longer name
    local names = call('ZRANGEBYLEX', P .. 'queues', from, '+', 'LIMIT', 0, EXAMINE)
    local queues, is_cut = {}, #names == EXAMINE
    for i = 1, #names do
        -- "queue role" comes right behind "queue"
        local name, role = string.match(names[i], '^(%S+) ?(%S*)$')
        local last = queues[#queues]
        if name and role == '' then
            if #queues == limit then
                is_cut = true
                break
            end
            queues[#queues + 1] = {name = name, oldest = oldest(queue_key(name))}
        elseif last and last.name == name then
            local at = oldest(role_key(name, role))
            last.oldest = at and math.min(last.oldest or at, at) or last.oldest
        end
    end
    local out = {}
    for i, q in ipairs(queues) do
        out[i] = queue_json(q)
    end
    return '[' .. table.concat(out, ',') .. ']',
        is_cut and (queues[#queues] and queues[#queues].name or string.match(names[#names], '^%S+')) or nil
end
