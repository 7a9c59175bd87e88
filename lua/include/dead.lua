-- dead.lua: dead letters, cb:stream:dead: copies for operators of the requests that were given up. About limits.dead_entries of
-- them are kept, in no more than limits.dead_bytes of memory: the oldest go, the newest stays. How many have gone is counted in
-- cb:counts (ever:dead_letters_dropped) and told to the caller, who logs it. Needs P, call and I.
--
-- With the bounds of a text and of a letter none takes 2 MiB, the least that limits.dead_bytes may be.
local DEAD_TEXT, DEAD_SHORT = 262144, 64 -- bytes: the longest name or value, those that are never cut
local DEAD_LETTER = 1048576 -- of all in one letter that are longer than the latter

-- All of it: what MEMORY USAGE says otherwise is reckoned from the oldest five pieces of the stream, and would not see large letters
-- behind small ones. 10 000 letters take 0.1 to 0.3 ms.
local function dead_usage(key)
    return call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0
end

-- How many of the oldest, of `length` letters that take `bytes`, have to go. A piece is freed only when all of its letters have
-- gone, and each call costs a look at all pieces: so a little more than must.
local function dead_surplus(key, length, bytes, max_bytes)
    if bytes > 2 * max_bytes then -- the option was lowered: to read all that go would take long
        return math.ceil(length * (1 - max_bytes / bytes))
    end
    local excess, n, from = bytes - max_bytes + max_bytes / 64, 0, '-'
    while excess > 0 and n < length do
        local letter = call('XRANGE', key, from, '+', 'COUNT', 1)[1]
        for i = 1, #letter[2] do
            excess = excess - #letter[2][i]
        end
        n, from = n + 1, '(' .. letter[1]
    end
    return n
end

-- Returns how many letters there are then, and their bytes.
local function dead_trim(key, max_bytes)
    local length, bytes = call('XLEN', key), dead_usage(key)
    while bytes > max_bytes and length > 1 do
        length = math.max(1, length - dead_surplus(key, length, bytes, max_bytes))
        call('XTRIM', key, 'MAXLEN', I(length))
        bytes = dead_usage(key)
    end
    return length, bytes
end

local function dead_count(dropped)
    if dropped > 0 then
        call('HINCRBY', P .. 'counts', 'ever:dead_letters_dropped', dropped)
    end
end

-- The letters of one call: add() each, then finish().
local function dead_letters(key, max_entries, max_bytes)
    local letters, before, added = {}, nil, 0

    -- Copies `count` names and values of `list`, behind the first `skip`; at most 4000 or so, as unpack() fails at 8000. Returns
    -- the error, nil when there is none.
    function letters.add(reason, stream, id, list, skip, count)
        local entry = {'XADD', key, 'MAXLEN', '~', max_entries, '*', 'reason', reason, 'stream', stream, 'entry', id}
        local n, room = #entry, DEAD_LETTER
        for i = 1, count do
            local text = list[skip + i]
            if #text > DEAD_SHORT then
                text = string.sub(text, 1, math.max(DEAD_SHORT, math.min(DEAD_TEXT, room)))
                room = room - #text
            end
            entry[n + i] = text
        end
        before = before or redis.pcall('XLEN', key)
        local made = type(before) == 'table' and before or redis.pcall(unpack(entry))
        if type(made) == 'table' then
            return made
        end
        added = added + 1
    end

    -- Returns {how many have gone, how many are left, their bytes}, or {}.
    function letters.finish()
        if added == 0 then
            return {}
        end
        local length, bytes = dead_trim(key, max_bytes)
        local dropped = before + added - length
        dead_count(dropped)
        return dropped > 0 and {dropped, length, bytes} or {}
    end

    return letters
end
