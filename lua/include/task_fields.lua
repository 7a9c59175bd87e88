-- task_fields.lua: the fields of a task's hash that are several values in one: a hash of few fields is searched from end to end, and each
-- field that is read or written is an argument or two more, for the command and for the append-only file. What changes together lies
-- together. Needs base.lua.
--
--   s  status, version, attempts charged, when it was changed, which is when it ended if it has (wall ms); then, of one that is in
--      progress or was completed, the hold: end of the lease (wall ms), whether it is assigned and was not handed over (0 or 1), the
--      holder's incarnation, the holder                                                       written with every change
--   c  priority, max_attempts, max_crashes, when it was created (wall ms), marks, queue        written once, for most
--
-- Joined by single spaces; the last one may have spaces, an incarnation may be empty. The marks: the bytes of payload and metadata if
-- they are more than SMALL_BYTES, else 0, and letters: u = it has a unique key, d = others have waited for it (dependents.lua),
-- o = it was made with more fields than these, text and payload. So a task of version 1 without that mark has no others.

-- The index of each state that a task ends in.
local ENDED = {completed = P .. 'tasks:completed', failed = P .. 'tasks:failed', cancelled = P .. 'tasks:cancelled'}

-- Each text is taken apart once a call: tasks that were created, or claimed, together have the same. By field; by text a list, to which
-- those who use it add what they make of it (task.lua, claim.lua, complete.lua).
local fields_known = {s = {}, c = {}}

-- Version, attempts (both numbers), changed, ended or nil (texts); status; hold: nil, or end, '1' or '0', incarnation, holder; and
-- held: these as they lie there, '' = none. nil: there is no text; without a version (and hold): it is damaged.
local function task_state(text)
    local s = fields_known.s[text]
    if not s and text then
        local status, version, attempts, changed, held = string.match(text, '^(%l[%l_]*) (%d+) (%d+) (%d+) ?(.*)$')
        if status then
            s = {tonumber(version), tonumber(attempts), changed, ENDED[status] and changed, status = status, held = held, text = text}
            local ends, assigned, incarnation, holder = string.match(held, '^(%d+) ([01]) (%S*) (.*)$')
            s.hold = ends and {ends, assigned, incarnation, holder}
        else
            s = {status = string.match(text, '^%l[%l_]*') or 'damaged', held = ''}
        end
        fields_known.s[text] = s
    end
    return s
end
-- Of a change that is made now; `held` = the hold's text, '' = none.
local function state_text(status, version, attempts, held)
    return status .. ' ' .. I(version) .. ' ' .. I(attempts) .. ' ' .. NOW_TEXT .. (held ~= '' and ' ' .. held or '')
end
-- The state `s` with another hold, which is no change.
local function state_with_hold(s, held)
    return s.status .. ' ' .. I(s[1]) .. ' ' .. I(s[2]) .. ' ' .. s[3] .. ' ' .. held
end
local function hold_text(ends, assigned, incarnation, holder)
    return ends .. ' ' .. assigned .. ' ' .. incarnation .. ' ' .. holder
end

-- Priority, max_attempts, max_crashes, created, marks (nil: none that matter when it ends), queue; is_plain = made without further fields.
local function task_constants(text)
    local c = fields_known.c[text]
    if not c and text then
        local priority, attempts, crashes, created, marks, queue = string.match(text, '^(%-?%d+) (%d+) (%d+) (%d+) (%d+%a*) (.+)$')
        if priority then
            local ends = string.gsub(marks, 'o', '')
            c = {priority, attempts, crashes, created, ends ~= '0' and ends or nil, queue, marks = marks, is_plain = ends == marks}
            fields_known.c[text] = c
        end
    end
    return c
end
local function constants_text(priority, max_attempts, max_crashes, created, marks, queue)
    return priority .. ' ' .. max_attempts .. ' ' .. max_crashes .. ' ' .. created .. ' ' .. marks .. ' ' .. queue
end

local task_read
do
-- What earlier versions wrote: by schema 2 the state, what is now behind it in s, and the hold were fields of their own; by schema 1 each
-- value was one.
local EARLIER = {'st', 'n', 'l', 'v', 'at', 'up', 'en', 'pr', 'ma', 'mc', 'cr', 'ex', 'q', 'ho', 'hi', 'le', 'as'}

-- Of a task of schema 1, what one of schema 2 has in its fields n, l (or nil) and c.
local function of_schema_1(f)
    local version, attempts, changed, end_ms = f[4], f[5], f[6], f[7]
    local priority, max_attempts, max_crashes, created, marks, queue = f[8], f[9], f[10], f[11], f[12] or '', f[13]
    local holder, incarnation, ends, assigned = f[14], f[15], f[16], f[17]
    if not (version and changed and priority and max_attempts and created and queue) then
        return nil
    end
    marks = (string.match(marks, '^%d') and '' or '0') .. marks .. 'o'
    return version .. ' ' .. (attempts or '0') .. ' ' .. changed .. (end_ms and ' ' .. end_ms or ''),
        holder and ends and hold_text(ends, assigned and '1' or '0', incarnation or '', holder),
        constants_text(priority, max_attempts, max_crashes or '3', created, marks, queue)
end

-- A task of an earlier schema becomes one of today: whoever comes upon one needs that, and nobody sees a difference. Returns whether it
-- is one now; if not, its status, or nil when it has none. Never raises.
local function convert(key)
    local f = redis.pcall('HMGET', key, unpack(EARLIER))
    if f.err or not f[1] then
        return false
    end
    local numbers, hold, constants = f[2], f[3], redis.pcall('HGET', key, 'c')
    if not numbers then
        numbers, hold, constants = of_schema_1(f)
    end
    local version, attempts, changed, end_ms = string.match(numbers or '', '^(%d+) (%d+) (%d+) ?(%d*)$')
    if not version then
        return false, f[1] -- damaged, as it was
    end
    local text = f[1] .. ' ' .. version .. ' ' .. attempts .. ' ' .. (end_ms ~= '' and end_ms or changed) .. (hold and ' ' .. hold or '')
    local s = task_state(text)
    if not s[1] or not task_constants(constants) or hold and not s.hold then
        return false, f[1]
    end
    call('HSET', key, 's', text, 'c', constants)
    call('HDEL', key, unpack(EARLIER))
    return true
end

-- The fields of a task, of which the first one asked for is `s`. What is no hash has no fields; of one that cannot be converted, `s` is
-- its status. Never raises.
function task_read(key, fields)
    local t = redis.pcall('HMGET', key, unpack(fields))
    if not t[1] then
        local is_one, status = convert(key)
        if is_one then
            t = redis.pcall('HMGET', key, unpack(fields))
        elseif status then
            t[1] = status
        end
    end
    return t
end
end

-- The status of a task, or nil.
local function task_status(id)
    local s = task_state(task_read(task_key(id), {'s'})[1])
    return s and s.status
end

-- The field s behind a change of the task by which nobody holds it (any more); `attempts`: nil = as they are.
local function state_changed(key, status, attempts)
    local s = task_state(call('HGET', key, 's')) or {}
    return state_text(status, (s[1] or 0) + 1, attempts or s[2] or 0, '')
end

-- The task has something that its marks are to say.
local function task_mark(key, letter)
    local c = task_constants(task_read(key, {'s', 'c'})[2])
    if c and not string.find(c.marks, letter, 1, true) then
        call('HSET', key, 'c', constants_text(c[1], c[2], c[3], c[4], c.marks .. letter, c[6]))
    end
end
