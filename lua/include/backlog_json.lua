-- backlog_json.lua: the request streams, for whoever shows figures. Needs base.lua.
-- Requests that wait or are being handled, and the age of the first. One that was handed on is as old as its first entry.
local function backlog_json(domain)
    local stream = P .. 'requests:' .. domain
    local n = call('XLEN', stream)
    local first = n > 0 and call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not first then
        return '"' .. domain .. '":{"length":0}'
    end
    local came = string.match(first[1], '^%d+')
    for i = 1, #first[2], 2 do
        if first[2][i] == 'origin' then
            came = string.match(first[2][i + 1], '^%d+') or came
        end
    end
    return '"' .. domain .. '":{"length":' .. I(n) .. ',"oldest_ms":' .. I(math.max(0, NOW - tonumber(came))) .. '}'
end

-- Of the domains that ARGV names from `first` on: members of an object.
local function backlogs_json(first)
    local out = {}
    for i = first, #ARGV do
        out[#out + 1] = backlog_json(ARGV[i])
    end
    return table.concat(out, ',')
end
