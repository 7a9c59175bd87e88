#!lua flags=allow-oom
-- task_claim: leases the next tasks of a queue to a worker.
-- KEYS  the envelope's
-- ARGV  operation: task.lease_ms; request: the seven of include/claim.lua
-- Returns as the envelope. Caller: worker, task.claim.
-- @include envelope.lua
-- @include task.lua
local LEASE_MS = op_arg(1)
-- @include claim.lua

local function claim_result(tasks)
    if #tasks == 0 then
        return '{"claimed":false,"tasks":[]}'
    end
    return '{"claimed":true,"taskId":' .. string.match(tasks[1], '^{"id":("[^"]*")') .. ',"tasks":['
        .. table.concat(tasks, ',') .. ']}'
end

function op(r)
    local ok, code, message, data = claim_incarnation_error(r.a)
    if not ok then
        return nil, code, message, data
    end
    claim_want(r.a)
    local tasks, memo = claim_take(r.a)
    return claim_result(tasks), #tasks > 0 and memo
end

function op_replay(r, memo)
    return claim_result(claim_again(memo))
end
-- @include commit.lua
