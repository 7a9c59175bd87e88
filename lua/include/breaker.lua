-- breaker.lua: the circuit of a group's method at work, for include/gate.lua: the body of a function that is called when there is
-- more to do than to see that it is closed. Returns what the gate asks of it.
-- @include circuit.lua
local circuit = circuit_read(METHOD)
local function breaker(place)
    return tonumber(ARGV[GATE_AT + place])
end
local troubled -- of the methods that this one depends on
local function look()
    troubled = troubled or circuit_troubled(circuit_names(ARGV[GATE_AT + 12]))
    return circuit_advance(circuit, troubled)
end

-- What half_open has given out: permits that have not ended, and successes. When it is half_open for another's sake, success
-- is no news: each permit lasts for its time, so that some requests pass all the while.
local function probes()
    local held = circuit.dep == '' and circuit.ok or 0
    local soonest
    for holder, ends in pairs(circuit.permits) do
        if ends <= EFF() then
            circuit.permits[holder], circuit.is_changed = nil, true
        else
            held, soonest = held + 1, math.min(soonest or ends, ends)
        end
    end
    return held, soonest
end

-- Enough probes went well: closed, unless a method that this one depends on is in trouble.
local function settle()
    local m = circuit
    if look() and troubled ~= '' then
        m.try, m.ends = 0, 0
        circuit_half_open(m, 'it depends on ' .. troubled .. ', which is open', troubled)
    else
        circuit_close(m, I(m.ok) .. ' probes went well')
    end
end

-- nil, or after how many ms to come again.
local function circuit_refuses()
    local m = look()
    if m.st == 'open' then
        return m.ends - EFF()
    elseif m.st == 'half_open' and m.dep == '' and m.ok >= breaker(10) then -- by other options than those it opened under
        settle()
    end
    if m.st == 'half_open' then
        local held, soonest = probes()
        if held >= breaker(9) then
            return math.min(1000, soonest and soonest - EFF() or 1000)
        end
    end
    return nil
end

local function trip(why)
    local m = circuit
    local pause = math.floor(math.min(breaker(6) * (breaker(8) / 1000) ^ math.min(m.try, 100), breaker(7)))
    m.try, m.ends = m.try + 1, EFF() + pause
    circuit_count(m, 'opened')
    circuit_become(m, 'open', why, '', {'attempt', I(m.try), 'open_ms', I(pause)})
end

local function failure(what, is_probe)
    local m = circuit
    circuit_count(m, what == 'timeout' and 'timeouts' or 'errors')
    if m.st == 'half_open' and is_probe then
        trip('a probe failed: ' .. what)
    elseif m.st == 'closed' then
        local kept = {}
        for i = math.max(1, #m.fails - breaker(4) + 2), #m.fails do
            if m.fails[i] > EFF() - breaker(5) then
                kept[#kept + 1] = m.fails[i]
            end
        end
        kept[#kept + 1] = EFF()
        m.fails, m.is_changed = kept, true
        if #kept >= breaker(4) then
            trip(I(#kept) .. ' failures within ' .. I(breaker(5)) .. ' ms, the last one: ' .. what)
        end
    end
end

local function success(is_probe)
    local m = circuit
    if m.st ~= 'half_open' or not is_probe or m.dep ~= '' then
        return
    end
    m.ok, m.is_changed = m.ok + 1, true
    if m.ok >= breaker(10) then
        settle()
    end
end

-- Takes the permit of an entry back; was there one?
local function give_back(entry)
    local had = circuit.permits[entry] ~= nil
    if had then
        circuit.permits[entry], circuit.is_changed = nil, true
    end
    return had
end

local slow = {}

-- Nothing, or code, message, data.
function slow.refuse()
    local wait = circuit_refuses()
    if not wait then
        return
    end
    circuit_count(circuit, 'rejections')
    return -32001, 'circuit open', '{"retry_after_ms":' .. I(math.max(1, wait)) .. ',"state":"' .. circuit.st .. '","since":'
        .. ISO(circuit.since) .. ',"reason":' .. S(circuit.why) .. '}'
end

-- Admitted: is it a probe? `is_outside`: its work is still to be done, so that its permit outlasts this call.
function slow.admit(entry, is_outside)
    if circuit.st ~= 'half_open' then
        return false
    end
    if is_outside or circuit.dep ~= '' then
        circuit.permits[entry], circuit.is_changed = EFF() + breaker(11), true
    end
    return true
end

function slow.has_permit(entry)
    return circuit.permits[entry] ~= nil
end

function slow.late(entry, is_counted)
    local is_probe = give_back(entry)
    if is_counted then
        look()
        failure('timeout', is_probe)
    end
end

function slow.leave(entry, code, is_probe)
    if circuit.dep == '' then
        give_back(entry)
    end
    if code == -32603 then
        failure('error', is_probe)
    elseif circuit.st == 'half_open' then
        success(is_probe)
    end
end

function slow.save()
    circuit_save(circuit)
end

return slow
