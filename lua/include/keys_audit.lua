-- keys_audit.lua: is a key what common/keys.def says of its family? Needs envelope.lua.
-- The operation's arguments are the rows of common/keys_audit.def, six each: pattern, type, names, cap, bytes, TTL ms.
local ROW = 6
local LENGTH = {stream = 'XLEN', zset = 'ZCARD', hash = 'HLEN', list = 'LLEN', set = 'SCARD'}
local TTL_SPARE = 60000

local function rows_count()
    return C / ROW
end

local function row_at(n)
    local a = (n - 1) * ROW
    return {pattern = op_arg(a + 1), type = op_arg(a + 2), names = op_arg(a + 3), cap = tonumber(op_arg(a + 4)),
        bytes = tonumber(op_arg(a + 5)), ttl = tonumber(op_arg(a + 6))}
end

local function row_key(row, name)
    local before, behind = string.match(row.pattern, '^(.-)%%(.*)$')
    return P .. (before and before .. name .. behind or row.pattern)
end

-- What is wrong with it: the problem, what was found and what there may be; nil when nothing is, or it does not exist.
local function key_problem(row, key)
    local kind = call('TYPE', key).ok
    if kind == 'none' then
        return nil
    elseif kind ~= row.type then
        return 'wrong_type', nil, nil
    end
    local n = row.cap > 0 and call(LENGTH[kind], key) or 0
    if n > (kind == 'stream' and row.cap + row.cap / 10 + 200 or row.cap) then
        return 'over_cap', n, row.cap
    end
    -- What is kept by bytes exactly is measured so, too (dead.lua).
    local bytes = row.bytes > 0 and call('MEMORY', 'USAGE', key, 'SAMPLES', row.pattern == 'stream:dead' and 0 or 5) or 0
    if bytes > row.bytes then
        return 'over_bytes', bytes, row.bytes
    end
    local left = row.ttl > 0 and call('PTTL', key) or 0
    if left == -1 then
        return 'no_ttl', nil, row.ttl
    elseif left > row.ttl + TTL_SPARE then
        return 'long_ttl', left, row.ttl
    end
    return nil
end
