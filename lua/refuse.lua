#!lua flags=allow-oom
-- refuse: commits the error reply of requests that have no effect; those nobody can answer are kept in
-- cb:stream:dead. Any methods may be mixed in one group.
-- KEYS  the envelope's; operation: cb:stream:dead
-- ARGV  operation: limits.dead_entries, limits.dead_bytes
--       request: code, message, data (JSON), reason ('' = not for the dead stream), number of the
--       entry's fields × 2, the fields
-- Returns as the envelope, and what dead.lua's finish() says of those that made room. Caller: worker.
-- @include envelope.lua
-- @include dead.lua
local VALUES_MAX = 4000 -- of an entry's names and values in the dead stream: unpack() fails at 8000
local letters = dead_letters(op_key(1), op_arg(1), tonumber(op_arg(2)))

function op(r)
    local a = r.a
    if ARGV[a + 4] ~= '' then
        local problem = letters.add(ARGV[a + 4], STREAM, request_entry(r), ARGV, a + 5, math.min(VALUES_MAX, tonumber(ARGV[a + 5])))
        if problem then
            error(problem)
        end
    end
    return nil, tonumber(ARGV[a + 1]), ARGV[a + 2], ARGV[a + 3]
end

before_finish[1] = function()
    reply_more = letters.finish()
end

-- Only the operation itself could make its first result of a memo; a caller that is refused asks again.
function op_replay(r)
    return op(r)
end
-- @include commit.lua
