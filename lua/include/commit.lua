-- commit.lua: the commit envelope, second half: runs op() for each request of the group.

-- Idempotency keys live for IDEM_TTL, or as long as their rate allows under IDEM_CAP bytes (at least a
-- minute): the bytes of the running and of the last ten-second window say how fast they come.
local idem_written = 0
local idem_ttl
local function idem_ttl_now()
    if not idem_ttl then
        local w = call('HMGET', P .. 'meta', 'idem_at', 'idem_bytes', 'idem_before')
        local rate = math.max(tonumber(w[2] or '0'), tonumber(w[3] or '0')) / 10
        idem_ttl = rate * IDEM_TTL / 1000 > IDEM_CAP
            and math.max(60000, math.floor(IDEM_CAP / rate * 1000)) or IDEM_TTL
    end
    return idem_ttl
end
local function idem_save()
    if idem_written == 0 then
        return
    end
    local window = math.floor(NOW / 10000)
    local at = tonumber(call('HGET', P .. 'meta', 'idem_at') or '0')
    if at == window then
        call('HINCRBY', P .. 'meta', 'idem_bytes', idem_written)
    else
        local before = at == window - 1 and call('HGET', P .. 'meta', 'idem_bytes') or '0'
        call('HSET', P .. 'meta', 'idem_at', I(window), 'idem_before', before, 'idem_bytes',
            I(idem_written))
    end
end

-- The gate, in the order of DESIGN §3: idempotency, deadline (circuit and rate limit come here). Returns
-- true to go on, or as op() does.
local function gate(r)
    if r.hash ~= '' then
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
    if r.deadline > 0 and NOW > r.deadline then
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
    local memo
    local ttl = r.hash ~= '' and idem_ttl_now() -- asked for now: what fails must fail before the effect
    result, memo, message, data = op(r)
    if not result then
        return nil, memo, message, data
    end
    if r.hash ~= '' then
        local value = memo and r.hash .. '~' .. memo or r.hash .. '=' .. result
        call('SET', r.idem, value, 'PX', ttl)
        idem_written = idem_written + #value + #r.idem + 100
    end
    return result
end

local codes, errors, acked, replies, duplicates = {}, {}, {}, {}, 0
do
    local k, a = 5 + K + M, 8 + C
    for i = 1, N do
        local r = {entry = ARGV[a + 1], reply = tonumber(ARGV[a + 2]), id = ARGV[a + 3],
            deadline = tonumber(ARGV[a + 4]), hash = ARGV[a + 5], actor = ARGV[a + 6],
            session = ARGV[a + 7], agent = ARGV[a + 8], trace = ARGV[a + 9]}
        local nkeys, nargs = tonumber(ARGV[a + 10]), tonumber(ARGV[a + 11])
        a = a + 11
        if r.hash ~= '' then
            k = k + 1
            r.idem = KEYS[k]
        end
        r.k, r.a = k, a -- its keys are KEYS[r.k + 1]…, its arguments ARGV[r.a + 1]…
        k, a = k + nkeys, a + nargs
        if call('XACK', STREAM, 'workers', r.entry) == 0 then
            duplicates = duplicates + 1
            codes[i] = -1
        else
            acked[#acked + 1] = r.entry
            current = r
            local ok, result, code, message, data = pcall(handle, r)
            if not ok then
                errors[#errors + 1] = type(result) == 'table' and tostring(result.err) or tostring(result)
                result, code, message, data = nil, -32603, 'internal error', '{}'
            end
            local body
            if result then
                codes[i] = r.replayed and 1 or 0
                body = '"result":' .. result
            else
                codes[i] = code
                body = '"error":{"code":' .. code .. ',"message":' .. S(message) .. ',"data":'
                    .. (data or '{}') .. '}'
            end
            if r.reply > 0 then
                local list = replies[r.reply] or {}
                list[#list + 1] = '{"jsonrpc":"2.0","id":' .. r.id .. ',' .. body .. '}'
                replies[r.reply] = list
            end
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
    numbers_save()
    if #acked > 0 then
        call('XDEL', STREAM, unpack(acked))
    end
    if duplicates > 0 then
        call('INCRBY', KEYS[3], duplicates)
    end
    idem_save()
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
    local key = KEYS[5 + K + j]
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
