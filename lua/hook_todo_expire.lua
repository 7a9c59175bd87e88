#!lua flags=allow-oom
-- hook_todo_expire: cancels the tasks of lists of which nothing has been heard for a day (hook.todo_write). Any daemon may do
-- it, every now and then: it is idempotent.
-- KEYS  1 cb:todos   2 cb:stream:events
-- ARGV  1 prefix with colon   2 at most so many tasks   3 events.maxlen
-- Returns {tasks looked at, tasks cancelled, what went wrong or ''}: such a task is tried again in an hour.
-- Caller: supervisor (todo_sweep.c).
local P = ARGV[1]
-- @include base.lua
local EVENTS = KEYS[2]
local before_finish = {} -- as in include/envelope.lua
local function emit(kind, fields)
    call('XADD', EVENTS, 'MAXLEN', '~', ARGV[3], '*', 'type', kind, 'at', I(NOW), unpack(fields))
end
-- @include task.lua
-- @include lease.lua
-- @include history.lua
-- @include dependents.lua
-- @include leave.lua
-- @include cancel.lua
local GONE = '"the session has not said anything about its list for a day"'
local HOUR_MS = 3600000
local problem = ''

local function expire(id)
    local t = lease_read(task_key(id))
    if t and not ENDED[t.status] then
        cancel_want(id, t, GONE)
        cancel(id, t, GONE)
    end
    call('ZREM', KEYS[1], id)
end

want('zset', KEYS[1])
local ids = call('ZRANGEBYSCORE', KEYS[1], '-inf', I(NOW), 'LIMIT', 0, ARGV[2])
for i = 1, #ids do
    local ok, why = pcall(expire, ids[i])
    if not ok then
        problem = type(why) == 'table' and tostring(why.err) or tostring(why)
        call('ZADD', KEYS[1], I(NOW + HOUR_MS), ids[i])
    end
end
for i = #before_finish, 1, -1 do
    local ok, why = pcall(before_finish[i])
    if not ok then
        problem = type(why) == 'table' and tostring(why.err) or tostring(why)
    end
end
meta_save()
return {#ids, cancelled, problem}
