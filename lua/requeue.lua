#!lua flags=allow-oom
-- requeue: hands on what is pending on a consumer whose worker is gone (ARCHITECTURE.md, "Handing on").
-- KEYS  1 the request stream   2 cb:stream:dead
-- ARGV  1 prefix with colon   2 consumer   3 limit (≤ 100)   4 the entry that its worker was handling when it
--       died ('' = none is known, '*' = none is to blame)   5 how it died, e.g. "signal 11"
--       6 limits.dead_entries   7 limits.dead_bytes   8 crashes that are too many (3)
--       9 redeliveries that are too many (10)
-- Returns {handed on, dead, still pending, the dead ones for the log: {{entry, id, method, trace, reason}, …}, what
-- dead.lua's finish() says of those that made room}. When nothing is pending any more, the consumer is deleted.
-- Caller: supervisor (handon.c); a worker after it lost its connection (session.c).
--
-- Whoever is to blame is charged a crash and a redelivery. The others are charged a redelivery only when none is
-- known: else a few bad requests in one batch would take their neighbours over the limit. What was handed on
-- has redelivered ≥ 1 in any case, so that it is handled by itself.
local P = ARGV[1]
local call = redis.call
local stream, dead_stream, consumer = KEYS[1], KEYS[2], ARGV[2]
local limit, crashed, how = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local max_crashes, max_redelivered = tonumber(ARGV[8]), tonumber(ARGV[9])
local function I(n) -- what callers write need not fit into the %d of base.lua
    return string.format('%.17g', n)
end
-- @include dead.lua
local letters = dead_letters(dead_stream, ARGV[6], tonumber(ARGV[7]))

-- What requeue sets anew, and what a request may say (claudebench-methods(7)). Of an entry with very many fields only the
-- latter are copied, and not without end: unpack() fails at 8000 values.
local OWN = {origin = true, redelivered = true, crashes = true, crash = true}
local KNOWN = {id = true, method = true, params = true, reply = true, actor = true, session = true,
    agent = true, ttl_ms = true, idem = true, trace = true, ack = true}
local VALUES_MAX = 4000

-- What an entry says of its past; a caller may have written anything there.
local function counter(text)
    local n = tonumber(text)
    return n and n > 0 and math.floor(n) or 0
end

-- Copies an entry's fields, with the counters that requeue owns set anew. Returns the XADD's tail.
local function fields_again(entry, origin, redelivered, crashes)
    local out = {}
    for i = 1, #entry, 2 do
        local name = entry[i]
        if not OWN[name] and (KNOWN[name] or #entry <= VALUES_MAX) and #out < VALUES_MAX then
            out[#out + 1] = name
            out[#out + 1] = entry[i + 1]
        end
    end
    out[#out + 1] = 'origin'
    out[#out + 1] = origin
    out[#out + 1] = 'redelivered'
    out[#out + 1] = I(redelivered)
    if crashes > 0 then
        out[#out + 1] = 'crashes'
        out[#out + 1] = I(crashes)
        out[#out + 1] = 'crash'
        out[#out + 1] = how
    end
    return out
end

-- The caller's error reply, when it can be given one.
local function answer_dead(f)
    if not f.reply or not string.match(f.reply, '^[A-Za-z0-9_-]+$') or #f.reply < 16 or #f.reply > 64 then
        return
    end
    local id = f.id and #f.id <= 128 and not string.find(f.id, '[\128-\255%c]') and cjson.encode(f.id) or 'null'
    local key = P .. 'reply:' .. f.reply
    call('RPUSH', key, '{"jsonrpc":"2.0","id":' .. id .. ',"error":{"code":-32603,"message":'
        .. '"internal error: the request was given up","data":{}}}')
    call('PEXPIRE', key, 60000)
end

-- A copy for operators. A dead stream of a wrong type must not keep the caller from being answered.
local told = {}
local function bury(id, f, again, reason)
    told[#told + 1] = {id, string.sub(f.id or '', 1, 128), string.sub(f.method or '', 1, 64),
        string.sub(f.trace or '', 1, 64), reason}
    letters.add(reason, stream, id, again, 0, #again)
end

local pending = redis.pcall('XPENDING', stream, 'workers', '-', '+', limit, consumer)
if pending.err then -- no such group: nothing to hand on
    return {0, 0, 0, {}, {}}
end
local is_known = crashed == '*'
for i = 1, #pending do
    is_known = is_known or pending[i][1] == crashed
end
local moved, dead = 0, 0
for i = 1, #pending do
    local id = pending[i][1]
    local found = call('XRANGE', stream, id, id)
    if found[1] then
        local entry, f = found[1][2], {}
        for j = 1, #entry, 2 do
            f[entry[j]] = entry[j + 1]
        end
        local is_blamed = id == crashed
        local redelivered = math.max(1, counter(f.redelivered) + ((is_blamed or not is_known) and 1 or 0))
        local crashes = counter(f.crashes) + (is_blamed and 1 or 0)
        local origin = string.match(f.origin or '', '^%d+%-%d+$') or id
        local again = fields_again(entry, origin, redelivered, crashes)
        if crashes >= max_crashes or redelivered >= max_redelivered then
            bury(id, f, again, crashes >= max_crashes and 'crashed: ' .. how or 'redelivered too often')
            pcall(answer_dead, f)
            dead = dead + 1
        else
            call('XADD', stream, '*', unpack(again)) -- before the XACK: what cannot be added is not lost
            moved = moved + 1
        end
    end
    call('XACK', stream, 'workers', id)
    call('XDEL', stream, id)
end
local rest = 0
if #pending == limit then
    local more = call('XPENDING', stream, 'workers')
    for i = 1, #(more[4] or {}) do
        if more[4][i][1] == consumer then
            rest = tonumber(more[4][i][2])
        end
    end
end
if rest == 0 then
    redis.pcall('XGROUP', 'DELCONSUMER', stream, 'workers', consumer)
end
local is_trimmed, dropped = pcall(letters.finish) -- the requests are handed on, whatever comes of the copies
return {moved, dead, rest, told, is_trimmed and dropped or {}}
