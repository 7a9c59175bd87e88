#!lua flags=allow-oom
-- task_queues: a page of queues: what is counted of each, whether it is paused, and how old its oldest pending task is. Looks at
-- no more than 500 names and 1000 tasks per call.
-- KEYS  the envelope's
-- ARGV  request: the last queue of the page before ('' = from the start), limit
-- Returns as the envelope. Caller: worker, task.queues.
-- @include envelope.lua
-- @include task.lua
-- @include paused.lua
-- @include queues_json.lua

function op(r)
    local page, next_from = queues_page(ARGV[r.a + 1], tonumber(ARGV[r.a + 2]))
    return '{"queues":' .. page .. (next_from and ',"next":"' .. next_from .. '"' or '')
        .. ',"all_paused":' .. tostring(queue_is_paused('*')) .. '}'
end
-- @include commit.lua
