-- indexes.lua: changes of the sets that list tasks, one command a set at the end of the call instead of one a task: of what
-- becomes of a task in one call only the last counts. For scripts of which no operation reads such a set, or writes it otherwise
-- for the same task, without index_flush() before. The types have been looked at by then (want()). Needs base.lua and a list
-- `before_finish`, of which the functions of task.lua count on these sets: so it is included behind task.lua.
local INDEX_WRITES = {zset = {'ZADD', 'ZREM'}, set = {'SADD', 'SREM'}}
local LEASES = P .. 'leases'
local index_keys = {} -- in the order of their first change
local index_changes = {} -- key → kind, ids in the order of their first change, how many, and by id what becomes of it

-- `value`: the task's score, or true in a set; false: it goes.
local function index_change(kind, key, id, value)
    local changes = index_changes[key]
    if not changes then
        changes = {kind = kind, ids = {}, count = 0, values = {}}
        index_changes[key] = changes
        index_keys[#index_keys + 1] = key
    end
    local values = changes.values
    if values[id] == nil then
        local n = changes.count + 1
        changes.count, changes.ids[n] = n, id
    end
    values[id] = value
end

local function index_write(key, changes)
    local there, gone, n = {}, {}, 0
    local values = changes.values
    for i = 1, changes.count do
        local id = changes.ids[i]
        local value = values[id]
        if not value then
            gone[i - n] = id
        elseif value == true then
            n = n + 1
            there[n] = id
        else
            n = n + 1
            there[2 * n - 1], there[2 * n] = value, id
        end
    end
    local write = INDEX_WRITES[changes.kind]
    if #gone > 0 then -- first: a short set is searched from end to end
        call(write[2], key, unpack(gone))
    end
    if #there > 0 then
        call(write[1], key, unpack(there))
    end
end

local function index_flush()
    local keys, changes = index_keys, index_changes
    index_keys, index_changes = {}, {}
    for i = 1, #keys do
        index_write(keys[i], changes[keys[i]])
    end
end
before_finish[#before_finish + 1] = index_flush
