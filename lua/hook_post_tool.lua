#!lua flags=allow-oom
-- hook_post_tool: records what came of a tool call, and counts calls of one tool in a session that fail one after the other.
-- KEYS  the envelope's; operation: cb:hooks:failures, cb:stream:audit
-- ARGV  operation: hooks.alert_after, hooks.alert_window_ms, limits.audit_entries
--       request: result without its closing brace (JSON), record (JSON), class, tool, text for the agent ('' = none)
-- Returns as the envelope. Caller: worker, hook.post_tool.
--
-- One hash for all: a field is the hash of session (or actor) and tool, its value "failures in a row:wall ms of the last".
-- Names that callers choose never become keys, and there are at most FAILURES_MAX fields.
-- @include envelope.lua
-- @include audit.lua
local FAILURES = op_key(1)
local ALERT_AFTER, WINDOW = tonumber(op_arg(1)), tonumber(op_arg(2))
local FAILURES_MAX = 10000

-- How often it has failed in a row, this time included.
local function failure_add(field)
    local value = call('HGET', FAILURES, field)
    local n, at = string.match(value or '', '^(%d+):(%d+)$')
    n = at and NOW - tonumber(at) <= WINDOW and tonumber(n) + 1 or 1
    if not value and call('HLEN', FAILURES) >= FAILURES_MAX then
        call('HDEL', FAILURES, unpack(call('HRANDFIELD', FAILURES, 10)))
    end
    call('HSET', FAILURES, field, I(n) .. ':' .. NOW_TEXT)
    call('PEXPIRE', FAILURES, I(WINDOW))
    return n
end

function op(r)
    local a = r.a
    local class, tool, text = ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
    local caller = caller_of(r)
    local whose = caller.session ~= '' and 's' .. caller.session or 'a' .. caller.actor
    local field = redis.sha1hex(whose .. '\0' .. tool)
    audit_want()
    want('hash', FAILURES)
    want('stream', EVENTS)
    local failures = 0
    if class == 'error' then
        failures = failure_add(field)
    elseif class == 'ok' then
        call('HDEL', FAILURES, field)
    end
    local alert = ALERT_AFTER > 0 and failures > 0 and failures % ALERT_AFTER == 0
    audit_add('hook.post_tool', ARGV[a + 2])
    if alert then
        emit('hook.alert', {'tool', tool, 'failures', I(failures)})
        text = text .. (text == '' and '' or '\n') .. tool .. ' has failed ' .. I(failures) .. ' times in a row.'
    end
    return ARGV[a + 1] .. ',"failures":' .. I(failures) .. ',"alert":' .. tostring(alert)
        .. (text == '' and '' or ',"context":' .. S(text)) .. '}'
end
-- @include commit.lua
