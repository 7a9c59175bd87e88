-- circuits_json.lua: circuits as JSON, for those who ask how the system is. Needs base.lua.
-- @include circuit.lua

-- least: 0 = those that are not closed, -1 = all that there are. Returns a list's JSON, and of those that are not closed a
-- sentence each.
local function circuits_json(least)
    local names = redis.pcall('ZRANGEBYSCORE', CIRCUITS, least, '+inf', 'LIMIT', 0, 100)
    local out, said = {}, {}
    for i = 1, #names do
        local m = circuit_read(names[i])
        local counts = call('HMGET', circuit_key(names[i]), unpack(CIRCUIT_COUNTS))
        local rest = m.st == 'open' and math.max(0, m.ends - EFF()) or 0
        local text = {}
        for j = 1, #CIRCUIT_COUNTS do
            text[j] = '"' .. CIRCUIT_COUNTS[j] .. '":' .. (counts[j] or '0')
        end
        out[#out + 1] = '{"method":' .. S(m.method) .. ',"state":"' .. m.st .. '","since":'
            .. (m.since == '0' and 'null' or ISO(m.since)) .. ',"reason":' .. S(m.why) .. ',"attempt":' .. I(m.try)
            .. ',"retry_after_ms":' .. I(rest) .. ',' .. table.concat(text, ',') .. '}'
        if m.st ~= 'closed' then
            said[#said + 1] = 'the circuit of ' .. m.method .. ' is ' .. m.st .. ': ' .. m.why
        end
    end
    return '[' .. table.concat(out, ',') .. ']', said
end
