-- commit.lua: the commit envelope, second half: runs op() for each request of the group.

-- ---- what is kept for repeats ----
--
-- Outcomes lie in two hashes, cb:idem:<generation>, by the idempotency key's scope: the current generation and the one
-- before it. A generation ends after IDEM_TTL, or, when it holds half of IDEM_CAP bytes, after a minute; then the one
-- before it goes. So 64 outcomes are written by one call, without an expiry each. cb:meta has the generation's number
-- (idem_gen), its beginning (idem_at, wall ms) and its bytes (idem_bytes).
--
-- A record: the hash of the params, when it was written (wall ms, 13 digits), and '=' with the result, or '~' with the
-- operation's memo. One that is older than IDEM_TTL counts as absent.
local HASH_SIZE, AT_SIZE = 11, 13
local generation_bytes = 0
local records = {} -- the group's, by scope: found, and added by the group itself
local added = {} -- the latter as a flat list for HSET
local idem_problem -- why nothing can be found: no request with a scope may have its effect
local idem_read, idem_write
do
local IDEM_MIN = 60000
local COMPACT_BYTES = 1024 -- hash-max-listpack-value
local generation, is_new_generation -- of this call

local function generation_key(n)
    return P .. 'idem:' .. I(n)
end

-- Ours alone: what is no hash is damage.
local function generation_read(n, scopes)
    local key = generation_key(n)
    local found = redis.pcall('HMGET', key, unpack(scopes))
    if found.err then
        call('UNLINK', key)
        return
    end
    for i = 1, #scopes do
        local record = found[i]
        local at = record and tonumber(string.sub(record, HASH_SIZE + 1, HASH_SIZE + AT_SIZE))
        if at and NOW - at <= IDEM_TTL then
            records[scopes[i]] = record
        end
    end
end

-- Finds what is kept for these scopes, and the generation to write to. Before the first effect: what fails must fail here.
function idem_read(scopes)
    local w = meta_read()
    local last, began, bytes = tonumber(w[2] or '0'), tonumber(w[3] or '0'), tonumber(w[4] or '0')
    local age = NOW - began
    is_new_generation = last == 0 or age < 0 or age >= IDEM_TTL or bytes >= IDEM_CAP / 2 and age >= IDEM_MIN
    generation = is_new_generation and last + 1 or last
    generation_bytes = is_new_generation and 0 or bytes
    for n = math.max(1, generation - 1), last do
        generation_read(n, scopes)
    end
end

