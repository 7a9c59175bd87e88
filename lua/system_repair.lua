#!lua flags=allow-oom
-- system_repair: what system_audit found of a key and may be put right: an end is set, or a stream is trimmed to its cap, dead letters
-- also to their bytes. All is looked at again: what is as it should be by now stays as it is.
-- KEYS  the envelope's
-- ARGV  operation: the rows of common/keys_audit.def (include/keys_audit.lua)
--       request: number of keys, then family and name of each ('' = it is one key)
-- Returns as the envelope. Caller: worker, system.repair.
-- @include envelope.lua
-- @include keys_audit.lua
-- @include dead.lua

local function row_of(pattern)
    for n = 1, rows_count() do
        if op_arg((n - 1) * ROW + 1) == pattern then
            return row_at(n)
        end
    end
end

-- Requests are somebody's: they are never trimmed.
local function repair_key(row, name)
    local key = row_key(row, name)
    local problem = key_problem(row, key)
    if problem == 'no_ttl' or problem == 'long_ttl' then
        call('PEXPIRE', key, I(row.ttl))
    elseif row.pattern == 'stream:dead' and (problem == 'over_cap' or problem == 'over_bytes') then
        local before = call('XLEN', key)
        call('XTRIM', key, 'MAXLEN', '~', I(row.cap))
        dead_count(before - dead_trim(key, row.bytes))
    elseif problem == 'over_cap' and row.type == 'stream' and row.pattern ~= 'requests:%' then
        call('XTRIM', key, 'MAXLEN', '~', I(row.cap))
    else
        return 0
    end
    return 1
end

function op(r)
    local a, repaired = r.a + 1, 0
    for i = 0, tonumber(ARGV[a]) - 1 do
        local row = row_of(ARGV[a + 1 + 2 * i])
        if row then
            repaired = repaired + repair_key(row, ARGV[a + 2 + 2 * i])
        end
    end
    if repaired > 0 then
        emit('system.repaired', {'keys', I(repaired)})
    end
    return '{"repaired":' .. I(repaired) .. '}'
end
-- @include commit.lua
