-- commit.lua: the commit envelope, second half: runs op() for each request of the group.

-- Idempotency keys live for IDEM_TTL, or as long as their rate allows under IDEM_CAP bytes (at least a
-- minute): the bytes of the running and of the last ten-second window say how fast they come.
local idem_written = 0
local idem_until -- wall ms: PXAT, which Redis writes to its AOF as it is
local function idem_end()
    if not idem_until then
        local w = meta_read()
        local rate = math.max(tonumber(w[3] or '0'), tonumber(w[4] or '0')) / 10
        idem_until = I(NOW + (rate * IDEM_TTL / 1000 > IDEM_CAP
            and math.max(60000, math.floor(IDEM_CAP / rate * 1000)) or IDEM_TTL))
    end
    return idem_until
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

-- What is kept under the group's idempotency keys, by key: read once for all, and what the group itself has added.
-- A record is the hash of the params and '=' with the result, or '~' with the operation's memo.
local records = {}

local function replay(r, record)
    if string.sub(record, 1, #r.hash) ~= r.hash then
        return nil, -32602, 'the idempotency key was used with other params',
            '{"path":"","expected":"the params of the first request with this key","got":"other params"}'
    end
    r.replayed = true
    local kept = string.sub(record, #r.hash + 2)
    if string.sub(record, #r.hash + 1, #r.hash + 1) == '~' then
        return op_replay(r, kept)
    end
    return kept
end

-- The gate, in the order of DESIGN §3: idempotency, deadline (circuit and rate limit come here); then the operation.
-- Returns as op() does.
local function handle(r)
    local idem, ends = r.idem, nil
    if idem then
        if records[idem] then
            return replay(r, records[idem])
        end
        ends = idem_end() -- asked for now: what fails must fail before the effect
    end
    local deadline = ARGV[r.at + 4]
    if deadline ~= '0' and NOW > tonumber(deadline) then
        return nil, -32006, 'the deadline passed before the request was handled', '{}'
    end
    local result, memo, message, data = op(r)
    if not result or not idem or memo == false then
        return result, memo, message, data
    end
    local record = memo and r.hash .. '~' .. memo or r.hash .. '=' .. result
    call('SET', idem, record, 'PXAT', ends)
    records[idem] = record
    idem_written = idem_written + #record + #idem + 100
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
local requests, entries, idems = {}, {}, {}
do
    local k, at = 5 + K + M, 8 + C
    for i = 1, N do
        local hash, idem = ARGV[at + 5], nil
        if hash ~= '' then
            k = k + 1
            idem = KEYS[k]
            idems[#idems + 1] = idem
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

-- A key of a wrong type counts as absent, and is written over.
if ours > 0 and #idems > 0 then
    local found = call('MGET', unpack(idems))
    for i = 1, #idems do
        if found[i] then
            records[idems[i]] = found[i]
        end
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
        if list ~= '0' and codes[i] ~= PARKED then
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
