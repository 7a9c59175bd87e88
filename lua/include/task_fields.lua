-- task_fields.lua: the fields of a task's hash that are several values in one: a hash of few fields is searched from end to end, and each
-- field that is written is two arguments more, for the command and for the append-only file. What changes together lies together.
-- Needs base.lua.
--
--   n  version, attempts charged, when it was changed and, if it has ended, when (wall ms)    written with every change
--   c  priority, max_attempts, max_crashes, when it was created (wall ms), marks, queue        written once, for most
--   l  end of the lease (wall ms), whether it is assigned and was not handed over (0 or 1), the holder's incarnation, the holder
--
-- Joined by single spaces; the last one may have spaces, an incarnation may be empty. The marks: the bytes of payload and metadata if
-- they are more than SMALL_BYTES, else 0, and letters: u = it has a unique key, d = others have waited for it (dependents.lua),
-- o = it was made with more fields than these, text and payload. So a task of version 1 without that mark has no others.

-- Each text is taken apart once a call: tasks that were created, or claimed, together have the same. By field; by text a list, to which
-- those who use it add what they make of it (task.lua, claim.lua).
local fields_known = {n = {}, c = {}, l = {}}

-- Version, attempts (both numbers), changed, ended or nil (texts). nil: it is no such text.
local function task_numbers(text)
    local n = fields_known.n[text]
    if not n and text then
        local version, attempts, changed, end_ms = string.match(text, '^(%d+) (%d+) (%d+) ?(%d*)$')
        if version then
            n = {tonumber(version), tonumber(attempts), changed, end_ms ~= '' and end_ms or nil, text = text}
            fields_known.n[text] = n
        end
    end
    return n
end
-- The last one is kept: the tasks of a group have mostly come as far as each other.
local numbers_text
do
local last_version, last_attempts, last_has_ended, last_numbers
function numbers_text(version, attempts, has_ended)
    if version ~= last_version or attempts ~= last_attempts or has_ended ~= last_has_ended then
        last_numbers = I(version) .. ' ' .. I(attempts) .. ' ' .. NOW_TEXT .. (has_ended and ' ' .. NOW_TEXT or '')
        last_version, last_attempts, last_has_ended = version, attempts, has_ended -- behind what may raise
    end
    return last_numbers
end
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

-- End, '1' or '0', incarnation, holder.
local function task_hold(text)
    local l = fields_known.l[text]
    if not l and text then
        local ends, assigned, incarnation, holder = string.match(text, '^(%d+) ([01]) (%S*) (.*)$')
        if ends then
            l = {ends, assigned, incarnation, holder}
            fields_known.l[text] = l
        end
    end
    return l
end
local function hold_text(ends, assigned, incarnation, holder)
    return ends .. ' ' .. assigned .. ' ' .. incarnation .. ' ' .. holder
end

local task_read
do
-- A task of schema 1 of the data, in which each of these was a field of its own, becomes one of today: whoever comes upon one needs that,
-- and nobody sees a difference. Returns whether it is one now. Never raises.
local function convert(key)
    local names = {'v', 'at', 'up', 'en', 'pr', 'ma', 'mc', 'cr', 'ex', 'q', 'ho', 'hi', 'le', 'as'}
    local f = redis.pcall('HMGET', key, unpack(names))
    if f.err or not (f[1] and f[3] and f[5] and f[6] and f[8] and f[10]) then
        return false
    end
    local marks = f[9] or ''
    marks = (string.match(marks, '^%d') and '' or '0') .. marks .. 'o'
    local h = {'HSET', key, 'n', f[1] .. ' ' .. (f[2] or '0') .. ' ' .. f[3] .. (f[4] and ' ' .. f[4] or ''),
        'c', constants_text(f[5], f[6], f[7] or '3', f[8], marks, f[10])}
    if f[11] and f[13] then
        h[7], h[8] = 'l', hold_text(f[13], f[14] and '1' or '0', f[12] or '', f[11])
    end
    if not task_numbers(h[4]) or not task_constants(h[6]) or h[8] and not task_hold(h[8]) then
        return false -- damaged, as it was
    end
    call(unpack(h))
    call('HDEL', key, unpack(names))
    return true
end

-- The fields of a task, of which the first one asked for is `c`. What is no hash has no fields. Never raises.
function task_read(key, fields)
    local t = redis.pcall('HMGET', key, unpack(fields))
    if not t[1] and convert(key) then
        t = redis.pcall('HMGET', key, unpack(fields))
    end
    return t
end
end

-- The field n behind a change of the task, which may end it; `attempts`: nil = as they are.
local function numbers_changed(key, attempts, has_ended)
    local n = task_numbers(call('HGET', key, 'n')) or {0, 0}
    return numbers_text(n[1] + 1, attempts or n[2], has_ended)
end

-- The task has something that its marks are to say.
local function task_mark(key, letter)
    local c = task_constants(task_read(key, {'c'})[1])
    if c and not string.find(c.marks, letter, 1, true) then
        call('HSET', key, 'c', constants_text(c[1], c[2], c[3], c[4], c.marks .. letter, c[6]))
    end
end
