#!lua flags=allow-oom
-- task_audit: a page of the check whether counts and indexes say the same as the tasks (claudebench doctor). It changes
-- nothing. Looks at no more than 500 entries per call.
-- KEYS  the envelope's
-- ARGV  request: cursor ('' = from the start): stage, set, score and id of the last entry looked at, joined by spaces; the queues
--       whose counters are wanted, joined by spaces
-- Returns as the envelope. Caller: worker, task.audit.
--
-- The states' sums are compared at the start, in one call, so that they have to agree whatever goes on. Then come the indexes,
-- as in task_list.lua, and the instances. What each queue counts is compared by the caller, who adds up `counted` of all pages;
-- `counters` tells whether they moved meanwhile: on a walk of one page both are of one moment.
-- @include envelope.lua
-- @include task.lua
-- @include dependents.lua
-- @include task_index.lua

local EXAMINE, FINDINGS, HELD = 500, 100, 100
local DEAD, INSTANCES = #STAGES + 1, #STAGES + 2 -- the stages of the cursor behind those of the states
local SUMS = {delayed = 'queue:delayed', blocked = 'queue:blocked', in_progress = 'leases', failed = 'tasks:failed',
    cancelled = 'tasks:cancelled'}
local COLUMNS = {'s', 'c', 'ro', 'af', 'uk', 'de'}
local findings, counted, examined

-- What an index is called here: a state, or pending/<queue>[/<role>].
local function index_name(state, set)
    return state == 'pending' and 'pending/' .. set or set
end

-- An index may hold anything, if somebody else wrote to it: it goes neither into a reply nor into a cursor.
local function is_task_id(id)
    return #id <= 22 and string.match(id, '^t%-%d+$')
end

