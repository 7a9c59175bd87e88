#!lua
-- archive_restore: puts open tasks of the archive back into a namespace that has lost them, page by page. Until it ends, nothing is claimed, so that
-- no task is done, and gone, before a restore that was interrupted begins again and brings it back.
-- KEYS  1 cb:stream:events   2 cb:meta   3 cb:clock
-- ARGV  1 prefix with colon   2 the policy for events (include/emit.lua)   3 data generation of the archived tasks   4 step:
--       begin: 5 the last number that the archive knows to have been handed out
--       tasks: 5… for each task its id and the 22 of restore()
--       end
-- Returns {'refused', why} | {'failed', why: of a task of this page} | {'ok', tasks that were put back, those that were there}
-- Caller: claudebench-archive (archive/cmd_restore.c).
local P = ARGV[1]
local EVENTS, EVENTS_POLICY = KEYS[1], ARGV[2]
local GENERATION, STEP = ARGV[3], ARGV[4]
local before_finish = {} -- as in include/envelope.lua
-- @include base.lua
-- @include emit.lua
local function emit(kind, fields)
    return event_add(kind, event_entry(kind, fields))
end
-- @include task.lua
-- @include paused.lua
-- @include pausing.lua
-- @include dependents.lua
local TASK_ARGS = 23
local READER = 'archive' -- SOURCE_GROUP of archive/source.h

-- What there is, in words, or nil.
local function found()
    for _, name in ipairs({'queue:delayed', 'queue:blocked', 'leases', 'tasks:completed', 'tasks:failed', 'tasks:cancelled'}) do
        if call('EXISTS', P .. name) == 1 then
            return 'there are tasks in it'
        end
    end
    if tonumber(call('HGET', COUNTS, 'pending') or '0') > 0 then
        return 'there are tasks in it'
    end
    return call('EXISTS', P .. 'schedules') == 1 and 'there are schedules in it' or nil
end

local function begin(last_number)
    local m = call('HMGET', META, 'generation', 'restoring', 'last_number')
    if not m[1] then
        return {'refused', 'no daemon has used it yet: start claudebenchd'}
    end
    if m[2] then
        local generation = string.match(m[2], '^%S+')
        return generation == GENERATION and {'ok'} or {'refused', 'a restore of generation ' .. generation .. ' has begun'}
    end
    local what = found()
    if what then
        return {'refused', what}
    end
    paused_want()
    local was_paused = call('SISMEMBER', PAUSED, '*') == 1
    call('HSET', META, 'restoring', GENERATION .. (was_paused and '' or ' pause'))
    if tonumber(m[3] or '0') < tonumber(last_number) then
        call('HSET', META, 'last_number', last_number)
    end
    call('SADD', PAUSED, '*')
    call('HSET', P .. 'clock', 'paused', '1')
    if not was_paused then
        emit('queue.paused', {'queue', '*'})
    end
    return {'ok'}
end

