#!/usr/bin/env python3
"""todo.py: hook.todo_write as a script: a session's list as tasks; each change once, whoever interferes."""

from cbtest import *
from scripts import Scripts

s = None
DAY = 86400
QUIET = ("requests:", "reply:", "duplicates:", "clock", "meta", "todos")


def fresh():
    s.redis.call("FLUSHALL")
    s.tick(register=1)


def ok(doc):
    equal(doc["internal"], [])
    check("result" in doc, doc)
    return doc["result"]


def counts(doc):
    r = ok(doc)
    equal(r["processed"], True)
    return tuple(len(r.get(name, [])) for name in ("created", "updated", "cancelled", "kept"))


def tasks(status=""):
    """All tasks of the queue, by their texts in the order of creation: text → (state, holder)."""
    found = {}
    for t in sorted(ok(s.listing(status=status, queue="todo"))["tasks"], key=lambda t: t["id"]):
        found.setdefault(t["text"], []).append((t["status"], t.get("assignedTo")))
    return found


def sound():
    """Counts and indexes agree with the tasks."""
    cursor, counted = "", []
    while cursor is not None:
        page = ok(s.ask("task_audit", cursor, ""))
        counted += page.get("findings", [])
        cursor = page.get("next")
    equal(counted, [], "findings of the doctor")


def unchanged(action):
    before = s.dump(QUIET)
    doc = action()
    equal(s.dump(QUIET), before, "nothing has changed")
    return doc


@case("a list becomes tasks of the queue `todo`: pending, held by the session, completed; in its order")
def plain():
    fresh()
    equal(counts(s.todo(("a", "completed"), ("b", "in_progress"), ("c", "pending"))), (3, 0, 0, 0))
    equal(tasks(), {"a": [("completed", None)], "b": [("in_progress", "s1")], "c": [("pending", None)]})
    equal(ok(s.claim("w1", count=10))["claimed"], False, "nobody gets it who asks for the default queue")
    equal([(e["type"], len(e.get("ids", "").split())) for e in s.events() if e.get("session") == "s1"],
          [("task.created", 3), ("task.claimed", 2), ("task.completed", 1), ("todo.written", 0)])
    equal(counts(s.todo(("a", "completed"), ("b", "completed"), ("c", "in_progress"), ("d", "pending"))), (1, 2, 0, 0))
    equal(tasks(), {"a": [("completed", None)], "b": [("completed", None)], "c": [("in_progress", "s1")], "d": [("pending", None)]})
    equal(counts(s.todo()), (0, 0, 2, 0), "an empty list cancels what is left")
    equal(tasks("cancelled"), {"c": [("cancelled", None)], "d": [("cancelled", None)]})
    equal(len(s.redis.scan(s.key("todos:*"))), 1)
    check(0 < s.redis.call("TTL", s.key("todos:s1")) <= DAY, "TTL")
    sound()


@case("the same list again changes nothing: no task, no version, no event; whatever others did to the tasks")
def again():
    fresh()
    lines = [("a", "completed"), ("b", "in_progress"), ("c", "pending"), ("d", "pending"), ("c", "pending")]
    equal(counts(s.todo(*lines)), (5, 0, 0, 0))
    check(0 < s.redis.call("TTL", s.key("mapping:todo-task:s1")) <= DAY, "TTL")
    s.redis.call("PEXPIRE", s.key("todos:s1"), 5000)
    equal(counts(unchanged(lambda: s.todo(*lines))), (0, 0, 0, 0))
    check(s.redis.call("TTL", s.key("todos:s1")) > 5, "what is still said lives on")
    equal(counts(unchanged(lambda: s.todo(*reversed(lines)))), (0, 0, 0, 0), "the order is no change")
    made = {t["text"]: t["id"] for t in ok(s.listing(queue="todo"))["tasks"]}
    ok(s.cancel(made["d"]))
    equal(counts(unchanged(lambda: s.todo(*lines))), (0, 0, 0, 0), "an operator's cancel stands")
    equal(counts(s.todo(*lines[:3], ("d", "in_progress"))), (1, 0, 1, 0), "until the agent works on it after all")
    equal(tasks()["d"], [("cancelled", None), ("in_progress", "s1")])
    sound()


