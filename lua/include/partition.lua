-- partition.lua: the partitions that an event goes to. Needs base.lua. For emit.lua.
--
-- A task may have a partition: a name, kept in its field pn. What happens to it is told twice: in cb:stream:events, and under
-- the same entry id in cb:partition:<name>, so that whoever follows one partition reads nothing else, in the same order. An
-- event about several tasks comes to each partition with the ids of its own. cb:meta says in `partitions` that there has been
-- such a task; without it nobody looks for names. cb:partitions has the names by the time of their last event (wall ms): the
-- stream of the oldest one goes when there are too many, as each goes by itself an hour after its last event. An event that
-- a user publishes names its partition itself.
local partitions
do
local made

function partitions()
    if made then
        return made
    end
    local ENTRIES, KEEP_S, NAMES, STEP = '1000', 3600, 10000, 10
    local PARTITIONS = P .. 'partitions'
    local names = {} -- by task id, as far as this call knows them; '' = none

    local function partition_key(name)
        return P .. 'partition:' .. name
    end

    local function name_of(id)
        local name = names[id]
        if not name then
            name = redis.pcall('HGET', task_key(id), 'pn')
            name = type(name) == 'string' and name or ''
            names[id] = name
        end
        return name
    end

    -- A task begins: the first one of all has the others looked at from now on. Or it is about to go, with its hash.
    local function begin(id, name)
        names[id] = name
        if not meta_read()[5] then
            call('HSET', META, 'partitions', '1')
            meta[5] = '1'
        end
    end

    -- The partitions of the tasks that an event tells of, or nil: their names, and the ids of each.
    local function plan(entry)
        if entry[5] ~= 'id' and entry[5] ~= 'ids' then
            return nil
        end
        local found, count = {names = {}, ids = {}}, 0
        for id in string.gmatch(entry[6], '%S+') do
            local name = name_of(id)
            count = count + 1
            if name ~= '' then
                if not found.ids[name] then
                    found.names[#found.names + 1] = name
                    found.ids[name] = {}
                end
                table.insert(found.ids[name], id)
            end
        end
        local first = found.names[1]
        found.only = #found.names == 1 and #found.ids[first] == count and first or nil
        return first and found
    end

    -- The streams that there are: this one is the youngest.
    local function keep(name)
        if call('ZADD', PARTITIONS, NOW, name) == 0 then
            return
        end
        call('ZREMRANGEBYSCORE', PARTITIONS, '-inf', '(' .. I(NOW - 1000 * KEEP_S))
        local over = math.min(STEP, call('ZCARD', PARTITIONS) - NAMES)
        local oldest = over > 0 and call('ZPOPMIN', PARTITIONS, over) or {}
        for i = 1, #oldest, 2 do
            call('UNLINK', partition_key(oldest[i]))
        end
    end

    -- `event` is the id of the event. A stream that has a later one (a Redis that lost some of its data) goes on behind that;
    -- what is no stream is damage, and gives way: nothing may be raised here.
    local function write(found, event, entry)
        for _, name in ipairs(found.names) do
            local key = partition_key(name)
            local copy = {'XADD', key, 'MAXLEN', '~', ENTRIES, event, unpack(entry)}
            if found.ids then
                copy[12] = table.concat(found.ids[name], ' ') -- behind type, at, and the name of this field
            end
            if not has_type('stream', key) then
                redis.pcall('UNLINK', key)
                typed[key] = nil
            end
            if type(redis.pcall(unpack(copy))) == 'table' then
                copy[6] = '*'
                redis.pcall(unpack(copy))
            end
            redis.pcall('EXPIRE', key, KEEP_S)
            pcall(keep, name)
        end
    end

    made = {index = PARTITIONS, key = partition_key, begin = begin, name_of = name_of, plan = plan, write = write}
    return made
end
end
