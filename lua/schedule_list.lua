#!lua flags=allow-oom
-- schedule_list: a page of schedules, by id. Looks at no more than 500 schedules and about 700 KB per call.
-- KEYS  the envelope's; operation: cb:schedules, cb:schedules:due, cb:schedules:ids
-- ARGV  request: status ('' = all), limit, id behind which the page begins ('' = at the start)
-- Returns as the envelope. Caller: worker, schedule.list.
-- @include envelope.lua
-- @include schedule.lua
local EXAMINE, BYTES, STEP = 500, 700000, 50

function op(r)
    local status, limit, last = ARGV[r.a + 1], tonumber(ARGV[r.a + 2]), ARGV[r.a + 3]
    local out, examined, bytes = {}, 0, 0
    local function page(cursor)
        return '{"schedules":[' .. table.concat(out, ',') .. (cursor and '],"next":' .. S(cursor) .. '}' or ']}')
    end
    while true do
        local ids = call('ZRANGEBYLEX', SCHEDULES_IDS, last == '' and '-' or '(' .. last, '+', 'LIMIT', 0, STEP)
        for i = 1, #ids do
            last = ids[i]
            local s = schedule_load(last)
            if s and (status == '' or status == schedule_status(s)) then
                out[#out + 1] = schedule_json(last, s)
            end
            examined, bytes = examined + 1, bytes + (s and #s.template or 0) + 500
            if #out >= limit or examined >= EXAMINE or bytes > BYTES then
                return page(last)
            end
        end
        if #ids < STEP then
            return page()
        end
    end
end
-- @include commit.lua
