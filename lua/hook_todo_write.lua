#!lua
-- hook_todo_write: makes the tasks of a session say what its agent's list says: new ones are created, changed ones moved,
-- those that are on the list no more cancelled. What the list says again is left alone, whatever became of the task
-- meanwhile: only a change of the list is a wish.
-- KEYS  the envelope's
-- ARGV  operation: the four of include/retention.lua, task.max_pending, task.max_attempts, task.max_crashes
--       request: `list` (all that there is) or `one` (a change to one), the agent's event or '', 11 characters from the
--       kernel, how many lines follow, and of each: name, state ('' = as it is; cancelled = deleted), text (JSON; '' = not known), members of the task's metadata,
--       its member `description` ('' = as it is), and the priority of a new one
-- Returns as the envelope. Caller: worker, hook.todo_write.
-- @include envelope.lua
-- @include task.lua
-- @include create.lua
-- @include lease.lua
-- @include history.lua
-- @include leave.lua
-- @include retention.lua
-- @include complete.lua
-- @include cancel.lua
-- @include todos.lua
local MAX_PENDING, ATTEMPTS, CRASHES = tonumber(op_arg(5)), op_arg(6), op_arg(7)
local QUEUE = 'todo' -- of its own, so that nobody claims from it who was not told to
local ITEM_ARGS, ITEMS_MAX = 6, 100
local REMOVED = '"taken off the list"'
local LEASE_MS = TODO_TTL + 3600000 -- the tick ends the list before its leases

-- An instance's id has no control characters, and what is in progress names its holder.
local function todo_session(r)
    local session = caller_of(r).session
    if session ~= '' and not string.find(session, '[%z\1-\31\127]') and not string.find(session, '\194[\128-\159]') then
        return session
    end
    return nil, -32602, 'invalid params: the request names no session',
        '{"path":"session","expected":"the request\'s field `session`, without control characters","got":"'
            .. (session == '' and 'nothing' or 'control characters') .. '"}'
end