@case("equal lines are several tasks; sessions and prefixes do not mix")
def doubles():
    fresh()
    equal(counts(s.todo(*[("same", "pending")] * 3)), (3, 0, 0, 0))
    equal(counts(s.todo(*[("same", "pending")] * 3)), (0, 0, 0, 0))
    equal(counts(s.todo(("same", "completed"), ("same", "pending"))), (0, 1, 1, 0))
    equal(counts(s.todo(("same", "pending"), session="s2")), (1, 0, 0, 0))
    equal(counts(s.todo(session="s3")), (0, 0, 0, 0))
    equal(s.redis.call("EXISTS", s.key("todos:s3")), 0, "a list of nothing leaves nothing")
    equal(sorted(tasks()["same"]), [("cancelled", None), ("completed", None), ("pending", None), ("pending", None)])
    sound()


# state before → wish → (what the result counts, state after)
MOVES = [
    ("pending", "in_progress", (0, 1, 0, 0), "in_progress"),
    ("pending", "completed", (0, 1, 0, 0), "completed"),
    ("pending", None, (0, 0, 1, 0), "cancelled"),
    ("in_progress", "pending", (0, 1, 0, 0), "pending"),
    ("in_progress", "completed", (0, 1, 0, 0), "completed"),
    ("in_progress", None, (0, 0, 1, 0), "cancelled"),
    ("completed", "pending", (1, 0, 0, 0), "completed"),
    ("completed", "in_progress", (1, 0, 0, 0), "completed"),
    ("completed", None, (0, 0, 0, 0), "completed"),
]


@case("every change of a line's state: what becomes of its task")
def moves():
    for before, wish, want, after in MOVES:
        fresh()
        ok(s.todo(("x", before), ("stays", "in_progress")))
        first = [t["id"] for t in ok(s.listing(queue="todo"))["tasks"] if t["text"] == "x"][0]
        lines = [("stays", "in_progress")] + ([("x", wish)] if wish else [])
        equal(counts(s.todo(*lines)), want, f"{before} → {wish}")
        equal(s.task(first)["st"].decode(), after, f"{before} → {wish}")
        equal(counts(unchanged(lambda: s.todo(*lines))), (0, 0, 0, 0), f"{before} → {wish}, again")
        if wish and want[0]:
            equal(sorted(tasks()["x"])[1][0], wish, "work that is taken up again is a new task")
        sound()


@case("a task that another worker has claimed keeps its lease: it is `kept`, and the wish is tried again")
def claimed():
    fresh()
    ok(s.todo(("x", "pending"), ("y", "pending")))
    got = ok(s.claim("w1", queue="todo"))["tasks"][0]
    for wish in ("in_progress", "completed"):
        equal(counts(unchanged(lambda: s.todo(("x", wish), ("y", "pending")))), (0, 0, 0, 1), wish)
    equal(s.task(got["id"])["tk"].decode(), got["lease_token"])
    ok(s.release(got["id"], got["lease_token"]))
    equal(counts(s.todo(("x", "completed"), ("y", "pending"))), (0, 1, 0, 0))
    other = ok(s.claim("s1", queue="todo"))["tasks"][0]
    equal(counts(s.todo(("x", "completed"), ("y", "completed"))), (0, 0, 0, 1), "also of a worker with the session's name")
    equal(counts(s.todo(("x", "completed"))), (0, 0, 1, 0), "but a task that is off the list is cancelled")
    equal(s.complete(other["id"], other["lease_token"])["error"]["code"], -32005)
    sound()


