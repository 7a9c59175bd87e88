#!lua flags=allow-oom
-- refuse: commits the error reply of requests that have no effect; those nobody can answer are kept in
-- cb:stream:dead. Any methods may be mixed in one group.
-- KEYS  the envelope's; operation: cb:stream:dead
-- ARGV  operation: limits.dead_entries
--       request: code, message, data (JSON), reason ('' = not for the dead stream), number of the
--       entry's fields × 2, the fields
-- Returns as the envelope. Caller: worker.
-- @include envelope.lua
local VALUES_MAX = 4000 -- of an entry's names and values in the dead stream: unpack() fails at 8000
local DEAD_BYTES = 262144 -- of one of them

function op(r)
    local a = r.a
    if ARGV[a + 4] ~= '' then
        local entry = {'XADD', op_key(1), 'MAXLEN', '~', op_arg(1), '*', 'reason', ARGV[a + 4], 'stream',
            STREAM, 'entry', ARGV[r.at + 1]}
        for i = 1, math.min(VALUES_MAX, tonumber(ARGV[a + 5])) do
            entry[#entry + 1] = string.sub(ARGV[a + 5 + i], 1, DEAD_BYTES)
        end
        call(unpack(entry))
    end
    return nil, tonumber(ARGV[a + 1]), ARGV[a + 2], ARGV[a + 3]
end

-- Only the operation itself could make its first result of a memo; a caller that is refused asks again.
function op_replay(r)
    return op(r)
end
-- @include commit.lua
