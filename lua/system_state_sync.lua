#!lua
-- system_state_sync: replaces the shared state, if it still has the version that the caller knows. Versions are
-- never handed out twice, not even by a Redis that lost data.
-- KEYS  the envelope's
-- ARGV  request: data (JSON), version it must have ('' = any, 0 = there is none)
-- Returns as the envelope. Caller: worker, system.state.sync.
-- @include envelope.lua
-- @include task.lua
-- @include shared_state.lua

function op(r)
    local data, expected = ARGV[r.a + 1], ARGV[r.a + 2]
    want('hash', STATE_KEY)
    want('stream', EVENTS)
    local version = call('HGET', STATE_KEY, 'version') or '0'
    if expected ~= '' and expected ~= version then
        return nil, -32005, 'the state has another version',
            '{"reason":"version","state":"' .. (version == '0' and 'absent' or 'present') .. '","version":' .. version .. '}'
    end
    local new = I(next_number())
    call('HSET', STATE_KEY, 'data', data, 'version', new, 'at', I(NOW), 'by', caller_of(r).actor)
    emit('state.synced', {'version', new, 'before', version})
    return '{"version":' .. new .. '}'
end
-- @include commit.lua
