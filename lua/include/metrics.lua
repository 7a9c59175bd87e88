-- metrics.lua: what all daemons together have done: each publishes what its workers counted, and once a second the leader
-- sums it up. Needs base.lua, counts.lua and gossip.lua.
--
--   cb:metrics:instance:<id>   inc; at (effective ms); the counters since that daemon's start; workers, wanted; rate
--                              (requests/s, sliding window); hist (its window's latencies: "bucket:count …")
--   cb:metrics:global          the counters' sums, of daemons that are gone, too; what the leader made of the others
--   cb:metrics:queues          by queue: pending, delayed, in_progress (JSON)
--   cb:metrics:scaling         daemons, agents, capacity, held, load spread, tasks/s over a sliding window
local metrics_publish, metrics_aggregate
do
local METRICS_TTL = 3600000
local METRICS_EVERY = 1000 -- ms between two sums
local METRICS_STALE = 5000 -- what was published longer ago does not count as present
local METRICS_WINDOW = 30000 -- of tasks/s
local METRICS_LOOKED = 100 -- daemons, agents, queues
local COUNTERS = {'requests', 'errors', 'refused', 'commits', 'duplicates', 'reconnects', 'restarts', 'decisions', 'denied',
    'fallbacks'}
local PRESENT = {'workers', 'wanted', 'rate', 'hist'}

local function metrics_key(id)
    return P .. 'metrics:instance:' .. id
end

-- values: the counters and what is present, in the order above. A counter's increase since the last time goes to the sum,
-- so that one that is published twice counts once, and one whose daemon is gone stays counted.
function metrics_publish(id, incarnation, values)
    local key, sum = metrics_key(id), P .. 'metrics:global'
    want('hash', key)
    want('hash', sum)
    local before = call('HMGET', key, 'inc', unpack(COUNTERS))
    local fields = {'inc', incarnation, 'at', I(EFF())}
    call('HSETNX', sum, 'since', I(NOW))
    for i, name in ipairs(COUNTERS) do
        local base = before[1] == incarnation and tonumber(before[i + 1]) or 0
        local more = tonumber(values[i]) - base
        if more > 0 then
            call('HINCRBY', sum, name, I(more))
        end
        fields[#fields + 1], fields[#fields + 2] = name, I(math.max(tonumber(values[i]), base))
    end
    for i, name in ipairs(PRESENT) do
        fields[#fields + 1], fields[#fields + 2] = name, values[#COUNTERS + i]
    end
    call('HSET', key, unpack(fields))
    call('PEXPIRE', key, METRICS_TTL)
end

-- Bucket i holds [2^(i/4), 2^((i+1)/4)) µs (common/scoreboard.c); a straight line inside it.
local function metrics_percentile(hist, total, share)
    local seen, wanted = 0, share * total
    for i = 0, 111 do
        local here = hist[i] or 0
        if here > 0 and seen + here >= wanted then
            local from, to = 2 ^ (i / 4), 2 ^ ((i + 1) / 4)
            return math.floor(from + (to - from) * (wanted - seen) / here + 0.5)
        end
        seen = seen + here
    end
    return 0
end

local function metrics_hosts()
    local ids = call('ZRANGEBYSCORE', P .. 'gossip:beats', I(EFF() - METRICS_STALE), '+inf', 'LIMIT', 0, METRICS_LOOKED)
    local sum = {hosts = 0, workers = 0, wanted = 0, rate = 0}
    local hist, total = {}, 0
    for i = 1, #ids do
        local t = redis.pcall('HMGET', metrics_key(ids[i]), 'at', unpack(PRESENT))
        if t[1] and tonumber(t[1]) > EFF() - METRICS_STALE then
            sum.hosts = sum.hosts + 1
            sum.workers, sum.wanted = sum.workers + tonumber(t[2]), sum.wanted + tonumber(t[3])
            sum.rate = sum.rate + tonumber(t[4])
            for bucket, n in string.gmatch(t[5], '(%d+):(%d+)') do
                bucket = tonumber(bucket)
                hist[bucket] = (hist[bucket] or 0) + tonumber(n)
                total = total + tonumber(n)
            end
        end
    end
    return sum, {metrics_percentile(hist, total, 0.50), metrics_percentile(hist, total, 0.95),
        metrics_percentile(hist, total, 0.99)}
end

local function metrics_queues()
    local key, names, out = P .. 'metrics:queues', call('ZRANGE', P .. 'queues', 0, METRICS_LOOKED - 1), {}
    for i = 1, #names do
        if not string.find(names[i], ' ', 1, true) then -- the others name a queue and a role
            local q = 'q:' .. names[i] .. ':'
            local c = call('HMGET', COUNTS, q .. 'pending', q .. 'delayed', q .. 'in_progress')
            out[#out + 1] = names[i]
            out[#out + 1] = '{"pending":' .. (c[1] or '0') .. ',"delayed":' .. (c[2] or '0') .. ',"in_progress":'
                .. (c[3] or '0') .. '}'
        end
    end
    call('DEL', key)
    if #out > 0 then
        call('HSET', key, unpack(out))
        call('PEXPIRE', key, METRICS_TTL)
    end
end

-- Agents: how many tasks they hold for each that they take at once; and how that differs.
local function metrics_load()
    local ids = call('ZRANGE', P .. 'instances:active', 0, METRICS_LOOKED - 1, 'REV')
    local sum = {agents = 0, capacity = 0, held = 0, low = nil, high = nil}
    for i = 1, #ids do
        local t = redis.pcall('HMGET', instance_key(ids[i]), 'kind', 'st', 'capacity')
        if t[1] == 'agent' and t[2] == 'ACTIVE' then
            local held, capacity = redis.pcall('SCARD', held_key(ids[i])), tonumber(t[3] or '0')
            held = type(held) == 'number' and held or 0
            sum.agents, sum.capacity, sum.held = sum.agents + 1, sum.capacity + capacity, sum.held + held
            if capacity > 0 then
                sum.low = math.min(sum.low or held / capacity, held / capacity)
                sum.high = math.max(sum.high or 0, held / capacity)
            end
        end
    end
    return sum
end

-- Tasks/s from samples "effective ms:created:completed" of the last 30 s, one a second. Returns them with today's.
local function metrics_window(samples, created, completed)
    local kept = {}
    for at, made, done in string.gmatch(samples or '', '(%d+):(%d+):(%d+)') do
        if tonumber(at) > EFF() - METRICS_WINDOW and tonumber(at) <= EFF() and tonumber(made) <= created
            and tonumber(done) <= completed then
            kept[#kept + 1] = {tonumber(at), tonumber(made), tonumber(done)}
        end
    end
    kept[#kept + 1] = {EFF(), created, completed}
    local out = {}
    for i = 1, #kept do
        out[i] = I(kept[i][1]) .. ':' .. I(kept[i][2]) .. ':' .. I(kept[i][3])
    end
    local ms = EFF() - kept[1][1]
    local function rate(place)
        return ms > 0 and string.format('%.3f', (kept[#kept][place] - kept[1][place]) * 1000 / ms) or '0'
    end
    return table.concat(out, ' '), rate(2), rate(3)
end

local function metrics_scaling(hosts)
    local key = P .. 'metrics:scaling'
    local load = metrics_load()
    local ever = call('HMGET', COUNTS, 'ever:created', 'ever:completed', 'pending')
    local samples, made, done = metrics_window(call('HGET', key, 'window'), tonumber(ever[1] or '0'), tonumber(ever[2] or '0'))
    call('HSET', key, 'daemons', I(hosts), 'agents', I(load.agents), 'capacity', I(load.capacity), 'held', I(load.held),
        'load_min', string.format('%.3f', load.low or 0), 'load_max', string.format('%.3f', load.high or 0), 'load_spread',
        string.format('%.3f', (load.high or 0) - (load.low or 0)), 'pending', ever[3] or '0', 'created_per_s', made,
        'completed_per_s', done, 'window', samples, 'at', I(NOW))
    call('PEXPIRE', key, METRICS_TTL)
end

-- The leader's part: at most once a second, whatever the ticks do.
function metrics_aggregate(leader, epoch)
    local key = P .. 'metrics:global'
    want('hash', key)
    want('hash', P .. 'metrics:scaling')
    want('hash', COUNTS)
    local last = tonumber(call('HGET', key, 'eff') or '0')
    if EFF() - last < METRICS_EVERY and EFF() >= last then
        return
    end
    local sum, percentiles = metrics_hosts()
    call('HSET', key, 'eff', I(EFF()), 'at', I(NOW), 'leader', leader, 'epoch', epoch, 'hosts', I(sum.hosts), 'workers',
        I(sum.workers), 'wanted', I(sum.wanted), 'rate', string.format('%.3f', sum.rate), 'p50_us', I(percentiles[1]),
        'p95_us', I(percentiles[2]), 'p99_us', I(percentiles[3]))
    call('PEXPIRE', key, METRICS_TTL)
    metrics_queues()
    metrics_scaling(sum.hosts)
end
end
