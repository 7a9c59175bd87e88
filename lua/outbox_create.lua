#!lua
-- outbox_create: makes tasks of rows of claudebench.outbox, each of them once, however often it is asked to. What was made of a row is kept in
-- cb:outbox until PostgreSQL knows it. Only the keeper that came last may: one that has lost its place in PostgreSQL, and does
-- not know that yet, must not make tasks of rows whose marks are gone by now.
-- KEYS  1 cb:outbox   2 cb:stream:events
-- ARGV  1 prefix with colon   2 the policy for events (include/emit.lua)   3 task.max_pending
--       4 the keeper's number ('' = it has none yet)   5 number of rows that PostgreSQL knows the outcome of   6… their ids, then for
--       each row: its id and the nine of include/create.lua
-- Returns {'refused'} to a keeper that is not the last one; without a number {the number, ids of all rows that have a mark};
--       else {'ok', one list for each row: 'made', id of the task | 'error', code, message, data (JSON) | 'full' | 'failed', message}
-- Caller: claudebench-archive (archive/outbox.c).
local P = ARGV[1]
local EVENTS, EVENTS_POLICY = KEYS[2], ARGV[2]
local OUTBOX, KEEPER = KEYS[1], 'keeper'
local before_finish = {} -- as in include/envelope.lua
-- @include base.lua
-- @include emit.lua
local function emit(kind, fields)
    return event_add(kind, event_entry(kind, fields))
end
-- @include task.lua
-- @include create_extras.lua
local MAX_PENDING, NUMBER = tonumber(ARGV[3]), ARGV[4]
local LIST_ARGS = 9
local MARKS = 1000 -- there are never so many
local QUEUE_FULL = -32007

local function make(a)
    local row, list = ARGV[a], {}
    local task = call('HGET', OUTBOX, row)
    if task then
        return {'made', task}
    end
    for i = 1, LIST_ARGS do
        list[i] = ARGV[a + i]
    end
    local extras = create_extras(list, 0)
    local ok, code, message, data = create_check(list, 0, extras, MAX_PENDING, {})
    if not ok then
        return code == QUEUE_FULL and {'full'} or {'error', I(code), message, data}
    end
    local id, status, is_old = create_task(list, 0, extras)
    call('HSET', OUTBOX, row, id)
    if not is_old then
        emit('task.created', {'id', id, 'queue', list[3], 'priority', list[2]})
    end
    if not is_old and status == 'failed' then
        create_told({id})
    end
    return {'made', id}
end

want('hash', OUTBOX)
want('stream', EVENTS)
want('hash', META)
if NUMBER == '' then
    local number, rows = I(next_number()), {}
    for _, row in ipairs(call('HRANDFIELD', OUTBOX, MARKS)) do
        if #row <= 18 and not string.find(row, '%D') then -- neither the keeper nor what somebody has put there by hand
            rows[#rows + 1] = row
        end
    end
    call('HSET', OUTBOX, KEEPER, number)
    meta_save()
    return {number, rows}
end
if call('HGET', OUTBOX, KEEPER) ~= NUMBER then
    return {'refused'}
end
local a = 6 + tonumber(ARGV[5])
for i = 6, a - 1 do
    call('HDEL', OUTBOX, ARGV[i])
end
local out = {'ok'}
while a <= #ARGV do
    local ok, outcome = pcall(make, a)
    out[#out + 1] = ok and outcome or {'failed', type(outcome) == 'table' and tostring(outcome.err) or tostring(outcome)}
    a = a + 1 + LIST_ARGS
end
before_finish[#before_finish + 1] = meta_save
table.insert(before_finish, 1, events_publish) -- the last one
for i = #before_finish, 1, -1 do
    pcall(before_finish[i])
end
return out
