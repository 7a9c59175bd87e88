#!/usr/bin/env python3
"""todo.py: hook.todo_write through a daemon: parameters, many writers at once, what people see, and lists that are left behind."""

import json

from cbtest import *


def write(c, *todos, session="s1", **kw):
    lines = [{"content": content, "status": state} for content, state in todos]
    return c.call("hook.todo_write", {"todos": lines}, more=[("session", session), ("agent", "claude")], **kw)


def tasks(c):
    return sorted(c.call("task.list", {"queue": "todo", "limit": 500})["tasks"], key=lambda t: t["id"])


@case("params: what a list and a change may say, and what is refused with its place")
def params():
    with Daemon() as d:
        c = d.caller()
        ok = [("session", "s1")]
        line = {"content": "x", "status": "pending"}
        for doc, path in (({}, "todos"), ({"mode": "one"}, "task"), ({"todos": [line], "task": {"id": "1"}}, "task"),
                          ({"mode": "one", "todos": [], "task": {"id": "1"}}, "todos"),
                          ({"todos": [line] * 101}, "todos"), ({"todos": [{"content": "", "status": "pending"}]}, "todos[0].content"),
                          ({"todos": [line, {"content": "x", "status": "done"}]}, "todos[1].status"),
                          ({"todos": [{"content": "x" * 8193, "status": "pending"}]}, "todos[0].content"),
                          ({"todos": [dict(line, priority="urgent")]}, "todos[0].priority"),
                          ({"todos": [dict(line, colour="red")]}, "todos[0]"),
                          ({"mode": "one", "task": {"id": "", "subject": "x"}}, "task.id")):
            got = c.ask("hook.todo_write", doc, more=ok)
            equal((got.code, got.data["path"]), (-32602, path), short(json.dumps(doc), 80))
        got = c.ask("hook.todo_write", {"todos": [line]})
        equal((got.code, got.data["path"]), (-32602, "session"))
        equal(tasks(c), [])


@case("content of any length and language: a text that is cut keeps the whole in the metadata, and its identity")
def long():
    with Daemon() as d:
        c = d.caller()
        texts = ["é" * 300, "x" * 500, "x" * 501, "x" * 8192, "\U0001f4a9" * 126, "tab\tquote\"\x1b[2J"]
        equal(len(write(c, *[(t, "pending") for t in texts])["created"]), len(texts))
        for task, content in zip(tasks(c), texts):
            equal(task["metadata"]["session"], "s1")
            equal(task["metadata"]["agent"], "claude")
            if len(content.encode()) <= 500:
                equal(task["text"], content)
                check("content" not in task["metadata"], task)
            else:
                check(task["text"].endswith("…") and content.startswith(task["text"][:-1]), task["text"])
                check(len(task["text"].encode()) <= 500, "bytes")
                equal(task["metadata"]["content"], content)
        again = write(c, *[(t, "pending") for t in texts])
        equal((again["created"], again["updated"], again["cancelled"]), ([], [], []))
        c.call("hook.todo_write", {"mode": "one", "event": "TaskCreated",
                                   "task": {"id": "7", "subject": "s", "description": "d", "status": "in_progress"}},
               more=[("session", "s2")])
        found = [t for t in tasks(c) if t["text"] == "s"][0]
        equal((found["status"], found["assignedTo"], found["metadata"]),
              ("in_progress", "s2", {"session": "s2", "todo": "7", "description": "d"}))
        with d.connect() as r:
            fields = [dict(zip(f[::2], f[1::2])) for _, f in r.call("XRANGE", "cb:stream:events", "-", "+")]
        told = [f for f in fields if f[b"type"] == b"todo.written"]
        equal((told[-1].get(b"event"), told[-1][b"created"], told[-1][b"session"]), (b"TaskCreated", b"1", b"s2"))


