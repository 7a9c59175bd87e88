-- limiter.lua: the rate limit of a method, for include/gate.lua: the body of a function.
--
-- The log of an actor is a list of its admissions: "effective ms, how many in all so far, how many of them then". What is in
-- the window is the last one's sum without those before the first one in it, so that a group of requests, however many of them
-- pass, reads an end or two and writes one entry. Entries leave when they are out of the window: there are never more than the
-- limit and a few. It is kept for longer than its window: whatever Redis' own clock does, by which keys expire, up to an hour of a jump
-- forgets nobody's requests.
local LOG_SPARE_MS = 3600000
local LOOK = 16 -- entries that are looked at before they are searched
local SPARE = 8 -- old ones that are left, so that not every call has to trim
local HORIZON = EFF() - WINDOW -- what is not younger is out of the window
local logs = {} -- by actor

local function parse(entry)
    local at, sum, n = string.match(entry, '^(%d+) (%d+) (%d+)$')
    return tonumber(at or '0'), tonumber(sum or '0'), tonumber(n or '0')
end

-- The first entry in the window, when the last one is in it and the first LOOK are not.
local function search(key)
    local low, high = LOOK, call('LLEN', key) - 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        if parse(call('LINDEX', key, middle)) > HORIZON then
            high = middle
        else
            low = middle + 1
        end
    end
    return low, call('LINDEX', key, low)
end

-- Whatever an actor is called: a name of the same length, which nobody can make up for somebody else's.
local function log_read(who)
    local key = P .. 'ratelimit:' .. METHOD .. ':' .. redis.sha1hex(who)
    local log = {key = key, sum = 0, count = 0, old = -1, taken = 0, refused = 0, first = {}}
    local first = redis.pcall('LRANGE', key, 0, LOOK - 1)
    local last = first[#first]
    if #first == LOOK then
        last = call('LINDEX', key, -1)
    end
    if not last then -- nothing, or damage
        log.old = first.err and -1 or 0
        return log
    end
    local at, sum = parse(last)
    log.sum = sum
    if at <= HORIZON then
        log.old = #first < LOOK and #first or -1
        return log
    end
    local place, entry = 0, first[1]
    while entry and parse(entry) <= HORIZON do
        place = place + 1
        entry = first[place + 1]
    end
    if not entry then
        place, entry = search(key)
    end
    local _, with, n = parse(entry)
    log.count, log.old, log.first = sum - with + n, place, {unpack(first, place + 1)}
    return log
end

-- When there is room for one more than was refused before: as far as can be seen.
local function room_at(log)
    local needed = log.sum + log.taken - LIMIT + 1 + log.refused
    local at
    for i = 1, #log.first do
        local stamp, sum = parse(log.first[i])
        at = stamp
        if sum >= needed then
            break
        end
    end
    return (at or EFF()) + WINDOW
end

local limiter = {}

-- Nothing when one more request of this actor may pass, else code, message, data. Those that are refused together are told
-- different times.
function limiter.take(who)
    local log = logs[who] or log_read(who)
    logs[who] = log
    if log.count + log.taken < LIMIT then
        log.taken = log.taken + 1
        return
    end
    local wait = math.max(1, math.min(room_at(log) - EFF(), WINDOW))
    log.refused = log.refused + 1
    return -32000, 'rate limited', '{"retry_after_ms":' .. I(wait) .. ',"limit":' .. I(LIMIT) .. ',"window_ms":' .. I(WINDOW)
        .. '}'
end

function limiter.save()
    for _, log in pairs(logs) do
        if log.taken > 0 then
            if log.old < 0 then
                call('UNLINK', log.key)
            elseif log.old >= SPARE then
                call('LTRIM', log.key, log.old, -1)
            end
            call('RPUSH', log.key, I(EFF()) .. ' ' .. I(log.sum + log.taken) .. ' ' .. I(log.taken))
            call('PEXPIRE', log.key, WINDOW + LOG_SPARE_MS)
        end
    end
end

return limiter
