-- envelope.lua: the commit envelope, first half: the group's arguments (ARCHITECTURE.md, "The life of a request").
-- An entry is processed or counted as a duplicate, never both.
--
-- KEYS  1 the request stream   2 cb:stream:events   3 cb:duplicates:prevented   4 cb:clock   5 cb:meta
--       then K keys of the operation, M reply lists, and per request its own keys
-- ARGV  1 prefix with colon   2 N requests   3 M reply lists   4 K keys of the operation
--       5 C arguments of the operation   6 idempotency TTL ms   7 idempotency bytes cap
--       8 the policy for events (include/emit.lua)   9 G arguments of the gate   10 W callers   11… the C arguments, the G
--       arguments (include/gate.lua), of each caller, no two of which are alike: actor, session, agent, trace; then per
--       request:
--       entry id, id as JSON, deadline (wall ms, 0 = none), hash of the params (11 bytes, '' = no outcome is kept), its form: four
--       numbers, of its reply list (0 = nobody waits), of its caller, of its keys and of its arguments, in one text; the
--       arguments, and behind them, with a hash, the scope of the idempotency key
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
    return ARGV[10 + i]
end

-- The request being handled, for emit(); nil between requests.
local current
local done_code -- its code, when it is done and was not a replay

-- The callers, by number: {actor, session, agent = '' when nobody says so, says = what events and records say of a
-- request of theirs: a flat list of names and values}.
local callers, CALLERS_AT = {}, 10 + C + tonumber(ARGV[9])
local REQUESTS_AT, CALLER_SAYS = CALLERS_AT + 4 * tonumber(ARGV[10]), {'actor', 'session', 'agent', 'trace'}
for at = CALLERS_AT, REQUESTS_AT - 1, 4 do
    local says, n = {}, 0
    for i = 1, 4 do
        local value = ARGV[at + i]
        if value ~= '' then
            says[n + 1], says[n + 2] = CALLER_SAYS[i], value
            n = n + 2
        end
    end
    callers[#callers + 1] = {actor = ARGV[at + 1], session = ARGV[at + 2], agent = ARGV[at + 3], says = says}
end

-- A request's form, taken apart once a text: {list = number of its reply list, 0 = nobody waits; caller; nkeys, nargs = how many
-- keys and arguments of its own it has}. Most requests of a group have the same.
local forms = {}
local function form_of(text)
    local form = forms[text]
    if not form then
        local list, caller, nkeys, nargs = string.match(text, '^(%d+) (%d+) (%d+) (%d+)$')
        form = {list = tonumber(list), caller = callers[tonumber(caller)], nkeys = tonumber(nkeys), nargs = tonumber(nargs)}
        forms[text] = form
    end
    return form
end

local function caller_of(r)
    return r.form.caller
end

-- What every request has, apart from its form. (Of r: include/commit.lua.)
local function request_entry(r)
    return ARGV[r.a - 4]
end
local function request_id(r)
    return ARGV[r.a - 3]
end
local function request_deadline(r)
    return ARGV[r.a - 2]
end
local function request_hash(r)
    return ARGV[r.a - 1]
end

-- Appends an event at once; `caller`: that of its request, nil: it comes of none.
local function emit_now(kind, fields, caller)
    local entry, partition = event_entry(kind, fields)
    if caller then
        local n, more = #entry, caller.says
        for i = 1, #more do
            entry[n + i] = more[i]
        end
    end
    return event_add(kind, entry, partition)
end

-- What one event tells of: the tasks of a group that had the same done to them for one caller. It is held back until something else
-- is told, or the group ends. By kind, and the kinds in the order of their first tasks: {kind, name = what a single id is called,
-- caller, ids, names, and the values of these: a, b, c}.
local held_back, held_kinds = {}, {}
local function events_tell()
    local all, kinds = held_back, held_kinds
    if kinds[1] then
        held_back, held_kinds = {}, {}
        for i = 1, #kinds do
            local h = all[kinds[i]]
            local names = h.names
            emit_now(h.kind, {h.ids[2] and 'ids' or h.name, table.concat(h.ids, ' '), names[1], h.a, names[2], h.b, names[3], h.c}, h.caller)
        end
    end
end

-- Tells that something happened to a task, with the name 'id', or to those of a list, 'ids', together with others of the group.
-- `names`: those of the two or three values behind it, the same for all events of a kind.
local function emit_together(kind, name, id, names, a, b, c)
    local h, caller = held_back[kind], caller_of(current)
    if h and (h.caller ~= caller or h.a ~= a or h.b ~= b or h.c ~= c) then
        events_tell()
        h = nil
    end
    if not h then
        h = {kind = kind, name = name, caller = caller, ids = {}, names = names, a = a, b = b, c = c}
        held_back[kind] = h
        held_kinds[#held_kinds + 1] = kind
    end
    local ids = h.ids
    local n = #ids
    if name == 'id' then
        ids[n + 1] = id
        return
    end
    for i = 1, #id do
        ids[n + i] = id[i]
    end
end

-- Appends an event, behind those that are held back: `fields` is a flat list of names and values; empty values are left out. Returns its id.
local function emit(kind, fields)
    events_tell()
    return emit_now(kind, fields, current and caller_of(current))
end