local function todo_names(text)
    local names = {}
    for name in string.gmatch(text or '', '%S+') do
        names[#names + 1] = name
    end
    return names
end

-- Reads what was said and made of each of `names`; `by_name` gets {said =, id =, token =}.
local function todo_read(list, names, by_name)
    if #names == 0 then
        return
    end
    local said = call('HMGET', list.key, unpack(names))
    local made = call('HMGET', list.mapping, unpack(names))
    for i = 1, #names do
        local id, token = string.match(made[i] or '', '^(t%-%d+) ?(%S*)$')
        if id then
            by_name[names[i]] = {said = said[i] or '', id = id, token = token}
        end
    end
end

local todo_plan
do
-- What is to be done so that the task says what the list says: create, start, complete, finish (start and complete), release,
-- cancel, kept (another worker has it, whose lease stands), or nil.
local function todo_move(item, t)
    local to = item.state
    if not t or ENDED[t.status] then
        return not (to == 'cancelled' or t and t.status == to) and 'create' or nil
    elseif to == 'cancelled' then
        return 'cancel'
    elseif t.status == 'in_progress' and t.token ~= item.token then
        return 'kept'
    elseif t.status == 'in_progress' then
        return to == 'pending' and 'release' or to == 'completed' and 'complete' or nil
    end
    return to == 'in_progress' and 'start' or to == 'completed' and 'finish' or nil
end

local function todo_metadata(r, session, item, description)
    local agent = caller_of(r).agent
    return '{"session":' .. S(session) .. (agent ~= '' and ',"agent":' .. S(agent) or '') .. item.more .. description .. '}'
end

-- The description that the metadata ends with, if it is ours: one string, and nothing behind it.
local function todo_description(metadata)
    local text = string.match(metadata or '', ',"description":"(.*)"}$')
    return text and not string.find(string.gsub(text, '\\.', ''), '"', 1, true) and ',"description":"' .. text .. '"' or ''
end

-- Everything that can keep a task from being created.
local function todo_plan_create(r, session, item, wanted)
    item.metadata = todo_metadata(r, session, item, item.description)
    item.create = {item.text, item.priority, QUEUE, '', item.metadata, ATTEMPTS, CRASHES, '', ''}
    want_queue(QUEUE, '')
    return create_check(item.create, 0, nil, MAX_PENDING, wanted)
end

-- What one line of the list asks for, and everything that can keep it from being done. Sets `move`, `task`, and `metadata` when
-- that is to be written. Returns true, or nil and the error.
function todo_plan(r, session, item, known, wanted)
    item.id, item.token, item.said = known and known.id, known and known.token, known and known.said
    local is_wish = item.state ~= '' and item.state ~= item.said
    local is_told = item.is_one and item.text ~= '' -- text and metadata may have changed, too
    item.state = item.state ~= '' and item.state or item.said or 'pending'
    if known and not is_wish and not is_told then
        return true
    end
    local t = item.id and lease_read(task_key(item.id))
    item.move = (is_wish or not known) and todo_move(item, t) or nil
    if item.move == 'create' then
        item.text = item.text ~= '' and item.text or t and call('HGET', task_key(item.id), 'text') or ''
        if item.text == '' then -- a change to something that nobody has told us of
            item.move = nil
            return true
        end
        return todo_plan_create(r, session, item, wanted)
    elseif t then
        if is_told and not ENDED[t.status] then
            local now = call('HMGET', task_key(item.id), 'text', 'meta')
            local description = item.description ~= '' and item.description or todo_description(now[2])
            local metadata = todo_metadata(r, session, item, description)
            item.metadata = (now[1] ~= item.text or now[2] ~= metadata) and metadata or nil
        end
        if item.metadata then
            want_whole(t)
        end
        item.task = t
        cancel_want(item.id, t, REMOVED)
        want_queue(t.queue, t.roles)
    end
    return true
end
end

local todo_do
do
local function todo_start(item, t, session, secret)
    local key, number = task_key(item.id), next_number()
    leave(item.id, t)
    t.token, t.holder, t.attempts, t.version = I(number) .. '-' .. secret, session, t.attempts + 1, t.version + 1
    t.state = task_state(state_text('in_progress', t.version, t.attempts, hold_text(I(NOW + LEASE_MS), '0', '', session)))
    call('HSET', key, 's', t.state.text, 'tk', t.token)
    call('ZADD', P .. 'leases', I(EFF() + LEASE_MS), item.id)
    call('SADD', held_key(session), item.id)
    load_change(session, 1)
    count_move(t.queue, t.status, 'in_progress')
    t.status, t.assigned, item.token = 'in_progress', nil, t.token
end

local function todo_complete(item, t)
    complete_write(item.id, task_key(item.id), t, '')
    unlist_held(item.id, t.holder, t.assigned)
    call('ZADD', P .. 'tasks:completed', NOW, item.id)
end

local function todo_release(item, t)
    unlease(item.id, t.holder, t.assigned)
    to_pending(item.id, t.queue, t.priority, t.roles, math.max(0, t.attempts - 1), 'in_progress')
    emit('task.released', {'id', item.id, 'worker', t.holder, 'queue', t.queue})
    item.token = ''
end

local function todo_rewrite(item, t)
    t.version = t.version + 1
    t.state = task_state(state_text(t.status, t.version, t.attempts, t.state.held))
    call('HSET', task_key(item.id), 's', t.state.text, 'text', item.text, 'meta', item.metadata)
    emit('task.updated', {'id', item.id, 'fields', 'text metadata', 'version', I(t.version)})
end

function todo_do(item, session, secret, told)
    local move, t = item.move, item.task
    if move == 'create' then
        item.id, item.token = create_task(item.create, 0), ''
        table.insert(told.created, item.id)
        if item.state ~= 'pending' then
            t = lease_read(task_key(item.id))
            move = item.state == 'in_progress' and 'start' or 'finish'
        end
    elseif move == 'cancel' then
        cancel(item.id, t, REMOVED)
        table.insert(told.cancelled, item.id)
        return
    elseif move == 'kept' then
        table.insert(told.kept, item.id)
    elseif move or item.metadata then
        table.insert(told.updated, item.id)
    end
    if item.metadata and item.move ~= 'create' then
        todo_rewrite(item, t)
    end
    if move == 'start' or move == 'finish' then
        todo_start(item, t, session, secret)
        table.insert(told.started, item.id)
    elseif move == 'release' then
        todo_release(item, t)
    end
    if move == 'complete' or move == 'finish' then
        todo_complete(item, t)
        table.insert(told.completed, item.id)
    end
end
end

-- The events: one for all that a list did of a kind.
local function todo_events(r, told, session)
    if #told.created > 0 then
        emit('task.created', {'ids', table.concat(told.created, ' '), 'queue', QUEUE})
    end
    if #told.started > 0 then
        emit('task.claimed', {'ids', table.concat(told.started, ' '), 'worker', session, 'queue', QUEUE})
    end
    if #told.completed > 0 then
        emit('task.completed', {'ids', table.concat(told.completed, ' '), 'worker', session, 'queue', QUEUE})
    end
    if #told.created + #told.updated + #told.cancelled > 0 then
        emit('todo.written', {'event', ARGV[r.a + 2], 'created', I(#told.created), 'updated', I(#told.updated), 'cancelled',
            I(#told.cancelled)})
    end
end

-- Writes down what the list says now. What is kept from us keeps its old state, so that the wish is tried again.
local function todo_save(list, items, names)
    local said, made, live, ended, gone = {'HSET', list.key}, {'HSET', list.mapping}, {}, {}, {'HDEL', list.key}
    for i = 1, #items do
        local item = items[i]
        if item.state == 'cancelled' then
            table.insert(gone, item.name)
        elseif item.id and item.move ~= 'kept' then
            table.insert(said, item.name)
            table.insert(said, item.state)
        end
        if item.id and item.state ~= 'cancelled' then
            table.insert(made, item.name)
            table.insert(made, item.id .. (item.token ~= '' and ' ' .. item.token or ''))
        end
        if item.id and (item.state == 'completed' or item.state == 'cancelled') and item.move ~= 'kept' then
            table.insert(ended, item.id)
        elseif item.id then
            table.insert(live, I(NOW + TODO_TTL))
            table.insert(live, item.id)
        end
    end
    if #gone > 2 then
        call(unpack(gone))
        gone[2] = list.mapping
        call(unpack(gone))
    end
    call('HSET', list.key, list.field, table.concat(names, ' '))
    if #said > 2 then
        call(unpack(said))
    end
    if #made > 2 then
        call(unpack(made))
    end
    if #live > 0 then
        call('ZADD', P .. 'todos', unpack(live))
    end
    if #ended > 0 then
        call('ZREM', P .. 'todos', unpack(ended))
    end
    call('PEXPIRE', list.key, TODO_TTL)
    call('PEXPIRE', list.mapping, TODO_TTL)
end

-- The lease of what is in progress is kept up by the list itself, when half of it is over.
local function todo_renew(item)
    if item.said == 'in_progress' and not item.move and item.token ~= '' then
        local t = task_read(task_key(item.id), {'s', 'tk'})
        local s = task_state(t[1])
        if t[2] == item.token and s and s.status == 'in_progress' and s.hold and tonumber(s.hold[1]) < NOW + LEASE_MS / 2 then
            extend_lease(item.id, s, nil, I(LEASE_MS))
        end
    end
end

local function todo_ids(ids)
    return #ids > 0 and '["' .. table.concat(ids, '","') .. '"]' or '[]'
end

-- The lines of the request.
local function todo_items(r, is_one)
    local items, at = {}, r.a + 4
    for i = 1, tonumber(ARGV[r.a + 4]) do
        items[i] = {name = ARGV[at + 1], state = ARGV[at + 2], text = ARGV[at + 3], more = ARGV[at + 4],
            description = ARGV[at + 5], priority = ARGV[at + 6], is_one = is_one}
        at = at + ITEM_ARGS
    end
    return items
end

-- Told one by one, there may come more than a session can have: the first one that has ended makes room. Returns true, or nil
-- and the error.
local function todo_room(items, names, known)
    if known[items[1].name] or #names < ITEMS_MAX then
        return true
    end
    for i = 1, #names do
        if not known[names[i]] or known[names[i]].said == 'completed' then
            items[2] = {name = table.remove(names, i), state = 'cancelled', is_dropped = true}
            return true
        end
    end
    return nil, -32007, 'the session has ' .. ITEMS_MAX .. ' tasks that have not ended', '{"retry_after_ms":60000}'
end

-- The names that the list has from now on.
local function todo_names_now(items, names, known, is_one)
    local out = {}
    for i = 1, is_one and #names or 0 do
        if names[i] ~= items[1].name or items[1].state ~= 'cancelled' then
            out[#out + 1] = names[i]
        end
    end
    for i = 1, is_one and 1 or #items do
        if items[i].id and items[i].state ~= 'cancelled' and not (is_one and known[items[i].name]) then
            out[#out + 1] = items[i].name
        end
    end
    return out
end

-- What was on the list and is no more.
local function todo_removed(items, names)
    local now = {}
    for i = 1, #items do
        now[items[i].name] = true
    end
    for i = 1, #names do
        if not now[names[i]] then
            items[#items + 1] = {name = names[i], state = 'cancelled', text = '', more = '', description = ''}
        end
    end
end

-- Said before the first write, like what todo_plan() says.
local function todo_want(session, list)
    want('hash', list.key)
    want('hash', list.mapping)
    want_moves()
    for _, set in ipairs({'leases', 'todos', 'tasks:completed', 'tasks:cancelled'}) do
        want('zset', P .. set)
    end
    want('hash', P .. 'tasks:large')
    want('set', held_key(session))
    EFF() -- it may find its clock damaged
end

local function todo_result(told)
    return '{"processed":true,"created":' .. todo_ids(told.created) .. ',"updated":' .. todo_ids(told.updated)
        .. ',"cancelled":' .. todo_ids(told.cancelled) .. (#told.kept > 0 and ',"kept":' .. todo_ids(told.kept) or '') .. '}'
end

function op(r)
    local session, code, message, data = todo_session(r)
    if not session then
        return nil, code, message, data
    end
    local is_one, secret = ARGV[r.a + 1] == 'one', ARGV[r.a + 3]
    local list = {key = P .. 'todos:' .. session, mapping = P .. 'mapping:todo-task:' .. session,
        field = is_one and 'tasks' or 'list'}
    todo_want(session, list)
    local items, known, wanted, ok = todo_items(r, is_one), {}, {}, true
    local names = todo_names(call('HGET', list.key, list.field))
    todo_read(list, names, known)
    if is_one then
        ok, code, message, data = todo_room(items, names, known)
    else
        todo_removed(items, names)
    end
    for i = 1, #items do
        if ok and not items[i].is_dropped then
            ok, code, message, data = todo_plan(r, session, items[i], known[items[i].name], wanted)
        end
    end
    if not ok then
        return nil, code, message, data
    end
    local told = {created = {}, updated = {}, cancelled = {}, kept = {}, started = {}, completed = {}}
    for i = 1, #items do
        todo_renew(items[i])
        todo_do(items[i], session, secret, told)
    end
    todo_events(r, told, session)
    if #names > 0 or items[1] and items[1].id then
        todo_save(list, items, todo_names_now(items, names, known, is_one))
    end
    if #told.created + #told.updated + #told.cancelled == 0 then
        return todo_result(told), false
    end
    return todo_result(told)
end

function after_group()
    local limits = retention_limits(op_arg, 1)
    if completed > 0 then
        retention_after('completed', completed, limits)
    end
    if cancelled > 0 then
        retention_after('cancelled', cancelled, limits)
    end
end
-- @include commit.lua
