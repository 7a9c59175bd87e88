-- roles.lua: which registered instances have a role. Needs base.lua.
--
-- cb:instances:role:<role> is a set of ids: an instance is in it from its registration to its end. Roles are kept with the
-- instance as our own JSON list of names, which cjson may read.

local function role_members_key(role)
    return P .. 'instances:role:' .. role
end

local function roles_of(json)
    local ok, roles = pcall(cjson.decode, json or '[]')
    return ok and type(roles) == 'table' and roles or {}
end

-- Said before the first write.
local function roles_want(json)
    for _, role in ipairs(roles_of(json)) do
        want('set', role_members_key(role))
    end
end

local function roles_join(id, json)
    for _, role in ipairs(roles_of(json)) do
        call('SADD', role_members_key(role), id)
    end
end

-- A damaged set must not keep an instance from ending.
local function roles_leave(id, json)
    for _, role in ipairs(roles_of(json)) do
        redis.pcall('SREM', role_members_key(role), id)
    end
end
