#!lua flags=allow-oom
-- system_quorum_get: a decision: how it stands, and who voted for what.
-- KEYS  the envelope's
-- ARGV  request: decision
-- Returns as the envelope. Caller: worker, system.quorum.get.
-- @include envelope.lua
-- @include quorum.lua

function op(r)
    local id = ARGV[r.a + 1]
    local q = quorum_read(id)
    if not q then
        return nil, -32004, 'no such decision', '{"reason":"unknown"}'
    end
    local votes, missing = {}, {}
    for i = 1, #q.members do
        if q.votes[i] then
            votes[#votes + 1] = '{"instanceId":' .. S(q.members[i]) .. ',"value":' .. q.votes[i] .. '}'
        else
            missing[#missing + 1] = S(q.members[i])
        end
    end
    return '{' .. quorum_members(id, q) .. ',"role":"' .. q.role .. '","openedAt":' .. ISO(q.opened)
        .. (q.closed and ',"closedAt":' .. ISO(q.closed) or '') .. ',"votes":[' .. table.concat(votes, ',')
        .. '],"missing":[' .. table.concat(missing, ',') .. ']}'
end
-- @include commit.lua