@case("a session's lease cannot be ended by others; a worker that completed the task first is right")
def fenced():
    fresh()
    ok(s.todo(("x", "in_progress"), ("y", "pending")))
    x = [t for t in ok(s.listing(queue="todo"))["tasks"] if t["text"] == "x"][0]["id"]
    equal(s.complete(x, "1-0000000000000000", "w1")["error"]["data"]["reason"], "stale_lease")
    got = ok(s.claim("w1", queue="todo"))["tasks"][0]
    ok(s.complete(got["id"], got["lease_token"]))
    equal(counts(s.todo(("x", "in_progress"), ("y", "completed"))), (0, 0, 0, 0), "it is as the list says")
    s.age(DAY + 7200)
    s.tick()
    equal(s.task(x)["st"], b"pending", "a lease that nobody kept up")
    equal(counts(s.todo(("x", "completed"), ("y", "completed"))), (0, 1, 0, 0), "is taken again")
    sound()


@case("told one by one: created, changed, completed, deleted; each event twice, in any order")
def one():
    fresh()

    def tell(*change, **kw):
        return s.todo(change, mode="one", **kw)

    equal(counts(tell("1", "completed", "")), (0, 0, 0, 0), "nothing is known of it")
    equal(list(s.redis.scan(s.key("todos:*"))), [])
    equal(counts(tell("1", "pending", "first")), (1, 0, 0, 0))
    equal(counts(unchanged(lambda: tell("1", "pending", "first"))), (0, 0, 0, 0), "TaskCreated and PostToolUse")
    equal(counts(unchanged(lambda: tell("1", "", ""))), (0, 0, 0, 0))
    equal(counts(tell("1", "in_progress", "")), (0, 1, 0, 0))
    equal(counts(tell("1", "", "first, in other words")), (0, 1, 0, 0))
    equal(tasks(), {"first, in other words": [("in_progress", "s1")]})
    equal(counts(tell("2", "in_progress", "second")), (1, 0, 0, 0))
    equal(counts(tell("1", "completed", "first, in the end")), (0, 1, 0, 0))
    equal(counts(unchanged(lambda: tell("1", "completed", ""))), (0, 0, 0, 0))
    equal(counts(tell("2", "cancelled", "")), (0, 0, 1, 0))
    equal(counts(tell("2", "cancelled", "")), (0, 0, 0, 0))
    equal(counts(tell("1", "pending", "")), (1, 0, 0, 0), "opened again, with the text that it had")
    equal(tasks(), {"first, in the end": [("completed", None), ("pending", None)], "second": [("cancelled", None)]})
    equal(counts(s.todo(("a", "pending"))), (1, 0, 0, 0), "a whole list beside it")
    equal(counts(s.todo()), (0, 0, 1, 0), "and what is told one by one is none of its business")
    equal(tasks("pending"), {"first, in the end": [("pending", None)]})
    sound()


@case("a description stays until another one is told; what an operator made of the metadata is no reason for a broken reply")
def described():
    fresh()

    def tell(*change):
        return counts(s.todo(change, mode="one"))

    def metadata():
        return ok(s.listing(queue="todo"))["tasks"][0]["metadata"]

    equal(tell("1", "pending", "first", 'a "quoted" \\ one'), (1, 0, 0, 0))
    equal(tell("1", "in_progress", "first"), (0, 1, 0, 0))
    equal(metadata(), {"session": "s1", "description": 'a "quoted" \\ one'})
    equal(counts(unchanged(lambda: s.todo(("1", "in_progress", "first"), mode="one"))), (0, 0, 0, 0))
    equal(tell("1", "", "first, renamed"), (0, 1, 0, 0))
    equal(metadata(), {"session": "s1", "description": 'a "quoted" \\ one'})
    equal(tell("1", "", "first, renamed", "another"), (0, 1, 0, 0))
    equal(metadata(), {"session": "s1", "description": "another"})
    task = ok(s.listing(queue="todo"))["tasks"][0]["id"]
    for foreign, kept in (('{"a":{"b":1,"description":"d"}}', None), ('{"a":{"b":1,"description":"d"},"z":"q"}', None),
                          ('{"a":[{"b":1,"description":"d"}]}', None), ('{"a":1,"description":"d"}', "d"),
                          ('{"a":1,"description":"d\\"}"}', 'd"}'), ('{"a":1,"description":{"x":"y"}}', None), ("{}", None)):
        ok(s.update(task, metadata=foreign))
        equal(tell("1", "", "again " + foreign), (0, 1, 0, 0), foreign)
        equal(metadata(), {"session": "s1", **({"description": kept} if kept else {})}, foreign)


