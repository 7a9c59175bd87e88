#!lua flags=allow-oom
-- system_audit: a page of the check whether each key that can be found without a search is what common/keys.def says, whether somebody
-- who is gone has left requests or tasks behind, and what Redis says of itself (claudebench doctor). It changes nothing.
-- KEYS  the envelope's
-- ARGV  operation: the rows of common/keys_audit.def (include/keys_audit.lua)
--       request: cursor ('' = from the start): row and how many of its names were looked at, joined by a space
-- Returns as the envelope. Caller: worker, system.audit.
-- @include envelope.lua
-- @include keys_audit.lua
local EXAMINE, FINDINGS, CONSUMERS = 300, 50, 100
local STALLED_MS, OFFLINE_MS = 60000, 60000
local findings, examined

local function finding(problem, family, name, more)
    local text = '{"problem":"' .. problem .. '","family":"' .. family .. '"'
    if name then
        text = text .. ',"name":' .. S(name)
    end
    findings[#findings + 1] = text .. (more or '') .. '}'
end

local function figures(found, limit)
    return (found and ',"found":' .. I(found) or '') .. (limit and ',"limit":' .. I(limit) or '')
end

local function check_key(row, name, from)
    examined = examined + 1
    local key = row_key(row, name)
    local problem, found, limit = key_problem(row, key)
    if problem then
        finding(problem, row.pattern, name, figures(found, limit))
    elseif from and row.pattern == 'instance:%' and call('EXISTS', key) == 0 then
        finding('missing', row.pattern, name)
    end
end

-- The names of a family from the n-th on, and where each is listed; at most `count`.
local function names_of(row, from, count)
    local literal = string.match(row.names, '^=(.*)$')
    local out, listed = {}, {}
    if row.names == 'meta' then
        local last = tonumber(meta_read()[2] or '0')
        for n = math.max(1, last - 1), last do
            out[#out + 1] = I(n)
        end
        return out, listed, true
    elseif literal then
        for name in string.gmatch(literal, '%S+') do
            out[#out + 1] = name
        end
        return out, listed, true
    end
    local at = 0
    for source in string.gmatch(row.names, '%S+') do
        local key = P .. source
        if has_type('zset', key) then
            local n = call('ZCARD', key)
            if from < at + n and #out < count then
                local page = call('ZRANGE', key, math.max(0, from - at), math.max(0, from - at) + count - #out - 1)
                for i = 1, #page do
                    out[#out + 1] = page[i]
                    listed[#out] = source
                end
            end
            at = at + n
        end
    end
    return out, listed, from + #out >= at
end

-- A family from its n-th name on; returns the cursor behind what was looked at, or nil at its end.
local function walk_row(n, from)
    local row = row_at(n)
    if row.names == '' then
        check_key(row, nil)
        return nil
    end
    local names, listed, is_all = names_of(row, from, EXAMINE - examined)
    for i = 1, #names do
        check_key(row, names[i], listed[i])
    end
    return not is_all and I(n) .. ' ' .. I(from + #names) or nil
end

local function pairs_of(flat)
    local out = {}
    for i = 1, #flat, 2 do
        out[flat[i]] = flat[i + 1]
    end
    return out
end

-- A consumer with pending entries whose instance is neither alive nor being looked after; or, of one that is alive, one that has not
-- asked Redis for anything for long.
local function check_consumer(domain, consumer)
    local c = pairs_of(consumer)
    local instance = string.match(c.name, '^(.*)/[^/]*/[^/]*$') or c.name
    examined = examined + 1
    if c.pending == 0 or redis.pcall('ZSCORE', P .. 'instances:orphaned', instance) then
        return
    end
    local is_alive = type(redis.pcall('ZSCORE', P .. 'instances:active', instance)) == 'string'
    if not is_alive or c.idle > STALLED_MS then
        finding('dead_consumer', 'requests:%', domain, ',"consumer":' .. S(c.name) .. ',"found":' .. I(c.pending))
    end
end

local function check_consumers()
    for domain in string.gmatch('task system hook archive test', '%S+') do
        local consumers = redis.pcall('XINFO', 'CONSUMERS', P .. 'requests:' .. domain, 'workers')
        for i = 1, consumers.err and 0 or math.min(#consumers, CONSUMERS) do
            check_consumer(domain, consumers[i])
        end
    end
end

-- Who has been gone for long should hold nothing any more. Those that ended last come last.
local function check_offline()
    local ids = call('ZRANGEBYSCORE', P .. 'instances:offline', '-inf', I(EFF() - OFFLINE_MS), 'LIMIT', 0, EXAMINE)
    for i = 1, #ids do
        local held = redis.pcall('SCARD', held_key(ids[i]))
        examined = examined + 1
        if type(held) == 'number' and held > 0 then
            finding('offline_holder', 'queue:instance:%', ids[i], ',"found":' .. I(held))
        end
    end
end

-- ---- what Redis says of itself ----

local INFO = {
    {'redis_version', 'version', 'text'}, {'redis_mode', 'mode', 'text'}, {'role', 'role', 'text'},
    {'aof_enabled', 'aof', 'flag'}, {'aof_last_write_status', 'aof_write', 'text'},
    {'aof_last_bgrewrite_status', 'aof_rewrite', 'text'}, {'rdb_last_bgsave_status', 'rdb_save', 'text'},
    {'maxmemory', 'maxmemory', 'number'}, {'maxmemory_policy', 'policy', 'text'}, {'used_memory', 'used_memory', 'number'},
    {'total_system_memory', 'system_memory', 'number'}, {'connected_slaves', 'replicas', 'number'},
}

local function is_empty()
    for _, key in ipairs({'tasks:completed', 'tasks:failed', 'tasks:cancelled', 'queues', 'leases', 'queue:delayed', 'queue:blocked'}) do
        if call('EXISTS', P .. key) == 1 then
            return false
        end
    end
    return true
end

local function server_json()
    local text, out = '', {}
    for _, section in ipairs({'server', 'persistence', 'memory', 'replication'}) do
        text = text .. call('INFO', section)
    end
    for i = 1, #INFO do
        local row = INFO[i]
        local value = string.match(text, '[\r\n]' .. row[1] .. ':([^\r\n]*)')
        if value then
            out[#out + 1] = '"' .. row[2] .. '":' .. (row[3] == 'text' and S(value) or row[3] == 'flag' and tostring(value == '1')
                or I(tonumber(value) or 0))
        end
    end
    local m = call('HMGET', META, 'schema', 'generation')
    out[#out + 1] = '"schema":' .. S(m[1] or '') .. ',"generation":' .. S(m[2] or '') .. ',"empty":' .. tostring(is_empty())
    return '{' .. table.concat(out, ',') .. '}'
end

function op(r)
    local n, from = string.match(ARGV[r.a + 1], '^(%d+) (%d+)$')
    local server = n and '' or ',"server":' .. server_json()
    local cursor
    n, from = tonumber(n or '1'), tonumber(from or '0')
    findings, examined = {}, 0
    while n <= rows_count() and not cursor do
        cursor = walk_row(n, from)
        n, from = n + 1, 0
        if not cursor and (examined >= EXAMINE or #findings >= FINDINGS) then
            cursor = I(n) .. ' 0'
        end
    end
    if not cursor then
        check_consumers()
        check_offline()
    end
    return '{"examined":' .. I(examined) .. server .. ',"at":' .. ISO(NOW) .. ',"findings":[' .. table.concat(findings, ',')
        .. (cursor and '],"next":"' .. cursor .. '"}' or ']}')
end
-- @include commit.lua
