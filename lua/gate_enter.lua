#!lua flags=allow-oom
-- gate_enter: admits one request whose work is done outside of Redis, before that work begins: circuit and rate limit as in the
-- envelope, but a probe of a half-open circuit gets a permit that lasts until its commit, or until its time is over when the
-- process dies. The commit then asks neither again (flag e of include/gate.lua).
-- KEYS  1 cb:stream:events
-- ARGV  1 prefix with colon   2 the policy for events (include/emit.lua)   3 entry id   4 deadline (wall ms, 0 = none)   5 actor
--       6… the gate's (include/gate.lua)
-- Returns { 0 admitted, else the error's code, message, data as JSON }. Caller: worker (admission.c).
local P = ARGV[1]
-- @include base.lua
local EVENTS, EVENTS_POLICY = KEYS[1], ARGV[2]
-- @include emit.lua
local function emit(kind, fields)
    event_add(kind, event_entry(kind, fields))
end
local requests, entries, GATE_AT = {{}}, {ARGV[3]}, 5
local CALLER = {actor = ARGV[5]}
local function caller_of()
    return CALLER
end

-- The commit answers one whose deadline has passed.
if ARGV[4] ~= '0' and NOW > tonumber(ARGV[4]) then
    return {0, '', ''}
end
local gate = (function()
    -- @include gate.lua
end)()
local code, message, data = gate.enter(requests[1], 1, true)
gate.save()
events_publish()
return {code or 0, message or '', data or ''}
