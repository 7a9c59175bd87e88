-- shared_state.lua: the state that all instances share: cb:state:global: data (JSON), version, at (wall ms), by (actor).
-- Needs base.lua.
local STATE_KEY = P .. 'state:global'

-- Version, time and data as JSON, or null.
local function shared_state_json()
    local t = call('HMGET', STATE_KEY, 'version', 'at', 'data')
    if not (t[1] and t[2] and t[3]) then
        return 'null'
    end
    return '{"version":' .. t[1] .. ',"updatedAt":' .. ISO(t[2]) .. ',"data":' .. t[3] .. '}'
end