-- Writes the group's records; returns the fields of cb:meta that change, or nil.
function idem_write()
    if #added == 0 then
        return nil
    end
    local key = generation_key(generation)
    if is_new_generation and not has_type('hash', key) then -- as in generation_read()
        call('UNLINK', key)
    end
    if is_new_generation then -- too long for the compact form of a hash, which is searched from end to end
        added[#added + 1], added[#added + 2] = '', string.rep(' ', COMPACT_BYTES + 1)
    end
    call('HSET', key, unpack(added))
    local fields = {'idem_bytes', I(generation_bytes)}
    if is_new_generation then
        call('PEXPIRE', key, I(2 * IDEM_TTL + IDEM_MIN))
        call('UNLINK', generation_key(generation - 2)) -- freed by a thread of Redis, however large
        fields[3], fields[4], fields[5], fields[6] = 'idem_gen', I(generation), 'idem_at', NOW_TEXT
    end
    return fields
end
end

local function replay(r, record)
    if string.sub(record, 1, HASH_SIZE) ~= request_hash(r) then
        return nil, -32602, 'the idempotency key was used with other params',
            '{"path":"","expected":"the params of the first request with this key","got":"other params"}'
    end
    r.replayed = true
    local kept = string.sub(record, HASH_SIZE + AT_SIZE + 2)
    if string.sub(record, HASH_SIZE + AT_SIZE + 1, HASH_SIZE + AT_SIZE + 1) == '~' then
        return op_replay(r, kept, tonumber(string.sub(record, HASH_SIZE + 1, HASH_SIZE + AT_SIZE)))
    end
    return kept
end

-- The group's requests, and their entries for one XACK. Of a request: its keys are KEYS[k + 1]…, its arguments ARGV[a + 1]…; its
-- form (include/envelope.lua); scope of its outcome (nil: none is kept).
local requests, entries, scopes = {}, {}, {}

local gate -- circuit and rate limit, when the method has one

-- The gate, in this order: idempotency, deadline, circuit, rate limit; then the operation. Returns as op() does.
local function handle(r, i)
    local scope = r.scope
    if scope then
        if idem_problem then
            error(idem_problem)
        elseif records[scope] then
            return replay(r, records[scope])
        end
    end
    local deadline = request_deadline(r)
    if deadline ~= '0' and NOW > tonumber(deadline) then
        if gate then
            gate.late(i)
        end
        return nil, -32006, 'the deadline passed before the request was handled', '{}'
    end
    if gate then
        local code, why, facts = gate.enter(r, i)
        if code then
            return nil, code, why, facts
        end
    end
    local result, memo, message, data = op(r)
    if not result or not scope or memo == false then
        return result, memo, message, data
    end
    local record = request_hash(r) .. NOW_TEXT .. (memo and '~' or '=') .. (memo or result)
    records[scope] = record
    local n = #added
    added[n + 1], added[n + 2] = scope, record
    generation_bytes = generation_bytes + #record + 100
    return result
end

-- The reply that a result makes.
local function result_text(id, result)
    if type(result) == 'string' then
        return '{"jsonrpc":"2.0","id":' .. id .. ',"result":' .. result .. '}'
    end
    result[1], result[#result + 1] = '{"jsonrpc":"2.0","id":' .. id .. ',"result":', '}'
    return table.concat(result)
end

local codes, errors, acked, replies = {}, {}, {}, {}
local GATE_AT = 10 + C -- behind which the gate's arguments begin

do
    local k, at = 5 + K + M, REQUESTS_AT
    for i = 1, N do
        local form, scope = form_of(ARGV[at + 5]), nil
        local ends = at + 5 + form.nargs
        if ARGV[at + 4] ~= '' then
            ends = ends + 1
            scope = ARGV[ends]
            scopes[#scopes + 1] = scope
        end
        entries[i] = ARGV[at + 1]
        requests[i] = {k = k, a = at + 5, form = form, scope = scope} -- four: room for more would be doubled
        k, at = k + form.nkeys, ends
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

if ours > 0 and #scopes > 0 then
    local ok, problem = pcall(idem_read, scopes)
    idem_problem = not ok and problem
end
-- Without a gate not even its functions are made. By EVALSHA each function costs each call; by FCALL only those inside such a maker do.
if ours > 0 and ARGV[9] ~= '0' then
    gate = (function()
        -- @include gate.lua
    end)()
end

for i = 1, N do
    if is_other[i] then
        codes[i] = -1
    else
        local r = requests[i]
        acked[#acked + 1] = entries[i]
        current, done_code = r, 0
        local ok, result, code, message, data = pcall(handle, r, i)
        if not ok then
            errors[#errors + 1] = {i, type(result) == 'table' and tostring(result.err) or tostring(result)}
            result, code, message, data = nil, -32603, 'internal error', '{}'
        end
        if gate then
            gate.leave(i, not result and code)
        end
        codes[i] = not result and code or r.replayed and 1 or done_code
        local list = r.form.list
        if list ~= 0 and codes[i] ~= PARKED then
            local texts = replies[list]
            if not texts then
                texts = {}
                replies[list] = texts
            end
            texts[#texts + 1] = result and result_text(request_id(r), result)
                or '{"jsonrpc":"2.0","id":' .. request_id(r) .. ',"error":{"code":' .. code .. ',"message":'
                    .. S(message) .. ',"data":' .. (data or '{}') .. '}}'
        end
    end
end

-- The rest is paid once per group, and must not raise: a failure is reported, not thrown. What is included last
-- may count on what was included first.
local function guarded(step)
    local done, problem = pcall(step)
    if not done then
        errors[#errors + 1] = {0, type(problem) == 'table' and tostring(problem.err) or tostring(problem)}
    end
end
local function save()
    local ok, fields = pcall(idem_write)
    meta_save(ok and fields or nil)
    if not ok then
        error(fields, 0)
    end
end
local function delete()
    if #acked > 0 then
        call('XDEL', STREAM, unpack(acked))
    end
    if #acked < N then
        call('INCRBY', KEYS[3], N - #acked)
    end
end
guarded(events_tell)
current = nil -- also when one could not be told
if after_group and #acked > 0 then
    guarded(after_group)
end
for i = #before_finish, 1, -1 do
    guarded(before_finish[i])
end
if gate then
    guarded(gate.save)
end
guarded(events_publish)
guarded(save)
guarded(delete) -- whatever went wrong: an entry that is left counts as nobody's yet
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
        errors[#errors + 1] = {0, 'reply list: ' .. (type(length) == 'table' and tostring(length.err)
            or tostring(length))}
    end
end
return {codes, errors, call('XLEN', STREAM), reply_more}
end)() -- of envelope.lua
