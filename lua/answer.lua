#!lua flags=allow-oom
-- answer: commits a reply that the worker made without an effect in Redis (system.health, discover).
-- KEYS  the envelope's
-- ARGV  request: the result (JSON)
-- Returns as the envelope. Caller: worker.
-- @include envelope.lua

function op(r)
    return ARGV[r.a + 1]
end
-- @include commit.lua
