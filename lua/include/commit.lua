-- commit.lua: the commit envelope, second half: runs op() for each request of the group.

-- Idempotency keys live for IDEM_TTL, or as long as their rate allows under IDEM_CAP bytes (at least a
-- minute): the bytes of the running and of the last ten-second window say how fast they come.
local idem_written = 0
local idem_ttl
local function idem_ttl_now()
    if not idem_ttl then
        local w = meta_read()
        local rate = math.max(tonumber(w[3] or '0'), tonumber(w[4] or '0')) / 10
        idem_ttl = I(rate * IDEM_TTL / 1000 > IDEM_CAP
            and math.max(60000, math.floor(IDEM_CAP / rate * 1000)) or IDEM_TTL)
    end
    return idem_ttl
end
-- The fields of cb:meta that say how much was written, or nil.
local function idem_fields()
    if idem_written == 0 then
        return nil
    end
    local w, window = meta_read(), math.floor(NOW / 10000)
    local at = tonumber(w[2] or '0')
    if at == window then
        return {'idem_bytes', I(tonumber(w[3] or '0') + idem_written)}
    end
    return {'idem_at', I(window), 'idem_before', at == window - 1 and w[3] or '0', 'idem_bytes', I(idem_written)}
end

-- The gate, in the order of DESIGN §3: idempotency, deadline (circuit and rate limit come here). Returns
-- true to go on, or as op() does.
local function gate(r)
    if r.idem then
        local stored = call('GET', r.idem)
        if stored then
            if string.sub(stored, 1, #r.hash) ~= r.hash then
                return false, nil, -32602, 'the idempotency key was used with other params',
                    '{"path":"","expected":"the params of the first request with this key","got":"other params"}'
            end
            r.replayed = true
            local kept = string.sub(stored, #r.hash + 2)
            if string.sub(stored, #r.hash + 1, #r.hash + 1) == '~' then
                return false, op_replay(r, kept)
            end
            return false, kept
        end
    end
    local deadline = ARGV[r.at + 4]
    if deadline ~= '0' and NOW > tonumber(deadline) then
        return false, nil, -32006, 'the deadline passed before the request was handled', '{}'
    end
    return true
end

-- Result JSON, or nil, code, message, data.
local function handle(r)
    local go, result, code, message, data = gate(r)
    if not go then
        return result, code, message, data
    end
    local ttl = r.idem and idem_ttl_now() -- asked for now: what fails must fail before the effect
    local memo
    result, memo, message, data = op(r)
    if not result then
        return nil, memo, message, data
    end
    if not ttl then
        return result
    end
    local value = memo and r.hash .. '~' .. memo or r.hash .. '=' .. result
    call('SET', r.idem, value, 'PX', ttl)
    idem_written = idem_written + #value + #r.idem + 100
    return result
end

-- Numbers that come again and again, as their texts.
local number_of = {}
local function number(text)
    local n = number_of[text]
    if not n then
        n = tonumber(text)
        number_of[text] = n
    end
    return n
end

local codes, errors, acked, replies = {}, {}, {}, {}

-- The group's requests, and their entries for one XACK. Of a request: `at`, behind which its part of ARGV begins; its
-- keys are KEYS[k + 1]…, its arguments ARGV[a + 1]…; hash of its params, key of its outcome (nil: none is kept).
local requests, entries = {}, {}
do
    local k, at = 5 + K + M, 8 + C
    for i = 1, N do
        local hash, idem = ARGV[at + 5], nil
        if hash ~= '' then
            k = k + 1
            idem = KEYS[k]
        end
        entries[i] = ARGV[at + 1]
        requests[i] = {at = at, k = k, a = at + 11, hash = hash, idem = idem}
        k, at = k + number(ARGV[at + 10]), at + 11 + number(ARGV[at + 11])
    end
end

-- XACK says how many entries were pending, not which. When not all were, those that are still in the stream are ours:
-- whoever commits or hands on an entry deletes it in the same call. The same entry twice is ours once.
local ours = call('XACK', STREAM, 'workers', unpack(entries))
local is_other = {}
if ours < N then
    for i = 1, N do
        local entry = entries[i]
        is_other[i] = ours == 0 or is_other[entry] or #call('XRANGE', STREAM, entry, entry) == 0
        is_other[entry] = true
    end
end

for i = 1, N do
    if is_other[i] then
        codes[i] = -1
    else
        local r = requests[i]
        acked[#acked + 1] = entries[i]
        current = r
        local ok, result, code, message, data = pcall(handle, r)
        if not ok then
            errors[#errors + 1] = type(result) == 'table' and tostring(result.err) or tostring(result)
            result, code, message, data = nil, -32603, 'internal error', '{}'
        end
        codes[i] = not result and code or r.replayed and 1 or 0
        local list = ARGV[r.at + 2]
        if list ~= '0' then
            local texts = replies[list]
            if not texts then
                texts = {}
                replies[list] = texts
            end
            texts[#texts + 1] = result and '{"jsonrpc":"2.0","id":' .. ARGV[r.at + 3] .. ',"result":' .. result .. '}'
                or '{"jsonrpc":"2.0","id":' .. ARGV[r.at + 3] .. ',"error":{"code":' .. code .. ',"message":'
                    .. S(message) .. ',"data":' .. (data or '{}') .. '}}'
        end
    end
end
current = nil

-- The rest is paid once per group, and must not raise: a failure is reported, not thrown. What is included last
-- may count on what was included first.
local function guarded(step)
    local done, problem = pcall(step)
    if not done then
        errors[#errors + 1] = type(problem) == 'table' and tostring(problem.err) or tostring(problem)
    end
end
local function finish()
    meta_save(idem_fields())
    if #acked > 0 then
        call('XDEL', STREAM, unpack(acked))
    end
    if #acked < N then
        call('INCRBY', KEYS[3], N - #acked)
    end
end
if after_group and #acked > 0 then
    guarded(after_group)
end
for i = #before_finish, 1, -1 do
    guarded(before_finish[i])
end
guarded(finish)
-- A caller that sends and never reads keeps its newest replies; a list that is short is not looked at.
local function cap_replies(key, length)
    if length > 10000 then
        call('LTRIM', key, -10000, -1)
    elseif length > 100 then
        local bytes = redis.pcall('MEMORY', 'USAGE', key)
        if type(bytes) == 'number' and bytes > 67108864 then
            call('LTRIM', key, -100, -1)
        end
    end
end
for j, list in pairs(replies) do
    local key = KEYS[5 + K + number(j)]
    local pushed, length = pcall(call, 'RPUSH', key, unpack(list))
    if pushed then
        call('PEXPIRE', key, 60000)
        cap_replies(key, length)
    else
        errors[#errors + 1] = 'reply list: ' .. (type(length) == 'table' and tostring(length.err)
            or tostring(length))
    end
end
return {codes, errors, call('XLEN', STREAM)}
