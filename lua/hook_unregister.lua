#!lua flags=allow-oom
-- hook_unregister: takes a rule file out of the chain of an event.
-- KEYS  the envelope's; operation: cb:stream:audit; request: cb:hooks:<event>
-- ARGV  operation: limits.audit_entries
--       request: name, event, record (JSON)
-- Returns as the envelope. Caller: worker, hook.unregister.
-- @include envelope.lua
-- @include audit.lua
-- @include hooks.lua

function op(r)
    local key, name, event = KEYS[r.k + 1], ARGV[r.a + 1], ARGV[r.a + 2]
    audit_want()
    want('zset', key)
    want('hash', META)
    want('stream', EVENTS)
    local old, _, n = hooks_find(key, name)
    if not old then
        return nil, -32004, 'no such member', '{"reason":"unknown"}'
    end
    call('ZREM', key, old)
    hooks_changed()
    emit('hook.unregistered', {'name', name, 'event', event})
    audit_add('hook.unregister', ARGV[r.a + 3])
    return '{"unregistered":true,"members":' .. I(n - 1) .. '}'
end
-- @include commit.lua
