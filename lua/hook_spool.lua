#!lua flags=allow-oom
-- hook_spool: adds to the audit trail what clients decided by themselves while no daemon answered.
-- KEYS  the envelope's; operation: cb:stream:audit
-- ARGV  operation: limits.audit_entries
--       request: the records (JSON), at most 100
-- Returns as the envelope. Caller: worker, hook.spool.
-- @include envelope.lua
-- @include audit.lua

function op(r)
    local n = r.form.nargs
    audit_want()
    for i = 1, n do
        audit_add('hook.local', ARGV[r.a + i], true)
    end
    return '{"recorded":' .. I(n) .. '}'
end
-- @include commit.lua
