-- audit.lua: the audit trail, cb:stream:audit: kind, at (wall ms), data (JSON). Needs envelope.lua. The operation's last
-- key is the stream, its last argument about how many records are kept (worker/handlers/hook/hook_tables.c).
--
-- A record is a part of the commit that it tells of: there is none without the other. It never holds a call's whole
-- input: of that, the worker sends a hash and what a rule matched, cut.
local AUDIT, AUDIT_MAX = op_key(K), op_arg(C)
local audit_is_trimmed = false

-- To be said before the first write.
local function audit_want()
    want('stream', AUDIT)
end

-- The request being handled as members of a JSON object, without the braces; what it does not say is left out.
-- is_carried: it only brings the record, which says itself whose it is.
local function audit_request(is_carried)
    local out, says = '"request":' .. request_id(current), caller_of(current).says
    for i = 1, #says, 2 do
        if not is_carried or says[i] == 'actor' then
            out = out .. ',"' .. says[i] .. '":' .. S(says[i + 1])
        end
    end
    return out
end

-- Appends a record. `json` is a JSON object: what there is to say beside the request. Only in op(): `current` is
-- the request that it is about, or (is_carried) that brings it.
local function audit_add(kind, json, is_carried)
    local data = '{' .. audit_request(is_carried) .. (json == '{}' and '}' or ',' .. string.sub(json, 2))
    if audit_is_trimmed then
        call('XADD', AUDIT, '*', 'kind', kind, 'at', NOW_TEXT, 'data', data)
    else
        call('XADD', AUDIT, 'MAXLEN', '~', AUDIT_MAX, '*', 'kind', kind, 'at', NOW_TEXT, 'data', data)
        audit_is_trimmed = true
    end
end
