-- dependents.lua: tasks that wait for others to end (after[]), and unique keys: what a task's end means to others.
-- Needs task.lua.
--
-- A blocked task lists the ids that it waits for in its field af, and is in cb:task:<id>:dependents of each. When a task
-- ends, that set is taken from it, as cb:dependents:<number>, and a line "<number> <id> <how it ended>" is put at the end of
-- cb:dependents:due; run() works the lines off, STEP tasks per script call, at the end of the call that ended the task and
-- in each tick. A chain that fails comes back to the same list.
--
-- A task's marks (task_fields.lua) say what few have, so that the others pay nothing for it.
--
-- All of it is made when it is first needed. By EVALSHA each function costs each call; by FCALL only those inside such a maker do.
local SMALL_BYTES = 512
local dependents_made

local function dependents()
    if dependents_made then
        return dependents_made
    end
    local STEP = 100
    local DEPENDENTS_DUE = P .. 'dependents:due'
    local is_left = false -- has this call put something on the list?

    local function dependents_key(id)
        return task_key(id) .. ':dependents'
    end
    local function unique_key(queue, key)
        return P .. 'unique:' .. queue .. ':' .. key
    end

    local function has_mark(t, mark)
        return t.extra and string.find(t.extra, mark, 1, true)
    end

    -- Said before the first write: what ended() writes has the right types. `bytes` = of result or error.
    local function want_ended(id, t, bytes)
        if bytes > SMALL_BYTES or t.extra then
            want('hash', P .. 'tasks:large')
        end
        if has_mark(t, 'u') then
            want('string', unique_key(t.queue, call('HGET', task_key(id), 'uk') or ''))
        end
        if has_mark(t, 'd') then
            want('set', dependents_key(id))
            want('list', DEPENDENTS_DUE)
        end
    end

    -- Those that wait for the task are told soon that it has `outcome`: completed, failed, cancelled or deleted.
    local function dependents_tell(id, outcome)
        if call('EXISTS', dependents_key(id)) == 1 then
            local number = I(next_number())
            call('RENAME', dependents_key(id), P .. 'dependents:' .. number)
            call('RPUSH', DEPENDENTS_DUE, number .. ' ' .. id .. ' ' .. outcome)
            is_left = true
        end
    end

    -- The live task that has the key, or nil. (A key that its task has left behind, in a Redis that lost data, is nobody's.)
    local function unique_holder(key)
        local id = call('GET', key)
        local status = id and task_status(id)
        if status and not ENDED[status] then
            return id, status
        end
    end

    local function unique_release(id, queue)
        local key = call('HGET', task_key(id), 'uk')
        if key and call('GET', unique_key(queue, key)) == id then
            call('DEL', unique_key(queue, key))
        end
    end

    -- What else there is to do for a task that ends; `outcome` as above. Of finished tasks that are kept, the bytes beyond
    -- the usual are counted.
    local function tell_ended(id, t, outcome, bytes)
        if t.extra then
            bytes = bytes + tonumber(string.match(t.extra, '^%d+') or '0')
        end
        if bytes > SMALL_BYTES and outcome ~= 'deleted' then
            call('HSET', P .. 'tasks:large', id, bytes)
            count_large(outcome, bytes)
        end
        if has_mark(t, 'u') then
            unique_release(id, t.queue)
        end
        if has_mark(t, 'd') then
            dependents_tell(id, outcome)
        end
    end

    -- Failed for good, from the state `t.status`: dead until task.retry or until it is too old. `why` is told as dead_reason.
    local function to_dead(id, t, reason_json, why)
        local key = task_key(id)
        call('HSET', key, 's', state_changed(key, 'failed'), 'de', '1', 'dr', why, 'err', reason_json)
        call('ZADD', P .. 'tasks:failed', NOW, id)
        call('ZADD', P .. 'queue:dead', NOW, id)
        count_move(t.queue, t.status, 'failed')
        tell_ended(id, t, 'failed', #reason_json)
    end

    -- The ids but `gone`.
    local function ids_without(ids, gone)
        local rest = {}
        for id in string.gmatch(ids, '%S+') do
            if id ~= gone then
                rest[#rest + 1] = id
            end
        end
        return table.concat(rest, ' ')
    end

    -- A blocked task waits for nobody any more; `waiting_for` = its field af. Returns for how many it did.
    local function unblock_index(id, waiting_for)
        local n = 0
        for dependency in string.gmatch(waiting_for, '%S+') do
            call('SREM', dependents_key(dependency), id)
            n = n + 1
        end
        call('ZREM', P .. 'queue:blocked', id)
        call('HDEL', task_key(id), 'af', 'of')
        return n
    end

    -- Everything that it waited for has been met.
    local function unblock(id, t, due)
        unblock_index(id, '')
        if due and tonumber(due) > NOW then
            local key = task_key(id)
            call('HSET', key, 's', state_changed(key, 'delayed'))
            call('ZADD', P .. 'queue:delayed', due, id)
            count_move(t.queue, 'blocked', 'delayed')
        else
            call('HDEL', task_key(id), 'du')
            to_pending(id, t.queue, t.priority, t.roles, t.attempts, 'blocked')
        end
    end

    local GONE = {failed = 'failed', cancelled = 'was cancelled', deleted = 'is gone'}

    -- Tells one blocked task that `dependency` has ended. Returns what it cost, and `unblocked`, `failed` or nil.
    local function dependent_tell(id, dependency, outcome)
        local f = task_read(task_key(id), {'s', 'c', 'ro', 'af', 'of', 'du'})
        local s, c = task_state(f[1]), task_constants(f[2])
        local waits, on_failure = f[4], f[5]
        if not s or s.status ~= 'blocked' or not waits or not string.find(' ' .. waits .. ' ', ' ' .. dependency .. ' ', 1, true) then
            return 1
        elseif not s[1] then
            error({err = 'DAMAGED ' .. task_key(id)})
        end
        local t = {status = 'blocked', queue = c[6], priority = c[1], roles = f[3] or '', attempts = s[2], extra = c[5]}
        want_queue(t.queue, t.roles)
        want_ended(id, t, 0)
        if outcome ~= 'completed' and on_failure == 'block' then -- it waits for a retry, as long as there can be one
            local now = task_status(dependency)
            if now and now ~= 'completed' then
                call('SADD', dependents_key(dependency), id)
                return 1
            end
            outcome = now or 'deleted'
        end
        local rest = ids_without(waits, dependency)
        if outcome ~= 'completed' and on_failure ~= 'ignore' then
            local cost = 1 + unblock_index(id, rest)
            call('HDEL', task_key(id), 'du')
            to_dead(id, t, S('the task ' .. dependency .. ' that it waited for ' .. GONE[outcome]), 'dependency')
            return cost, 'failed'
        elseif rest ~= '' then
            call('HSET', task_key(id), 'af', rest)
            return 1
        end
        unblock(id, t, f[6])
        return 1, 'unblocked'
    end

    -- Works off the list, about `limit` tasks. What cannot be told (a damaged key) is tried again later, behind the others.
    -- Returns how many were told.
    local function run(limit)
        local told, left, kinds, problem = 0, limit, {unblocked = {}, failed = {}}, nil
        if call('EXISTS', DEPENDENTS_DUE) == 0 then
            return 0
        end
        want_moves()
        for _, name in ipairs({'queue:delayed', 'queue:blocked', 'tasks:failed', 'queue:dead'}) do
            want('zset', P .. name)
        end
        while left > 0 do
            local line = call('LINDEX', DEPENDENTS_DUE, 0)
            if not line then
                break
            end
            local number, dependency, outcome = string.match(line, '^(%d+) (%S+) (%S+)$')
            local key, done = P .. 'dependents:' .. number, {}
            local ids = call('SRANDMEMBER', key, left)
            for i = 1, #ids do
                local ok, cost, kind = pcall(dependent_tell, ids[i], dependency, outcome)
                if not ok then
                    problem = problem or cost
                    left = left - 1
                else
                    done[#done + 1] = ids[i]
                    left = left - cost
                    if kind then
                        table.insert(kinds[kind], ids[i])
                    end
                end
                if left <= 0 then
                    break
                end
            end
            if #done > 0 then
                call('SREM', key, unpack(done))
                told = told + #done
            end
            if call('EXISTS', key) == 0 then
                call('LPOP', DEPENDENTS_DUE)
            elseif problem then
                call('LMOVE', DEPENDENTS_DUE, DEPENDENTS_DUE, 'LEFT', 'RIGHT')
                break
            end
        end
        if #kinds.unblocked > 0 then
            emit('task.unblocked', {'ids', table.concat(kinds.unblocked, ' ')})
        end
        if #kinds.failed > 0 then
            emit('task.failed', {'ids', table.concat(kinds.failed, ' '), 'dead', '1', 'reason', 'dependency'})
        end
        if problem then
            error(problem, 0)
        end
        return told
    end

    before_finish[#before_finish + 1] = function()
        if is_left then
            run(STEP)
        end
    end
    dependents_made = {want_ended = want_ended, tell_ended = tell_ended, tell = dependents_tell, run = run, key = dependents_key,
        to_dead = to_dead, unblock_index = unblock_index, unique_key = unique_key, unique_holder = unique_holder,
        has_mark = has_mark, GONE = GONE}
    return dependents_made
end

-- What every task's end comes by; `outcome` = completed, failed, cancelled or deleted, `bytes` = of its result or error. The
-- first one is said before the first write: what the second one writes has the right types.
local function ended_want(id, t, bytes)
    if t.extra or bytes > SMALL_BYTES then
        dependents().want_ended(id, t, bytes)
    end
end
local function ended(id, t, outcome, bytes)
    if t.extra or bytes > SMALL_BYTES then
        dependents().tell_ended(id, t, outcome, bytes)
    end
end
