-- history.lua: the attempts of a task that came to nothing, the last ten, one JSON object per line of the field hy. What a
-- completion adds is read off the other fields when the history is shown, so that it costs a completion nothing.
-- Needs task.lua.
local HISTORY_MAX = 10

-- The wall ms at which a lease began: its token's number is the microsecond of the claim.
local function history_start(token)
    return math.floor(tonumber(string.match(token or '', '^(%d+)')) / 1000)
end

local function history_entry(attempt, worker, token, ended, outcome, more)
    return '{"attempt":' .. attempt .. ',"worker":' .. S(worker) .. ',"startedAt":' .. ISO(history_start(token))
        .. ',"endedAt":' .. ISO(ended) .. ',"outcome":"' .. outcome .. '"' .. (more or '') .. '}'
end

-- The attempt that ends now. `t` as lease_read() gives it; `error_json` and `signal` may be ''.
local function history_add(id, t, outcome, error_json, signal)
    if not t.token or not t.holder then
        return
    end
    local key = task_key(id)
    local more = error_json ~= '' and ',"error":' .. error_json or ''
    if signal ~= '' then
        more = more .. ',"signal":"' .. signal .. '"'
    end
    local lines = {history_entry(I(t.attempts), t.holder, t.token, NOW, outcome, more)}
    for line in string.gmatch(call('HGET', key, 'hy') or '', '[^\n]+') do
        if #lines < HISTORY_MAX then
            lines[#lines + 1] = line
        end
    end
    call('HSET', key, 'hy', table.concat(lines, '\n')) -- the latest first
end

-- The whole task as everybody may see it, with the attempts in the order of their ends, or nil.
local function task_json(id, key)
    local t = task_read(key, TASK_PUBLIC)
    if t.err then
        error(t)
    elseif not t[1] then
        return nil
    end
    local lines = {}
    for line in string.gmatch(t[18] or '', '[^\n]+') do
        table.insert(lines, 1, line)
    end
    local s = task_state(t[1])
    local worker, token = s.hold and s.hold[4], t[21] -- those of a completed task, or, from an earlier version:
    if not token then
        worker, token = t[19], t[20]
    end
    if s.status == 'completed' and worker and token and s[4] then
        lines[#lines + 1] = history_entry(s[2], worker, token, s[4], 'completed')
    end
    local attempts = #lines > 0 and ',"attempts":[' .. table.concat(lines, ',') .. ']' or ''
    return task_text(id, t, attempts)
end
