#!lua flags=allow-oom
-- task_complete: accepts the result of a task from the holder of its lease, and may claim the next ones.
-- KEYS  the envelope's; request: the task
-- ARGV  operation: task.lease_ms, the four of include/retention.lua, task.deny_ms, task.assignment
--       request: task id, lease token ('' = none), worker id ('' = none), result (JSON or ''), and with `next` the two of
--       include/claim.lua
-- Returns as the envelope. Caller: worker, task.complete.
-- @include envelope.lua
-- @include task.lua
-- @include lease.lua
-- @include dependents.lua
-- @include retention.lua
-- @include complete_group.lua
local LEASE_MS, DENY_MS, PULLS = op_arg(1), tonumber(op_arg(6)), op_arg(7) ~= 'push'
-- @include claim.lua

-- The first three are, together, the outcome without its last brace, and the name of the tasks.
local function complete_result(first, id, rest, tasks, is_paused)
    tasks[2], tasks[3], tasks[4], tasks[#tasks + 1] = first, id, rest, is_paused and '],"paused":true}' or ']}'
    return tasks
end

-- What follows the id in the outcome of a completion now.
local TASKS = ',"tasks":['
local COMPLETED = string.sub(completed_json('', NOW_TEXT), 8, -2) .. TASKS

local NEXT_AT = 4 -- behind which the arguments of `next` begin, if there are any

local TOLD = {'worker', 'attempt', 'queue'} -- of a task.completed
local function complete_task(id, key, t, result)
    complete(id, key, t, result)
    emit_together('task.completed', 'id', id, TOLD, t.holder, I(t.state[2] or 0), t.queue)
end

function op(r)
    local a, key = r.a, KEYS[r.k + 1]
    local id, token, worker = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
    local w = r.form.nargs > NEXT_AT and claimant(ARGV[a + NEXT_AT + 1])
    local t = lease_read_short(key)
    if not t then
        return not_found(id)
    end
    if w then
        local ok, code, message, data = claimant_check(w)
        if not ok then
            return nil, code, message, data
        end
    end
    local verdict, code, message, data = lease_check(t, 'complete', token, worker)
    if not verdict then
        return nil, code, message, data
    end
    if w then
        claim_want(w)
    end
    local outcome = t.outcome
    if verdict == 'go' then
        if token == '' then
            events_tell() -- it may be one that this group has leased: only so, since nobody knows its token yet
        end
        complete_want()
        lease_want(t)
        ended_want(id, t, #ARGV[a + 4])
        complete_task(id, key, t, ARGV[a + 4])
    end
    if not w then
        return outcome or completed_json(id, NOW_TEXT), not outcome and r.scope and '' or nil
    end
    local tasks, memo, is_paused = claim_take(w, ARGV[a + NEXT_AT + 2])
    if not outcome then -- not needed by itself, and a text more to look up (task_put()): a repeat makes it of the time of the record
        return complete_result('{"id":"', id, COMPLETED, tasks, is_paused), r.scope and table.concat(memo, ' ')
    end
    return complete_result(string.sub(outcome, 1, -2), '', TASKS, tasks, is_paused), r.scope and outcome .. '\n' .. table.concat(memo, ' ')
end

-- The memo: ids and tokens of what was claimed, behind the outcome if that was of an earlier completion; that of this one has the time of the record.
function op_replay(r, memo, at)
    local outcome, claimed = string.match(memo, '^([^\n]*)\n(.*)$')
    outcome = outcome or completed_json(ARGV[r.a + 1], at)
    if r.form.nargs == NEXT_AT then
        return outcome
    end
    local tasks = claim_again(claimed or memo)
    return complete_result(string.sub(outcome, 1, -2), '', TASKS, tasks)
end
-- @include commit.lua
