-- circuit.lua: the circuit breaker of a method, shared by all instances. Needs base.lua. A script that changes one
-- defines emit() first.
--
--   cb:circuit:<method>   st (closed | open | half_open), since (wall ms of the last change), until (effective ms at which
--                         open ends), try (how often it opened since it was closed last), ok (successes of half_open),
--                         fails (effective ms of the latest failures), permits ("entry:effective ms of its end …"), dep
--                         (the open methods for which it is half_open, '' = its own failures), why, at (effective ms of
--                         the last change); and what was counted: timeouts, errors, rejections, opened
--   cb:circuits           methods that have such a hash; score: -1 closed, 0 half_open for others, else `until`
--
-- Nothing expires by itself: a state without a key of its own time would be closed again just when it should probe.
-- Times are effective, so that a Redis that stood still opens and closes nothing.
local CIRCUITS = P .. 'circuits'
local CIRCUIT_FIELDS = {'st', 'since', 'until', 'try', 'ok', 'fails', 'permits', 'dep', 'why', 'at'}
local CIRCUIT_COUNTS = {'timeouts', 'errors', 'rejections', 'opened'}
local CIRCUIT_IDLE_MS = 3600000 -- half_open, and nobody has asked for so long

local function circuit_key(method)
    return P .. 'circuit:' .. method
end

local function circuit_read(method)
    local t = redis.pcall('HMGET', circuit_key(method), unpack(CIRCUIT_FIELDS))
    if t.err then -- ours alone: what is no hash is damage
        call('UNLINK', circuit_key(method))
        t = {}
    end
    local m = {method = method, st = t[1] or 'closed', since = t[2] or '0', ends = tonumber(t[3] or '0'),
        try = tonumber(t[4] or '0'), ok = tonumber(t[5] or '0'), fails = {}, permits = {}, dep = t[8] or '', why = t[9] or '',
        at = tonumber(t[10] or '0'), counts = {}, events = {}, is_changed = false}
    for at in string.gmatch(t[6] or '', '%d+') do
        m.fails[#m.fails + 1] = tonumber(at)
    end
    for holder, ends in string.gmatch(t[7] or '', '(%S+):(%d+)') do
        m.permits[holder] = tonumber(ends)
    end
    return m
end

local function circuit_count(m, what)
    m.counts[what] = (m.counts[what] or 0) + 1
end

-- Writes what changed, once a call.
local function circuit_save(m)
    local key = circuit_key(m.method)
    if m.is_changed then
        local permits, fails = {}, {}
        for holder, ends in pairs(m.permits) do
            permits[#permits + 1] = holder .. ':' .. I(ends)
        end
        for i = 1, #m.fails do
            fails[i] = I(m.fails[i])
        end
        call('HSET', key, 'st', m.st, 'since', m.since, 'until', I(m.ends), 'try', I(m.try), 'ok', I(m.ok), 'fails',
            table.concat(fails, ' '), 'permits', table.concat(permits, ' '), 'dep', m.dep, 'why', m.why, 'at', I(EFF()))
        call('ZADD', CIRCUITS, m.st == 'closed' and '-1' or m.dep ~= '' and '0' or I(m.ends), m.method)
    end
    for what, n in pairs(m.counts) do
        call('HINCRBY', key, what, I(n))
    end
    m.is_changed, m.counts = false, {}
    for i = 1, #m.events do
        emit(m.events[i][1], m.events[i][2])
    end
    m.events = {}
end

local function circuit_become(m, state, why, dep, more)
    local fields = {'method', m.method, 'reason', why, 'from', m.st}
    for i = 1, #more do
        fields[#fields + 1] = more[i]
    end
    m.st, m.since, m.why, m.dep, m.is_changed = state, I(NOW), string.sub(why, 1, 150), dep, true
    m.ok, m.fails, m.permits = 0, {}, {}
    m.events[#m.events + 1] = {'circuit.' .. (state == 'open' and 'opened' or state), fields}
end

local function circuit_half_open(m, why, dep)
    circuit_become(m, 'half_open', why, dep, {'attempt', I(m.try)})
end

local function circuit_close(m, why)
    m.try, m.ends = 0, 0
    circuit_become(m, 'closed', why, '', {})
end

-- Which of these methods are in trouble of their own. One that is half_open for another's sake does not count: two that
-- name each other would hold each other there for ever.
local function circuit_troubled(names)
    local scores = #names > 0 and redis.pcall('ZMSCORE', CIRCUITS, unpack(names)) or {}
    local found = {}
    for i = 1, #names do
        if scores[i] and tonumber(scores[i]) > 0 then
            found[#found + 1] = names[i]
        end
    end
    return table.concat(found, ' ')
end

local function circuit_names(text)
    local names = {}
    for name in string.gmatch(text, '%S+') do
        names[#names + 1] = name
    end
    return names
end

-- What time alone changes; `troubled`: the methods that this one depends on and that are in trouble.
local function circuit_advance(m, troubled)
    if m.st == 'open' and EFF() >= m.ends then
        circuit_half_open(m, 'the pause is over', '')
    elseif m.st == 'half_open' and m.dep ~= '' and troubled == '' then
        circuit_close(m, m.dep .. ' is closed again')
    elseif m.st == 'closed' and troubled ~= '' then
        circuit_half_open(m, 'it depends on ' .. troubled .. ', which is open', troubled)
    end
    return m
end

-- For a tick: circuits whose time has come, whoever asks or not. Returns those that are not closed, at most 10: {method,
-- state, since (wall ms), why}.
local function circuit_sweep()
    local names, out = call('ZRANGEBYSCORE', CIRCUITS, 0, '+inf', 'LIMIT', 0, 100), {}
    for i = 1, #names do
        local m = circuit_read(names[i])
        if m.st == 'closed' then
            call('ZADD', CIRCUITS, '-1', names[i])
        elseif m.st == 'half_open' and EFF() - m.at > CIRCUIT_IDLE_MS then
            circuit_close(m, 'nobody has asked for an hour')
        else
            circuit_advance(m, m.dep ~= '' and circuit_troubled(circuit_names(m.dep)) or '')
        end
        circuit_save(m)
        if m.st ~= 'closed' and #out < 10 then
            out[#out + 1] = {m.method, m.st, m.since, m.why}
        end
    end
    return out
end