local function finding(index, id, problem, more)
    id = is_task_id(id) and id or 't-0'
    local queue, role = string.match(index, '^pending/([^/]+)/?(.*)$')
    local where = queue and 'pending","queue":"' .. queue .. (role ~= '' and '","role":"' .. role or '') or index
    findings[#findings + 1] = '{"index":"' .. where .. '","id":"' .. id .. '","problem":"' .. problem .. '"'
        .. (more or '') .. '}'
end

local function is_in(key, id)
    local score = redis.pcall('ZSCORE', key, id)
    return type(score) == 'string' and score or nil
end
local function is_member(key, id)
    return redis.pcall('SISMEMBER', key, id) == 1
end

-- The task's record, or nil after a finding, of which `more` are further members.
local function task_of(index, id, more)
    local f = task_read(task_key(id), COLUMNS)
    if f.err then
        finding(index, id, 'damaged', more)
        return nil
    elseif not f[1] then
        finding(index, id, call('EXISTS', task_key(id)) == 1 and 'damaged' or 'no_task', more)
        return nil
    end
    local s, c = task_state(f[1]), task_constants(f[2]) or {}
    local hold = s.hold or {}
    if not c[1] or not s[1] then -- it is counted where it is, all the same
        finding(index, id, 'damaged', more)
    end
    return {status = s.status, queue = c[6] or 'default', roles = f[3] or '', holder = hold[4], assigned = hold[2] == '1', waits = f[4],
        unique = f[5], dead = f[6], priority = c[1]}
end

local CHECK = {}

function CHECK.pending(id, t, name, score)
    local queue, role = string.match(name, '^([^/]+)/?(.*)$')
    if queue ~= t.queue or (role == '') ~= (t.roles == '')
        or role ~= '' and not string.find(' ' .. t.roles .. ' ', ' ' .. role .. ' ', 1, true) then
        finding('pending/' .. name, id, 'other_queue')
    elseif score ~= AGED and tonumber(score) ~= -tonumber(t.priority or '0') then
        finding('pending/' .. name, id, 'other_priority')
    end
    if is_first_set(t.roles, name) then
        for other in string.gmatch(t.roles, '%S+') do
            if not is_in(role_key(t.queue, other), id) then
                finding('pending/' .. t.queue .. '/' .. other, id, 'not_listed')
            end
        end
    end
end

function CHECK.in_progress(id, t)
    if not t.holder then
        finding('in_progress', id, 'no_holder')
    elseif not is_member(held_key(t.holder), id) then
        finding('in_progress', id, 'not_held', ',"instance":' .. S(t.holder))
    elseif t.assigned and not is_in(assigned_key(t.holder), id) then
        finding('in_progress', id, 'not_assigned', ',"instance":' .. S(t.holder))
    end
end

-- What it waits for has to know of it, or it waits for ever; unless the news is on its way to it.
function CHECK.blocked(id, t)
    for dependency in string.gmatch(t.waits or '', '%S+') do
        if not is_member(dependents().key(dependency), id) and call('EXISTS', P .. 'dependents:due') == 0 then
            finding('blocked', id, 'not_awaited', ',"waiting_for":"' .. dependency .. '"')
        end
    end
end

function CHECK.failed(id)
    if not is_in(P .. 'queue:dead', id) then
        finding('failed', id, 'not_listed')
    end
end

local function check_entry(state, name, id, score)
    examined = examined + 1
    local index = index_name(state, name)
    local t = task_of(index, id)
    if not t then
        return
    elseif t.status ~= state then
        finding(index, id, 'other_state', ',"status":"' .. t.status .. '"')
        return
    end
    if CHECK[state] then
        CHECK[state](id, t, name, score)
    end
    if t.unique and not ENDED[state] and redis.pcall('GET', dependents().unique_key(t.queue, t.unique)) ~= id then
        finding(index, id, 'not_unique')
    end
    if state ~= 'completed' and (state ~= 'pending' or is_first_set(t.roles, name)) then
        local states = counted[t.queue] or {}
        counted[t.queue] = states
        states[state] = (states[state] or 0) + 1
    end
end

local function is_full()
    return examined >= EXAMINE or #findings >= FINDINGS
end

-- A set from (score, id) on. Returns the cursor behind what was looked at, or nil at the end of the set.
local function walk_set(stage, name, key, score, last, look)
    if not has_type('zset', key) then
        finding(stage == 1 and 'pending/' .. name or name, 't-0', 'damaged')
        return nil
    end
    local from = last and rank_behind(key, score, last) or 0
    while true do
        local page = call('ZRANGE', key, from, from + 99, 'WITHSCORES')
        for i = 1, #page, 2 do
            look(page[i], page[i + 1])
            if is_full() and is_task_id(page[i]) then
                return stage .. ' ' .. name .. ' ' .. page[i + 1] .. ' ' .. page[i]
            end
        end
        if #page < 200 then
            return nil
        end
        from = from + 100
    end
end

local function walk_state(stage, name, score, last)
    local state = STAGES[stage]
    return each_set(state, name, function(set, key)
        local cursor = walk_set(stage, set, key, score, last, function(id, s)
            check_entry(state, set, id, s)
        end)
        if cursor then
            return cursor
        end
        examined, last = examined + 1, nil
        return is_full() and stage .. ' ' .. set .. BEHIND_ALL or nil
    end)
end

local function walk_dead(score, last)
    return walk_set(DEAD, 'dead', P .. 'queue:dead', score, last, function(id)
        examined = examined + 1
        local t = task_of('dead', id)
        if t and (t.status ~= 'failed' or not t.dead) then
            finding('dead', id, 'other_state', ',"status":"' .. t.status .. '"')
        end
    end)
end

-- An instance holds what it is said to hold; of one that holds more than HELD, so many are looked at, by chance.
local function check_instance(instance)
    local who = ',"instance":' .. S(instance)
    local held = redis.pcall('SRANDMEMBER', held_key(instance), HELD)
    local assigned = redis.pcall('ZRANGE', assigned_key(instance), 0, HELD - 1)
    if held.err or assigned.err then
        finding(held.err and 'held' or 'assigned', 't-0', 'damaged', who)
        return
    end
    examined = examined + 1 + #held + #assigned
    for i = 1, #held do
        local t = task_of('held', held[i], who)
        if t and (t.status ~= 'in_progress' or t.holder ~= instance) then
            finding('held', held[i], 'other_state', who .. ',"status":"' .. t.status .. '"')
        elseif t and not is_in(P .. 'leases', held[i]) then
            finding('held', held[i], 'no_lease', who)
        end
    end
    for i = 1, #assigned do
        local t = task_of('assigned', assigned[i], who)
        if t and (not t.assigned or t.holder ~= instance) then
            finding('assigned', assigned[i], 'other_state', who .. ',"status":"' .. t.status .. '"')
        end
    end
end

-- By rank: an id that others chose does not go into a cursor.
local KNOWN = {active = P .. 'instances:active', offline = P .. 'instances:offline'}
local function walk_instances(kind, rank)
    while kind do
        local id = call('ZRANGE', KNOWN[kind], rank, rank)[1]
        if id then
            check_instance(id)
            rank = rank + 1
        else
            kind, rank = kind == 'active' and 'offline' or nil, 0
        end
        if kind and is_full() then
            return INSTANCES .. ' ' .. kind .. ' 0 t-' .. rank
        end
    end
end

-- Of all queues, in one call; with more than EXAMINE of them it is left to the caller, who sees each queue.
local function check_sums()
    local names = call('ZRANGE', P .. 'queues', 0, EXAMINE)
    if #names > EXAMINE then
        return
    end
    local sums = {}
    for i = 1, #names do
        if not string.find(names[i], ' ', 1, true) then
            local counts = call('HMGET', COUNTS, unpack(count_fields(names[i])))
            for j = 1, #QUEUE_STATES do
                sums[QUEUE_STATES[j]] = (sums[QUEUE_STATES[j]] or 0) + tonumber(counts[j] or '0')
            end
        end
    end
    for i = 1, #QUEUE_STATES do
        local state = QUEUE_STATES[i]
        local truth = SUMS[state] and call('ZCARD', P .. SUMS[state]) or tonumber(call('HGET', COUNTS, state) or '0')
        if truth ~= (sums[state] or 0) then
            finding('counts', 't-0', 'sum', ',"status":"' .. state .. '","counter":' .. I(sums[state] or 0) .. ',"counted":' .. I(truth))
        end
    end
end

local function counters_json(queues)
    local out = {}
    for queue in string.gmatch(queues, '%S+') do
        local counts = call('HMGET', COUNTS, unpack(count_fields(queue)))
        for i = 1, #QUEUE_STATES do
            out[#out + 1] = '{"queue":"' .. queue .. '","state":"' .. QUEUE_STATES[i] .. '","count":' .. (counts[i] or '0') .. '}'
        end
    end
    return table.concat(out, ',')
end

local function counted_json()
    local out = {}
    for queue, states in pairs(counted) do
        for state, n in pairs(states) do
            out[#out + 1] = '{"queue":"' .. queue .. '","state":"' .. state .. '","count":' .. I(n) .. '}'
        end
    end
    return table.concat(out, ',')
end

function op(r)
    local stage, name, score, last = string.match(ARGV[r.a + 1], '^(%d+) (%S+) (%S+) (%S+)$')
    local cursor
    findings, counted, examined = {}, {}, 0
    if not stage then
        check_sums()
    end
    stage = tonumber(stage or '1')
    while stage <= INSTANCES and not cursor do
        if stage < DEAD then
            cursor = walk_state(stage, name, score, last)
        elseif stage == DEAD then
            cursor = walk_dead(score, last)
        else
            cursor = walk_instances(name == 'offline' and name or 'active', last and tonumber(string.sub(last, 3)) or 0)
        end
        stage, name, score, last = stage + 1, nil, nil, nil
    end
    return '{"examined":' .. I(examined) .. ',"counted":[' .. counted_json() .. '],"counters":['
        .. counters_json(ARGV[r.a + 2]) .. '],"findings":[' .. table.concat(findings, ',')
        .. (cursor and '],"next":"' .. cursor .. '"}' or ']}')
end
-- @include commit.lua
