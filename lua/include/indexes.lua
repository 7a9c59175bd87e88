-- indexes.lua: changes of the sets that list tasks, one command a set at the end of the call instead of one a task: of what
-- becomes of a task in one call only the last counts. For scripts of which no operation reads such a set, or writes it otherwise
-- for the same task, without index_flush() before. The types have been looked at by then (want()). Needs base.lua and a list
-- `before_finish`, of which the functions of task.lua count on these sets: so it is included behind task.lua.
local INDEX_WRITES = {zset = {'ZADD', 'ZREM'}, set = {'SADD', 'SREM'}}
local LEASES = P .. 'leases'
local index_keys, index_kinds = {}, {} -- in the order of their first change; by key
local index_ids, index_values = {}, {} -- by key: tasks in the order of their first change; what becomes of each

-- `value`: the task's score, or true in a set; false: it goes.
local function index_change(kind, key, id, value)
    local ids, values = index_ids[key], index_values[key]
    if not ids then
        ids, values = {}, {}
        index_ids[key], index_values[key], index_kinds[key] = ids, values, kind
        index_keys[#index_keys + 1] = key
    end
    if values[id] == nil then
        ids[#ids + 1] = id
    end
    values[id] = value
end

-- Writes what is to become of one set; nothing, when there is nothing.
local function index_flush(key)
    local ids, values = index_ids[key], index_values[key]
    if not ids then
        return
    end
    index_ids[key], index_values[key] = nil, nil
    local there, gone, n = {}, {}, 0
    for i = 1, #ids do
        local value = values[ids[i]]
        if not value then
            gone[#gone + 1] = ids[i]
        else
            if value ~= true then
                n = n + 1
                there[n] = value
            end
            n = n + 1
            there[n] = ids[i]
        end
    end
    local write = INDEX_WRITES[index_kinds[key]]
    if #gone > 0 then -- first: a short set is searched from end to end
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
