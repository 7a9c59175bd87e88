#!lua flags=allow-oom
-- task_claim: leases the next tasks of a queue to a worker; when there are none, it may be parked until there are.
-- KEYS  the envelope's
-- ARGV  operation: task.lease_ms, task.deny_ms, limits.waiters, task.assignment; request: the two of
--       include/claim.lua, wait_ms
-- Returns as the envelope. Caller: worker, task.claim.
-- @include envelope.lua
-- @include task.lua
local LEASE_MS, DENY_MS, PULLS = op_arg(1), tonumber(op_arg(2)), op_arg(4) ~= 'push'
-- @include claim.lua
-- @include park.lua

local function claim_result(tasks, memo, is_paused)
    if #memo == 0 then
        return is_paused and '{"claimed":false,"tasks":[],"paused":true}' or '{"claimed":false,"tasks":[]}'
    end
    tasks[2], tasks[3], tasks[4], tasks[#tasks + 1] = '{"claimed":true,"taskId":"', memo[1], '","tasks":[', ']}'
    return tasks
end

function op(r)
    local w = claimant(ARGV[r.a + 1])
    local ok, code, message, data = claimant_check(w)
    if not ok then
        return nil, code, message, data
    end
    claim_want(w)
    local wait_ms = park_wait_ms(r)
    if wait_ms > 0 then
        park_want(w)
    end
    local tasks, memo, is_paused = claim_take(w, ARGV[r.a + 2])
    if #memo == 0 and wait_ms > 0 then
        return park(r, w, wait_ms, tonumber(op_arg(3)))
    elseif wait_ms > 0 then
        park_forget(r)
    end
    return claim_result(tasks, memo, is_paused), r.scope and #memo > 0 and table.concat(memo, ' ')
end

function op_replay(r, memo)
    return claim_result(claim_again(memo))
end
-- @include commit.lua
