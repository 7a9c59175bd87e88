#!lua flags=allow-oom
-- hook_decide: makes a decision known that the worker has made: the reply, the record in the audit trail, an event when it was
-- a refusal; and keeps one that was dear. What it adds to Redis is capped, so memory that is full stops no agent.
-- KEYS  the envelope's; operation: cb:stream:audit; request: cb:cache:hook:<hash>, or none
-- ARGV  operation: limits.audit_entries
--       request: kind of the record, result (JSON), record (JSON), decision, tool, rule; with a key: TTL ms, what to keep
-- Returns as the envelope. Caller: worker, hook.pre_tool and hook.user_prompt.
-- @include envelope.lua
-- @include audit.lua

function op(r)
    local a, cached = r.a, r.form.nkeys > 0 and KEYS[r.k + 1]
    local kind, result, record, decision = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
    audit_want()
    want('stream', EVENTS)
    audit_add(kind, record)
    if decision == 'deny' then
        emit('hook.denied', {'method', kind, 'tool', ARGV[a + 5], 'rule', ARGV[a + 6]})
    end
    if cached then
        call('SET', cached, ARGV[a + 8], 'PX', ARGV[a + 7])
    end
    return result
end
-- @include commit.lua