@case("told one by one, more than a session can have: what has ended makes room, else it is refused")
def full():
    fresh()
    for i in range(100):
        equal(counts(s.todo((f"{i}", "completed" if i == 7 else "pending", f"t{i}"), mode="one")), (1, 0, 0, 0))
    equal(counts(s.todo(("100", "pending", "t100"), mode="one")), (1, 0, 0, 0))
    refused = unchanged(lambda: s.todo(("101", "pending", "t101"), mode="one"))
    equal(refused["error"]["code"], -32007)
    equal(counts(s.todo(("100", "completed", ""), mode="one")), (0, 1, 0, 0))
    equal(len(s.redis.hash(s.key("mapping:todo-task:s1"))), 100)
    sound()


@case("what is in progress is held like any task: its load, its lease that the list keeps up, no attempt charged when it is put back")
def held():
    fresh()
    ok(s.register("s1", "i1", capacity=2))
    ok(s.todo(("x", "in_progress"), ("y", "completed")))
    check(int(s.redis.call("ZSCORE", s.key("instances:load"), "s1")) >= 500 * 10**12, "half of its capacity is in use")
    x = ok(s.listing(assigned="s1"))["tasks"][0]["id"]
    equal([m.decode() for m in s.redis.call("ZRANGE", s.key("todos"), 0, -1)], [x], "what has ended need not be looked after")
    lease = int(s.redis.call("ZSCORE", s.key("leases"), x))
    check(lease > s.wall() + 1000 * DAY, "longer than the list lives without a word")
    s.change(x, le=s.wall() + 1000)
    s.redis.call("ZADD", s.key("leases"), s.wall() + 1000, x)
    equal(counts(s.todo(("x", "in_progress"), ("y", "completed"), params_hash="h", idem="again")), (0, 0, 0, 0))
    check(int(s.task(x)["le"]) > s.wall() + 1000 * DAY, "kept up")
    check(int(s.redis.call("ZSCORE", s.key("leases"), x)) >= lease, "kept up")
    equal(s.kept("again"), None, "of a list that changed nothing, no outcome is kept")
    equal(counts(s.todo(("x", "pending"), ("y", "completed"), params_hash="i", idem="once")), (0, 1, 0, 0))
    check(s.kept("once"), "else it is")
    equal((s.task(x)["at"], s.task(x).get("ho")), (b"0", None))
    check(int(s.redis.call("ZSCORE", s.key("instances:load"), "s1")) < 10**12, "nothing is")
    sound()


@case("what is refused changes nothing: no session, a full queue, a damaged key")
def refused():
    fresh()
    ok(s.todo(("a", "in_progress")))
    for session in ("", "a\nb", "\x7f", "a\u0085"):
        got = unchanged(lambda: s.todo(("a", "completed"), session=session))  # pylint: disable=cell-var-from-loop
        equal((got["error"]["code"], got["error"]["data"]["path"]), (-32602, "session"))
    got = unchanged(lambda: s.todo(*[(f"n{i}", "pending") for i in range(10)], max_pending=9))
    equal(got["error"]["code"], -32007)
    for key, kind in (("mapping:todo-task:s1", "LPUSH"), ("todos", "LPUSH"), ("todos:s1", "LPUSH"), ("leases", "LPUSH"),
                      ("tasks:completed", "LPUSH"), ("queue:instance:s1", "LPUSH"), ("queue:todo:pending", "LPUSH")):
        kept = s.redis.call("DUMP", s.key(key))
        s.redis.call("DEL", s.key(key))
        s.redis.call(kind, s.key(key), "x")
        before = s.dump(QUIET)
        doc = s.todo(("a", "completed"), ("b", "pending"))
        equal(doc["error"]["code"], -32603, key)
        equal(s.dump(QUIET), before, f"{key}: nothing has changed")
        s.redis.call("DEL", s.key(key))
        if kept:
            s.redis.call("RESTORE", s.key(key), 0, kept)
    equal(counts(s.todo(("a", "completed"), ("b", "pending"))), (1, 1, 0, 0))
    s.redis.call("LPUSH", s.key("queue:instance:s9"), "x")
    equal(unchanged(lambda: s.todo(("new", "in_progress"), session="s9"))["error"]["code"], -32603)
    sound()


