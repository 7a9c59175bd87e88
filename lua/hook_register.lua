#!lua
-- hook_register: puts a rule file into the chain of an event, or changes its place there.
-- KEYS  the envelope's; operation: cb:stream:audit; request: cb:hooks:<event>
-- ARGV  operation: limits.audit_entries
--       request: name, event, priority, file, element (JSON), result without its closing brace (JSON), record (JSON)
-- Returns as the envelope. Caller: worker, hook.register.
-- @include envelope.lua
-- @include audit.lua
-- @include hooks.lua

function op(r)
    local key, a = KEYS[r.k + 1], r.a
    local name, event, priority, file, element = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
    audit_want()
    want('zset', key)
    want('hash', META)
    want('stream', EVENTS)
    local old, score, n = hooks_find(key, name)
    if not old and n >= HOOKS_MAX then
        return nil, -32007, 'the chain is full', '{"reason":"chain","members":' .. I(n) .. ',"retry_after_ms":60000}'
    end
    local is_same = old == element and tonumber(score) == -tonumber(priority)
    if not is_same then
        if old then
            call('ZREM', key, old)
        end
        call('ZADD', key, I(-tonumber(priority)), element)
        hooks_changed()
        emit('hook.registered', {'name', name, 'event', event, 'priority', priority, 'file', file})
    end
    audit_add('hook.register', ARGV[a + 7])
    return ARGV[a + 6] .. ',"replaced":' .. tostring(old ~= nil and not is_same) .. ',"members":'
        .. I(old and n or n + 1) .. '}'
end
-- @include commit.lua