-- "<id> <state>" for each task that a blocked one waits for. Those that are open wait with it; what has ended meanwhile is told by the
-- next tick, as if it ended now.
local function wait_for(id, text)
    local lib, waiting = dependents(), {}
    for dependency, state in string.gmatch(text, '(%S+) (%S+)') do
        waiting[#waiting + 1] = dependency
        if state == 'open' and task_status(dependency) then
            call('SADD', lib.key(dependency), id)
            task_mark(task_key(dependency), 'd')
        else
            local number = I(next_number())
            call('SADD', P .. 'dependents:' .. number, id)
            call('RPUSH', P .. 'dependents:due', number .. ' ' .. dependency .. ' ' .. (state == 'open' and 'deleted' or state))
        end
    end
    return table.concat(waiting, ' ')
end

-- What a task is made of again, '' = it has none: state, text, queue, priority, roles, attempts, max_attempts, crashes, max_crashes,
-- created (ms), version, due (ms), unique key, partition, schedule, backoff, lease_ms, payload, metadata, error, what it waits for,
-- on_failure; and those of them that are fields of its hash as they are.
local ARGUMENTS = {'st', 'text', 'q', 'pr', 'ro', 'at', 'ma', 'cc', 'mc', 'cr', 'v', 'du', 'uk', 'pn', 'sc', 'bo', 'lm', 'payload', 'meta',
    'err', 'af', 'of'}
local FIELDS = {'text', 'payload', 'meta', 'ro', 'cc', 'du', 'uk', 'pn', 'sc', 'bo', 'lm', 'err', 'af', 'of'}
local function given(value, default)
    return value ~= '' and value or default
end
local function restore(a)
    local id, t = ARGV[a], {}
    local key = task_key(id)
    for i = 1, #ARGUMENTS do
        t[ARGUMENTS[i]] = ARGV[a + i]
    end
    want_moves()
    want_queue(t.q, t.ro)
    for _, name in ipairs({'queue:delayed', 'queue:blocked'}) do
        want('zset', P .. name)
    end
    want('list', P .. 'dependents:due')
    if call('EXISTS', key) == 1 then
        return false
    end
    if t.st == 'in_progress' then -- who held it holds it no more, and nobody is to blame: as when it is released
        t.st, t.at = 'pending', I(math.max(0, tonumber(t.at) - 1))
    end
    local unique = t.uk ~= '' and dependents().unique_key(t.q, t.uk)
    if unique and call('EXISTS', unique) == 1 then
        t.uk, unique = '', nil
    end
    if t.st == 'blocked' then
        t.af = wait_for(id, t.af)
    else
        t.af, t.of = '', ''
    end
    if t.st == 'pending' then
        t.du = ''
    elseif t.st == 'delayed' and t.du == '' then
        t.du = I(NOW)
    end
    local bytes = #t.payload + #t.meta
    local marks = (bytes > SMALL_BYTES and I(bytes) or '0') .. (unique and 'u' or '') .. 'o'
    local h = {'HSET', key, 's', state_text(t.st, tonumber(t.v) + 1, tonumber(given(t.at, '0')), ''), 'c',
        constants_text(given(t.pr, '0'), given(t.ma, '1'), given(t.mc, '3'), t.cr, marks, t.q)}
    for i = 1, #FIELDS do
        if t[FIELDS[i]] ~= '' then
            h[#h + 1] = FIELDS[i]
            h[#h + 1] = t[FIELDS[i]]
        end
    end
    call(unpack(h))
    if t.st == 'pending' then
        queue_add(id, t.q, tonumber(t.pr), t.ro)
    elseif t.st == 'delayed' then
        call('ZADD', P .. 'queue:delayed', t.du, id)
    else
        call('ZADD', P .. 'queue:blocked', t.cr, id)
    end
    if unique then
        call('SET', unique, id)
    end
    if t.pn ~= '' then
        partitions().begin(id, t.pn)
    end
    count_move(t.q, nil, t.st)
    return true
end

local function tasks()
    local made, there, problem = 0, 0, nil
    for a = 5, #ARGV, TASK_ARGS do
        local ok, is_made = pcall(restore, a)
        if not ok then -- the others, and what is counted of them, go on
            problem = problem or ARGV[a] .. ': ' .. (type(is_made) == 'table' and tostring(is_made.err) or tostring(is_made))
        elseif is_made then
            made = made + 1
        else
            there = there + 1
        end
    end
    return {problem and 'failed' or 'ok', problem or made, there}
end

-- From now on the data are those of the archived generation. The archive's reader is made anew, by which the archive learns that.
local function finish(restoring)
    call('HSET', META, 'generation', GENERATION)
    call('HDEL', META, 'restoring')
    redis.pcall('XGROUP', 'DESTROY', EVENTS, READER)
    if string.find(restoring, ' pause', 1, true) then
        paused_want()
        call('SREM', PAUSED, '*')
        if call('EXISTS', PAUSED) == 0 then
            call('HDEL', P .. 'clock', 'paused')
        end
        emit('queue.resumed', {'queue', '*'})
        paused_wake('*')
    end
    return {'ok'}
end

want('stream', EVENTS)
want('hash', META)
local out
if STEP == 'begin' then
    out = begin(ARGV[5])
else
    local restoring = call('HGET', META, 'restoring')
    if not restoring or string.match(restoring, '^%S+') ~= GENERATION then
        return {'refused', 'another restore has ended this one'}
    end
    out = STEP == 'tasks' and tasks() or finish(restoring)
end
before_finish[#before_finish + 1] = meta_save
table.insert(before_finish, 1, events_publish) -- the last one
for i = #before_finish, 1, -1 do
    before_finish[i]()
end
return out
