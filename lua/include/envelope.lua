-- envelope.lua: the commit envelope, first half: the group's arguments (DESIGN §3).
-- Seed script: EXACTLY_ONCE_DELIVERY (an entry is processed XOR counted as a duplicate).
--
-- KEYS  1 the request stream   2 cb:stream:events   3 cb:duplicates:prevented   4 cb:clock   5 cb:meta
--       then K keys of the operation, M reply lists, and per request its own keys
-- ARGV  1 prefix with colon   2 N requests   3 M reply lists   4 K keys of the operation
--       5 C arguments of the operation   6 idempotency TTL ms   7 idempotency bytes cap
--       8 the policy for events (include/emit.lua)   9 G arguments of the gate   10… the C arguments, the G arguments
--       (include/gate.lua), then per request:
--       entry id, number of its reply list (0 = nobody waits), id as JSON, deadline (wall ms, 0 = none),
--       hash of the params (11 bytes, '' = no outcome is kept), actor, session, agent, trace, number of its
--       keys, number of its arguments, the arguments, and behind them, with a hash, the scope of the idempotency key
-- Returns { {code per request: 0 done, 1 replayed, 2 parked, 3 and 4 a claim that got nothing or something, -1 duplicate, else the error's code},
--           {number of the request (0: the group) and text of each internal error}, length of the stream [, what the script has set reply_more to] }
--
-- A script defines  local function op(r)  that returns the result's JSON [, memo], or nil, code, message, data
-- JSON. The result is a text, or, when it has a memo (which only a request with a scope needs), a list of texts, which commit.lua puts
-- together: the first place is left to it. `nil, PARKED` when there is no reply yet, and nothing to keep for a repeat. It checks everything before its
-- first write. With a memo it also defines op_replay(r, memo, wall ms of the first request), which makes the result
-- again. The memo `false` says that nothing was changed: then nothing is kept, and a repeat is handled like a first
-- request.
local P = ARGV[1]
-- @include base.lua
-- A function of its own for all that follows (commit.lua ends it): Lua allows 200 locals in one. (Where Redis takes no functions, tools/persist-lua.awk, and each
-- call makes all closures, it saves time as well: a closure gets what lies in a function around its own
-- for nothing, while of its own function's locals Lua looks each one up in a list of all that were captured before.)
return (function()
local STREAM, EVENTS = KEYS[1], KEYS[2]
local N, M, K, C = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local IDEM_TTL, IDEM_CAP, EVENTS_POLICY = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
-- @include emit.lua
local op, op_replay, after_group
local reply_more -- what the script's caller is to know beside that
local before_finish = {} -- functions that includes have called at the end of the group
local PARKED = 2

local function op_key(i)
    return KEYS[5 + i]
end
local function op_arg(i)
    return ARGV[9 + i]
end

-- The request being handled, for emit(); nil between requests.
local current

-- Who asks, '' when nobody says so. (Of r: include/commit.lua.)
local function request_actor(r)
    return ARGV[r.at + 6]
end

-- What an event says of the request that caused it: a flat list of names and values, kept while the requests of the
-- group say the same.
local CARRIED = {'actor', 'session', 'agent', 'trace'}
local carried, carried_from = {}, {}
local function carried_fields(first)
    if carried_from[1] ~= ARGV[first] or carried_from[2] ~= ARGV[first + 1] or carried_from[3] ~= ARGV[first + 2]
        or carried_from[4] ~= ARGV[first + 3] then
        carried = {}
        for i = 1, #CARRIED do
            local value = ARGV[first + i - 1]
            carried_from[i] = value
            if value ~= '' then
                carried[#carried + 1] = CARRIED[i]
                carried[#carried + 1] = value
            end
        end
    end
    return carried
end

-- Would their events carry the same?
local function same_caller(r, other)
    for i = 6, 9 do
        if ARGV[r.at + i] ~= ARGV[other.at + i] then
            return false
        end
    end
    return true
end

-- Appends an event at once.
local function emit_now(kind, fields)
    local entry, partition = event_entry(kind, fields)
    if current then
        local more, n = carried_fields(current.at + 6), #entry
        for i = 1, #more do
            entry[n + i] = more[i]
        end
    end
    return event_add(kind, entry, partition)
end

-- What one event tells of: the tasks of a group that had the same done to them for one caller. It is held back until something else
-- is told, or the group ends. A list of {kind, name = what a single id is called, request = the first one, ids, fields}.
local held_back = {}
local function events_tell()
    if held_back[1] then
        local now, all = current, held_back
        held_back = {}
        for i = 1, #all do
            local h = all[i]
            current = h.request
            emit_now(h.kind, {h.ids[2] and 'ids' or h.name, table.concat(h.ids, ' '), unpack(h.fields)})
        end
        current = now
    end
end

local function is_same_event(h, fields)
    if current.like ~= h.request then -- a completion and a claim of one request need it once
        if not same_caller(h.request, current) then
            return false
        end
        current.like = h.request
    end
    for i = 2, #fields, 2 do
        if h.fields[i] ~= fields[i] then
            return false
        end
    end
    return true
end

-- Tells that something happened to these tasks, together with others of the group. `fields` is a flat list of names and values, the same
-- names for all events of a kind; `name`, 'id' or 'ids', is that of the ids when there is only one.
local function emit_together(kind, name, ids, fields)
    local h
    for i = 1, #held_back do
        if held_back[i].kind == kind then
            h = held_back[i]
        end
    end
    if h and not is_same_event(h, fields) then
        events_tell()
        h = nil
    end
    if not h then
        h = {kind = kind, name = name, request = current, ids = {}, fields = fields}
        held_back[#held_back + 1] = h
    end
    local n = #h.ids
    for i = 1, #ids do
        h.ids[n + i] = ids[i]
    end
end

-- Appends an event, behind those that are held back: `fields` is a flat list of names and values; empty values are left out. Returns its id.
local function emit(kind, fields)
    events_tell()
    return emit_now(kind, fields)
end
