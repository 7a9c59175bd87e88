-- todos.lua: tasks that stand for what an agent's own list says (hook.todo_write). Needs base.lua.
--
--   cb:todos:<session>              of a session: `list` and `tasks` = names of what it lists, joined by spaces (whole lists,
--                                   and tasks told one by one), and by name the state that the list gave it last
--   cb:mapping:todo-task:<session>  by name: the task, and the token of the lease under which the session works on it
--   cb:todos                        live tasks of all lists; score: wall ms at which the session counts as gone
-- A name is made from what the list says, so that the same content is the same task (worker/handlers/hook/hook_todo_write.c).
-- All of it lasts for TODO_TTL after the session's last word; what is live then is cancelled (hook_todo_expire.lua):
-- a pending task would lie in its queue for ever.
local TODO_TTL = 86400000
