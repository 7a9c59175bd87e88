#!lua flags=allow-oom
-- system_batch_get: how far a batch is, and who works it off.
-- KEYS  the envelope's
-- ARGV  request: batch
-- Returns as the envelope. Caller: worker, system.batch.get.
-- @include envelope.lua
-- @include task.lua
-- @include batch.lua

function op(r)
    local id = ARGV[r.a + 1]
    local b = batch_read(id)
    if not b then
        return nil, -32004, 'no such batch', '{"reason":"unknown"}'
    end
    return '{' .. batch_members(id, b) .. ',"handedOut":' .. I(b.out) .. ',"isHeld":' .. tostring(batch_is_held(b))
        .. ',"openedAt":' .. ISO(b.opened) .. '}'
end
-- @include commit.lua