@case("any bytes in content and session; a hundred lines at once")
def hostile():
    fresh()
    lines = [(text, "pending") for text in ('"', "\\", "a b c", "é\u2028\U0001f4a9", "-- ]] end", "%s %d", "\x1b[2J", "{}", "cb:meta",
                                            "' .. P .. '", "\t", "x" * 500)]
    for session in ("s", "due", "*", "a b:c{d}", "é/..", "x" * 128):
        equal(counts(s.todo(*lines, session=session)), (len(lines), 0, 0, 0), session)
        equal(counts(s.todo(*lines, session=session)), (0, 0, 0, 0), session)
        equal(counts(s.todo((lines[0][0], "in_progress"), session=session)), (0, 1, len(lines) - 1, 0), session)
        equal(ok(s.listing(assigned=session))["tasks"][0]["text"], lines[0][0])
    many = [(f"line {i}", ["pending", "in_progress", "completed"][i % 3]) for i in range(100)]
    equal(counts(s.todo(*many, session="many")), (100, 0, 0, 0))
    equal(counts(s.todo(*[(t + " now", "completed") for t, _ in many], session="many")), (100, 0, 67, 0))
    sound()


@case("a session that says nothing for a day: its tasks are cancelled, its keys go")
def expire():
    fresh()
    ok(s.todo(("a", "in_progress"), ("b", "pending"), ("c", "completed")))
    ok(s.todo(("a", "pending"), session="s2"))
    equal(s.todo_expire(), (0, 0, ""))
    for member in s.redis.call("ZRANGE", s.key("todos"), 0, -1):
        if s.task(member.decode()).get("meta", b"").find(b'"s1"') >= 0:
            s.redis.call("ZADD", s.key("todos"), s.wall() - 1, member)
    s.redis.call("ZADD", s.key("todos"), 5, "t-1")  # nothing behind it
    equal(s.todo_expire(2)[0], 2)
    looked, cancelled, problem = s.todo_expire()
    equal((looked, problem), (1, ""))
    equal(s.todo_expire(), (0, 0, ""))
    check(cancelled <= 1, "the rest")
    equal(tasks("cancelled"), {"a": [("cancelled", None)], "b": [("cancelled", None)]})
    equal(len(tasks("pending")["a"]), 1, "the other session's")
    sound()


@case("random lists against a plain model: tasks say what the last list said, and each line is one task")
def model():
    fresh()
    draw = rng()
    known = {}  # name → state
    for _ in range(150):
        lines, seen = [], {}
        for _ in range(draw.randrange(8)):
            text = draw.choice("abcde")
            state = draw.choice(["pending", "in_progress", "completed"])
            lines.append((text, state))
            seen[f"{text}{sum(1 for t, _ in lines[:-1] if t == text)}"] = state
        created = sum(1 for n, st in seen.items() if n not in known or known[n] == "completed" and st != "completed")
        updated = sum(1 for n, st in seen.items() if n in known and known[n] not in ("completed", st))
        cancelled = sum(1 for n, st in known.items() if n not in seen and st != "completed")
        equal(counts(s.todo(*lines, keep=(1000, 1000, 0))), (created, updated, cancelled, 0), f"{known} → {lines}")
        known = seen
        live = sorted(t["status"] for t in ok(s.listing(queue="todo", limit=500))["tasks"]
                      if t["status"] in ("pending", "in_progress"))
        equal(live, sorted(st for st in known.values() if st != "completed"))
    sound()


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
