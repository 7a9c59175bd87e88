-- quorum.lua: decisions by vote. Needs base.lua. A vote is counted and the quorum checked in one.
--
-- cb:quorum:decision:<id>: st open|decided|tied|expired; role; who = the electorate, ids joined by newlines (an id has no
-- control characters); v:<id> = the member's vote (JSON literal); op opened, en end as told, at outcome (wall ms);
-- de deadline (effective ms); fin = what was decided (JSON literal). Those that are open are in cb:quorum:open by deadline.
-- The electorate is fixed when the decision opens: who vanishes still counts, so that no minority decides.
local QUORUM_MEMBERS = 100
local QUORUM_KEPT_MS = 86400000

local function quorum_key(id)
    return P .. 'quorum:decision:' .. id
end

-- What quorum_close() writes has the right types: said before the first write.
local function quorum_want(id)
    want('hash', quorum_key(id))
    want('zset', P .. 'quorum:open')
    want('string', P .. 'quorum:decision:latest')
    want('hash', P .. 'quorum:result:' .. string.sub(ISO(NOW), 2, 11))
end

-- The votes, and what follows from them: `count` votes, `most` of them for `leader`, `need`ed for a decision;
-- `deadlocked`: even if all who are missing voted alike, nothing would be decided unless somebody changes their mind.
local function quorum_tally(q)
    local tally = {}
    q.count, q.most, q.leader = 0, 0, nil
    for i = 1, #q.members do
        local value = q.votes[i]
        if value then
            q.count = q.count + 1
            tally[value] = (tally[value] or 0) + 1
            if tally[value] > q.most then
                q.most, q.leader = tally[value], value
            end
        end
    end
    q.need = math.floor(#q.members / 2) + 1
    q.deadlocked = q.status ~= 'decided' and q.most + #q.members - q.count < q.need
end

-- A decision, or nil.
local function quorum_read(id)
    local key = quorum_key(id)
    local t = call('HMGET', key, 'st', 'role', 'who', 'op', 'en', 'de', 'at', 'fin')
    if not t[1] or not t[3] then
        return nil
    end
    local q = {status = t[1], role = t[2], members = {}, opened = t[4], ends = t[5], deadline = tonumber(t[6]),
        closed = t[7], final = t[8]}
    local fields = {}
    for member in string.gmatch(t[3], '[^\n]+') do
        q.members[#q.members + 1] = member
        fields[#fields + 1] = 'v:' .. member
    end
    q.votes = call('HMGET', key, unpack(fields))
    quorum_tally(q)
    return q
end

-- The outcome, once and for good. It is kept for a day under its own id.
local function quorum_close(id, q, status, emit_event)
    local key, result = quorum_key(id), P .. 'quorum:result:' .. string.sub(ISO(NOW), 2, 11)
    q.status, q.final, q.closed = status, status == 'decided' and q.leader or nil, NOW
    call('HSET', key, 'st', status, 'at', I(NOW))
    if q.final then
        call('HSET', key, 'fin', q.final)
    end
    call('PEXPIRE', key, QUORUM_KEPT_MS)
    call('ZREM', P .. 'quorum:open', id)
    call('SET', P .. 'quorum:decision:latest', id, 'PX', QUORUM_KEPT_MS)
    call('HSET', result, id, '{"status":"' .. status .. '","value":' .. (q.final or 'null') .. ',"at":' .. ISO(NOW) .. '}')
    call('PEXPIRE', result, 2 * QUORUM_KEPT_MS)
    emit_event('quorum.' .. status, {'decision', id, 'value', q.final or '', 'votes', I(q.count), 'electorate',
        I(#q.members)})
end

-- Its time is over: tied when the votes that were cast made a majority impossible, else expired for want of votes.
local function quorum_time_over(id, q, emit_event)
    quorum_close(id, q, q.deadlocked and 'tied' or 'expired', emit_event)
end

-- JSON members that every answer about a decision has, without the braces.
local function quorum_members(id, q)
    return '"decision":"' .. id .. '","status":"' .. q.status .. '","quorumReached":'
        .. tostring(q.status == 'decided') .. ',"finalDecision":' .. (q.final or 'null') .. ',"voteCount":'
        .. I(q.count) .. ',"electorate":' .. I(#q.members) .. ',"needed":' .. I(q.need) .. ',"deadlocked":'
        .. tostring(q.deadlocked) .. ',"endsAt":' .. ISO(q.ends)
end
