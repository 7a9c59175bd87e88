#!lua
-- system_quorum_vote: a member's vote on a decision, which the first vote opens.
-- KEYS  the envelope's
-- ARGV  request: decision, instance, incarnation ('' = any), value (JSON), role ('' = the decision's, or voter),
--       timeout_ms (counts when this vote opens the decision)
-- Returns as the envelope. Caller: worker, system.quorum.vote.
-- @include envelope.lua
-- @include task.lua
-- @include roles.lua
-- @include quorum.lua
local OPEN_MAX = 10000

local function place_of(voter, members)
    for i = 1, #members do
        if members[i] == voter then
            return i
        end
    end
    return nil
end

-- A decision that is not there yet: its electorate is who is registered with the role now.
local function draft(role, timeout)
    local members = call('SRANDMEMBER', role_members_key(role), QUORUM_MEMBERS + 1)
    if #members > QUORUM_MEMBERS then
        return conflict('state', 'closed', 'more than ' .. QUORUM_MEMBERS .. ' instances have the role')
    end
    if call('ZCARD', P .. 'quorum:open') >= OPEN_MAX then
        return nil, -32007, 'too many decisions are open', '{"retry_after_ms":1000}'
    end
    local q = {status = 'open', role = role, members = members, votes = {}, is_new = true, ends = I(NOW + timeout),
        deadline = EFF() + timeout}
    quorum_tally(q)
    return q
end

-- May this one vote? Returns its place in the electorate, or nil and the error.
local function voter_check(q, voter, incarnation, role)
    if role ~= '' and role ~= q.role then
        return conflict('state', q.status, 'the decision was opened for the role ' .. q.role)
    end
    local place = place_of(voter, q.members)
    if not place then
        return nil, -32002, 'the instance is not in the electorate', '{"role":"' .. q.role .. '"}'
    end
    local known = call('HMGET', instance_key(voter), 'st', 'inc')
    if known[1] ~= 'ACTIVE' then
        return nil, -32004, 'the instance has ended: register again', '{"reason":"expired"}'
    end
    if incarnation ~= '' and incarnation ~= known[2] then
        return conflict('stale_incarnation', 'ACTIVE', 'the instance was registered again')
    end
    return place
end

local function open(id, q, voter)
    local key = quorum_key(id)
    call('HSET', key, 'st', 'open', 'role', q.role, 'who', table.concat(q.members, '\n'), 'op', I(NOW), 'en', q.ends,
        'de', I(q.deadline))
    call('ZADD', P .. 'quorum:open', I(q.deadline), id)
    emit('quorum.opened', {'decision', id, 'role', q.role, 'electorate', I(#q.members), 'instance', voter})
end

local function answer(id, q, voted)
    return '{"voted":' .. tostring(voted) .. ',' .. quorum_members(id, q) .. '}'
end

function op(r)
    local a = r.a
    local id, voter, incarnation, value, role = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
    want('stream', EVENTS)
    quorum_want(id)
    local q = quorum_read(id)
    if q and q.status == 'open' and q.deadline <= EFF() then
        quorum_time_over(id, q, emit)
    end
    if q and q.status ~= 'open' then
        return answer(id, q, false)
    end
    local place, code, message, data
    if not q then
        want('set', role_members_key(role ~= '' and role or 'voter'))
        q, code, message, data = draft(role ~= '' and role or 'voter', tonumber(ARGV[a + 6]))
        if not q then
            return nil, code, message, data
        end
    end
    place, code, message, data = voter_check(q, voter, incarnation, role)
    if not place then
        return nil, code, message, data
    end
    if q.is_new then
        open(id, q, voter)
    end
    call('HSET', quorum_key(id), 'v:' .. voter, value)
    q.votes[place] = value
    quorum_tally(q)
    if q.most >= q.need then
        quorum_close(id, q, 'decided', emit)
    end
    return answer(id, q, true)
end
-- @include commit.lua