@case("eight writers of one session at once: no line becomes two tasks, and the last list is what the tasks say")
def race():
    with Daemon(config={"domains": {"hook": {"workers": 3}}}) as d:
        lists = [[(f"line {i}", ["pending", "in_progress", "completed"][(i + n) % 3]) for i in range(12)] for n in range(3)]

        def writer(n):
            c = d.caller()
            for i in range(10):
                write(c, *lists[(n + i) % 2], idem=token())
            c.close()

        in_threads([lambda n=n: writer(n) for n in range(8)])
        c = d.caller()
        write(c, *[(content, "in_progress") for content, _ in lists[0]])
        live = [t for t in tasks(c) if t["status"] == "in_progress"]
        equal(sorted(t["text"] for t in live), sorted(content for content, _ in lists[0]))
        write(c)
        equal([t for t in tasks(c) if t["status"] in ("pending", "in_progress")], [])
        equal(d.client("doctor").returncode, 0)


@case("what people see: claudebench task list shows the agent's list, who works on it, and not a worker's business")
def seen():
    with Daemon() as d:
        c = d.caller()
        write(c, ("write the parser", "in_progress"), ("test it", "pending"), session="a-session")
        shown = d.client("task", "list").stdout.decode()
        for text in ("write the parser", "test it", "in_progress", "a-session"):
            check(text in shown, f"{text}: {shown}")
        equal(c.call("task.claim", {"workerId": "w", "maxTasks": 10})["claimed"], False)


@case("what agents' programs say comes here through claudebench hook: whole lists, and one task after the other")
def hooked():
    with Daemon() as d:
        c = d.caller()

        def hook(event, tool, given, result, **more):
            doc = {"session_id": "real", "hook_event_name": event, "cwd": "/tmp", **more}
            if tool:
                doc.update(tool_name=tool, tool_input=given, tool_response=result, tool_use_id="u1")
            done = d.client("hook", input=json.dumps(doc).encode())
            equal((done.returncode, done.stdout), (0, b""), done.stderr)

        def seen(*want):
            def now():
                return sorted((t["text"], t["status"], t["priority"]) for t in tasks(c)) == sorted(want)

            wait_until(now, 10, lambda: f"{want}: {tasks(c)}")

        todos = [{"content": "one", "status": "in_progress", "activeForm": "Doing one", "priority": "high", "id": "1"},
                 {"content": "two", "status": "pending", "activeForm": "Doing two"}]
        hook("PostToolUse", "TodoWrite", {"todos": todos}, {"oldTodos": [], "newTodos": todos})
        seen(("one", "in_progress", 75), ("two", "pending", 50))
        hook("TaskCreated", None, None, None, task_id="7", task_subject="three", task_description="more")
        hook("PostToolUse", "TaskCreate", {"subject": "three", "description": "more"}, {"task": {"id": "7", "subject": "three"}})
        seen(("one", "in_progress", 75), ("two", "pending", 50), ("three", "pending", 50))
        hook("PostToolUse", "TaskUpdate", {"taskId": "7", "status": "in_progress"}, {"success": True, "taskId": "7", "updatedFields": ["status"]})
        seen(("one", "in_progress", 75), ("two", "pending", 50), ("three", "in_progress", 50))
        hook("TaskCompleted", None, None, None, task_id="7", task_subject="three")
        hook("PostToolUse", "TodoWrite", {"todos": []}, {"oldTodos": todos, "newTodos": []})
        seen(("one", "cancelled", 75), ("two", "cancelled", 50), ("three", "completed", 50))


@case("a list that was left behind a day ago is cancelled by whoever finds it")
def left_behind():
    with PrivateRedis(aof=True) as redis:
        with Daemon(redis) as d:
            write(d.caller(), ("x", "in_progress"), ("y", "pending"))
        with redis.client() as r:
            for member in r.call("ZRANGE", "cb:todos", 0, -1):
                r.call("ZADD", "cb:todos", 1, member)
        with Daemon(redis) as d:
            c = d.caller()
            wait_until(lambda: [t["status"] for t in tasks(c)] == ["cancelled"] * 2, 20, "cancelled")
            equal(d.client("doctor").returncode, 0)


if __name__ == "__main__":
    main()
