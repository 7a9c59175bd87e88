-- indexes.lua: changes of the sets that list tasks, one command a set at the end of the call instead of one a task: of what
-- becomes of a task in one call only the last counts. For scripts of which no operation reads such a set, or writes it otherwise
-- for the same task, without index_flush() before. The types have been looked at by then (want()). Needs base.lua and a list
-- `before_finish`, of which the functions of task.lua count on these sets: so it is included behind task.lua.
local INDEX_WRITES = {zset = {'ZADD', 'ZREM'}, set = {'SADD', 'SREM'}}
local LEASES = P .. 'leases'
local index_keys, index_changes = {}, {} -- in the order of their first change; by key: kind, n, the tasks in that order, and what becomes of each

-- `value`: the task's score, or true in a set; false: it goes.
local function index_change(kind, key, id, value)
    local changes = index_changes[key]
    if not changes then
        changes = {kind = kind, n = 0, ids = {}, values = {}}
        index_changes[key] = changes
        index_keys[#index_keys + 1] = key
    end
    local values = changes.values
    if values[id] == nil then
        local n = changes.n + 1
        changes.n, changes.ids[n] = n, id
    end
    values[id] = value
end

-- Writes what is to become of one set; nothing, when there is nothing.
local function index_flush(key)
    local changes = index_changes[key]
    if not changes then
        return
    end
    index_changes[key] = nil
    local ids, values, there, gone, n, left = changes.ids, changes.values, {}, {}, 0, 0
    for i = 1, changes.n do
        local id = ids[i]
        local value = values[id]
        if not value then
            left = left + 1
            gone[left] = id
        else
            if value ~= true then
                n = n + 1
                there[n] = value
            end
            n = n + 1
            there[n] = id
        end
    end
    local write = INDEX_WRITES[changes.kind]
    if left > 0 then -- first: a short set is searched from end to end
        call(write[2], key, unpack(gone))
    end
    if n > 0 then
        call(write[1], key, unpack(there))
    end
end

before_finish[#before_finish + 1] = function()
    for i = 1, #index_keys do
        index_flush(index_keys[i])
    end
end
