#!/usr/bin/env python3
"""more_tasks.py: complete_batch, progress, update, assign, reassign, delete as scripts: every state, repeats, types."""

import json

from cbtest import *
from scripts import Scripts

s = None
FINISHED = ("completed", "failed", "cancelled")


def fresh():
    s.redis.call("FLUSHALL")


def one(**kw):
    return s.create("t", **kw)["result"]["id"]


def claimed(worker="w1", **kw):
    one(**kw)
    return s.claim(worker, queue=kw.get("queue", "default"), roles=kw.get("roles", ""))["result"]["tasks"][0]


def held():
    """A task in progress: id, token."""
    t = claimed()
    return t["id"], t["lease_token"]


def show(task):
    return s.get(task)["result"]


def problem(doc):
    """(code, reason, state) of an error reply; None for a result."""
    error = doc.get("error")
    return error and (error["code"], error["data"].get("reason"), error["data"].get("state"))


def indexes(task):
    """Names of all sorted sets and sets that hold the id."""
    found = set()
    for key in s.redis.scan():
        kind = s.redis.call("TYPE", key)
        if kind == b"zset" and s.redis.call("ZSCORE", key, task) is not None:
            found.add(key.decode()[3:])
        if kind == b"set" and s.redis.call("SISMEMBER", key, task):
            found.add(key.decode()[3:])
    return found


def in_state(state):
    """A task in a state, made by the methods themselves: (id, its token or '')."""
    if state == "pending":
        return one(), ""
    if state == "cancelled":
        task = one()
        s.update(task, status="cancelled")
        return task, ""
    t = claimed()
    task, lease_token = t["id"], t["lease_token"]
    if state == "delayed":
        s.fail(task, lease_token)
    elif state == "completed":
        s.complete(task, lease_token, result="[1]")
    elif state == "failed":
        s.fail(task, lease_token, retry=0)
    equal(show(task)["status"], state)
    return task, lease_token


def unchanged(action, what):
    """Runs an action that must not change anything."""
    before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
    doc = action()
    after = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
    changed = [k.decode() for k in set(before) | set(after) if before.get(k) != after.get(k)]
    equal(changed, [], what)
    return doc


def with_wrong_types(name, keys, prepare, action):
    """Each of the keys with a wrong type: an internal error, and nothing changes."""
    for key in keys:
        fresh()
        made = prepare()
        rest = key.format(id=made[0])
        kind = s.redis.call("TYPE", s.key(rest)).decode()
        s.redis.call("DEL", s.key(rest))
        s.redis.call(*(["SADD", s.key(rest), "x"] if kind == "string" else ["SET", s.key(rest), "x"]))
        doc = unchanged(lambda m=made: action(*m), f"{name} with a wrong {rest}")
        equal(doc.get("error", {}).get("code"), -32603, f"{name} with a wrong {rest}: {short(json.dumps(doc))}")


def secret_is_kept(lease_token):
    check(lease_token, "there is a token")
    for what, doc in (("list", s.listing()), ("events", s.events())):
        check(lease_token not in json.dumps(doc), f"the token is in {what}")


# ---- complete_batch ----


@case("complete_batch: outcomes in order, one event, indexes as after single completions")
def batch():
    fresh()
    for i in range(4):
        one(queue="q")
    tasks = s.claim("w1", 3, queue="q")["result"]["tasks"] + s.claim("w2", 1, queue="q")["result"]["tasks"]
    doc = s.complete_batch([(t["id"], t["lease_token"], f'{{"r":[{i}]}}') for i, t in enumerate(tasks)])
    equal(doc["result"]["items"], [{"id": t["id"], "status": "completed"} for t in tasks])
    for i, t in enumerate(tasks):
        got = show(t["id"])
        equal([got["status"], got["result"], got["version"]], ["completed", {"r": [i]}, t["version"] + 1])
        check("assignedTo" not in got and "lease_until" not in got, got)
        equal(indexes(t["id"]), {"tasks:completed"})
    equal([e["ids"] for e in s.events("task.completed")], [" ".join(t["id"] for t in tasks)])
    secret_is_kept(tasks[0]["lease_token"])


@case("complete_batch: each item by itself, in every state; a repeat gets the same, and completes nothing twice")
def batch_items():
    fresh()
    done, done_token = in_state("completed")
    good = claimed()
    forged = claimed()
    items = [("t-1", "x"), (good["id"], good["lease_token"]), (forged["id"], "forged"), (done, done_token)]
    states = ("delayed", "failed", "cancelled", "pending")
    items += [(in_state(state)[0], "") for state in states]
    first = s.complete_batch(items)["result"]["items"]
    equal([i["id"] for i in first], [i[0] for i in items])
    got = [i.get("status") or (i["error"]["code"], i["error"]["data"]["reason"]) for i in first]
    equal(got, [(-32004, "unknown"), "completed", (-32005, "stale_lease"), "completed"] + 4 * [(-32005, "state")])
    equal([i["error"]["data"]["state"] for i in first[4:]], list(states))
    equal(unchanged(lambda: s.complete_batch(items), "repeat")["result"]["items"], first)
    equal(show(forged["id"])["status"], "in_progress")
    equal(len([e for e in s.events("task.completed") if "ids" in e]), 1)
    # The single method and the batch know each other's outcome.
    equal(s.complete(good["id"], good["lease_token"])["result"]["status"], "completed")


@case("complete_batch: a task that is named twice is completed once; the worker must be the holder")
def batch_twice():
    fresh()
    t = claimed()
    pair = (t["id"], t["lease_token"], '"first"')
    doc = s.complete_batch([pair, (t["id"], t["lease_token"], '"second"'), (t["id"], "forged")])
    got = [i.get("status") or i["error"]["data"]["reason"] for i in doc["result"]["items"]]
    equal(got, ["completed", "completed", "stale_lease"])
    equal([show(t["id"])["result"], show(t["id"])["version"]], ["first", t["version"] + 1])
    t = claimed("w1")
    equal(s.complete_batch([(t["id"], "")], "w2")["result"]["items"][0]["error"]["data"]["reason"], "stale_lease")
    equal(s.complete_batch([(t["id"], "")], "w1")["result"]["items"][0]["status"], "completed")


@case("complete_batch: retention keeps up with a hundred; one that is damaged fails alone")
def batch_edges():
    fresh()
    for _ in range(3):
        args = [x for i in range(100) for x in s.create_args(f"b{i}")]
        s.ask("task_create_batch", 100, *args, op_args=[1000])
        tasks = s.claim(count=100)["result"]["tasks"]
        s.complete_batch([(t["id"], t["lease_token"]) for t in tasks], keep=(50, 86400000, 0))
        s.age(1)
    check(s.redis.call("ZCARD", s.key("tasks:completed")) <= 150, "retention")
    fresh()
    a, b, c = claimed(), claimed("w9"), claimed()
    s.redis.call("DEL", s.key("queue:instance:w9"))
    s.redis.call("SET", s.key("queue:instance:w9"), "x")
    s.redis.call("SET", s.key("task:t-5"), "x")
    doc = s.complete_batch([(t["id"], t["lease_token"]) for t in (a, b, c)] + [("t-5", "x")])
    got = [i.get("status") or i["error"]["code"] for i in doc["result"]["items"]]
    equal(got, ["completed", -32603, "completed", -32603])
    equal(show(b["id"])["status"], "in_progress")


@case("complete_batch: wrong types")
def batch_types():
    with_wrong_types("complete_batch", ("leases", "tasks:completed", "stream:events"), held,
                     lambda task, lease_token: s.complete_batch([(task, lease_token)]))


# ---- progress ----


@case("progress: kept with the running attempt, shown by get and list, gone with its end")
def progress():
    fresh()
    t = claimed()
    task, lease_token = t["id"], t["lease_token"]
    version = show(task)["version"]
    equal(s.progress(task, lease_token, "12.5", '"half\\nway"')["result"], {})
    got = show(task)
    equal([got["progress"]["percent"], got["progress"]["note"], got["version"]], [12.5, "half\nway", version])
    check(got["progress"]["at"].endswith("Z"), got)
    equal(s.listing()["result"]["tasks"][0]["progress"], got["progress"])
    s.progress(task, lease_token, "20")
    check("note" not in show(task)["progress"], "the note is the last one's")
    secret_is_kept(lease_token)
    s.release(task, lease_token)
    check("progress" not in show(task), "gone")
    t = s.claim()["result"]["tasks"][0]
    check("progress" not in show(task), "the next attempt begins anew")
    s.progress(task, t["lease_token"], "100")
    s.complete(task, t["lease_token"])
    check("progress" not in show(task) and "pg" not in s.task(task), "completed")


@case("progress: at most one event a second, whichever way the clock goes")
def progress_events():
    fresh()
    t, other = claimed(), claimed()
    for i in range(50):
        s.progress(t["id"], t["lease_token"], str(i))
    s.progress(other["id"], other["lease_token"], "1")
    equal([(e["id"], e["percent"]) for e in s.events("task.progress")], [(t["id"], "0"), (other["id"], "1")])
    equal(show(t["id"])["progress"]["percent"], 49)
    for offset in (-1000, 5000):
        s.redis.call("HSET", s.key(f"task:{t['id']}"), "pe", s.wall() + offset)
        s.progress(t["id"], t["lease_token"], "60")
    equal(len(s.events("task.progress")), 4)


@case("progress: only for the holder of the lease, in every other state refused and without effect")
def progress_states():
    fresh()
    for state in ("delayed", *FINISHED, "pending"):
        task, lease_token = in_state(state)
        doc = unchanged(lambda x=task, y=lease_token: s.progress(x, y or "none"), state)
        equal(problem(doc), (-32005, "stale_lease", state))
    fresh()
    t = claimed()
    equal(problem(unchanged(lambda: s.progress(t["id"], "forged"), "forged")), (-32005, "stale_lease", "in_progress"))
    equal(problem(s.progress("t-1", "x")), (-32004, "unknown", None))
    with_wrong_types("progress", ("stream:events", "task:{id}"), held, s.progress)


# ---- update ----


@case("update: text, metadata and priority of live tasks; the version goes up by one, one event says what changed")
def update():
    for state in ("pending", "delayed", "in_progress"):
        fresh()
        task, lease_token = in_state(state)
        before = show(task)
        got = s.update(task, '"new"', metadata='{"m":[]}', priority=7)["result"]
        equal(got, show(task))
        equal([got["text"], got["metadata"], got["priority"]], ["new", {"m": []}, 7])
        equal([got["status"], got["version"]], [state, before["version"] + 1])
        equal([e["fields"] for e in s.events("task.updated")], ["text priority metadata"])
        if lease_token:
            check(lease_token not in json.dumps(got), "the token is in the reply")


@case("update: a pending task's new priority moves it in every set that it is in")
def update_priority():
    fresh()
    low, high, gpu = one(priority=10), one(priority=90), one(priority=20, roles="gpu cpu", queue="default")
    s.update(low, priority=95)
    s.update(gpu, priority=99)
    equal([t["id"] for t in s.claim(count=3, roles="gpu")["result"]["tasks"]], [gpu, low, high])
    equal(indexes(gpu), {"leases", "queue:instance:w1"})
    t = show(low)
    s.update(low, priority=1)
    s.release(low, s.task(low)["tk"].decode())
    other = one(priority=2)
    equal([x["id"] for x in s.claim(count=2)["result"]["tasks"]], [other, low])
    check(t["priority"] == 95, t)


@case("update: every move between states; the illegal ones change nothing")
def update_moves():
    states = ("delayed", "pending", "in_progress", "completed", "failed", "cancelled")
    legal = {("delayed", "pending"), ("delayed", "cancelled"), ("pending", "cancelled")}
    same = {("delayed", "delayed"), ("pending", "pending"), ("in_progress", "in_progress"), ("cancelled", "cancelled")}
    for before in states:
        for after in states:
            fresh()
            task, _ = in_state(before)
            if (before, after) in legal:
                got = s.update(task, status=after)["result"]
                equal(got["status"], after, (before, after))
                equal(indexes(task), {"tasks:cancelled"} if after == "cancelled" else {"queue:tasks:pending"})
                check("next_run_at" not in got and ("endedAt" in got) == (after == "cancelled"), got)
                kind = "task.cancelled" if after == "cancelled" else "task.due"
                equal(len(s.events(kind)), 1, kind)
                if after == "cancelled":
                    equal(s.redis.scan(s.key("queue*")), set())
            elif (before, after) in same:
                equal(unchanged(lambda x=task, y=after: s.update(x, status=y), "same")["result"]["status"], before)
            else:
                doc = unchanged(lambda x=task, y=after: s.update(x, '"t"', status=y), (before, after))
                equal(problem(doc), (-32005, "state", before), (before, after))


@case("update: what has ended is not written anew; an update of nothing gives the task; unknown tasks")
def update_ended():
    for state in FINISHED:
        fresh()
        task, _ = in_state(state)
        for kw in ({"text_": '"x"'}, {"priority": 1}, {"metadata": "{}"}):
            doc = unchanged(lambda x=task, y=kw: s.update(x, **y), state)
            equal(problem(doc), (-32005, "state", state))
        equal(unchanged(lambda x=task: s.update(x), state)["result"], show(task))
    equal(problem(s.update("t-1", '"x"')), (-32004, "unknown", None))


@case("update: if_version keeps the later of two from overwriting the first")
def update_version():
    fresh()
    task = one()
    equal(s.update(task, '"a"', version=1)["result"]["version"], 2)
    doc = unchanged(lambda: s.update(task, '"b"', version=1), "old version")
    equal(doc["error"]["code"], -32005)
    equal(doc["error"]["data"], {"reason": "version", "state": "pending", "version": 2})
    equal(s.update(task, '"b"', version=2)["result"]["version"], 3)


@case("update: a repeat under the same idem changes nothing more, and shows the task as it is by then")
def update_repeat():
    fresh()
    task = one(payload='"' + "p" * 10000 + '"')
    same = {"params_hash": "h" * 16, "idem": s.key("idem:u")}
    first = s.update(task, priority=7, **same)["result"]
    check(s.redis.call("STRLEN", s.key("idem:u")) < 100, "the reply is not stored twice")
    equal(s.update(task, priority=7, **same)["result"], first)
    s.update(task, '"later"')
    equal(s.update(task, priority=7, **same)["result"], show(task))
    s.delete(task)
    equal(problem(s.update(task, priority=7, **same)), (-32004, "unknown", None))


@case("update: cancelled tasks are trimmed as they come; a cancelled delayed task never becomes due")
def update_cancel():
    fresh()
    for _ in range(50):
        s.update(one(), status="cancelled", keep=(10, 86400000, 0))
    check(s.redis.call("ZCARD", s.key("tasks:cancelled")) <= 50, "trimmed")
    fresh()
    task, _ = in_state("delayed")
    s.update(task, status="cancelled")
    s.tick(register=1)
    equal(show(task)["status"], "cancelled")


@case("update: wrong types")
def update_types():
    with_wrong_types("cancel of pending", ("queue:tasks:pending", "queues", "tasks:cancelled", "stream:events"),
                     lambda: in_state("pending")[:1], lambda task: s.update(task, status="cancelled"))
    with_wrong_types("run now", ("queue:delayed", "queue:tasks:pending", "stream:events"),
                     lambda: in_state("delayed")[:1], lambda task: s.update(task, status="pending"))
    with_wrong_types("priority", ("queue:tasks:pending", "stream:events", "task:{id}"),
                     lambda: in_state("pending")[:1], lambda task: s.update(task, priority=1))


# ---- delete ----


@case("delete: from every state that nobody works in; the hash and every index forget it")
def delete():
    for state in ("delayed", *FINISHED, "pending"):
        fresh()
        task, _ = in_state(state)
        equal(s.delete(task)["result"], {"id": task, "status": "deleted"}, state)
        equal(s.redis.call("EXISTS", s.key(f"task:{task}")), 0, state)
        equal(indexes(task), set(), state)
        equal(s.redis.scan(s.key("queue*")), set(), state)
        equal([(e["id"], e["state"]) for e in s.events("task.deleted")], [(task, state)])
        equal(problem(s.delete(task)), (-32004, "unknown", None))
    fresh()
    task, keep = one(roles="a b", queue="q"), one(roles="b", queue="q")
    s.delete(task)
    equal(indexes(task), set())
    equal([t["id"] for t in s.claim(queue="q", roles="a b", count=5)["result"]["tasks"]], [keep])


@case("delete: a task in progress is refused; the same idem gets the same outcome")
def delete_refused():
    fresh()
    t = claimed()
    equal(problem(unchanged(lambda: s.delete(t["id"]), "in progress")), (-32005, "state", "in_progress"))
    s.complete(t["id"], t["lease_token"])
    same = {"params_hash": "h" * 16, "idem": s.key("idem:d")}
    first = s.delete(t["id"], **same)
    equal(s.delete(t["id"], **same)["result"], first["result"])
    equal(len(s.events("task.deleted")), 1)


@case("delete: wrong types")
def delete_types():
    for state, keys in (("pending", ("queue:tasks:pending", "queues", "stream:events", "task:{id}")),
                        ("delayed", ("queue:delayed",)), ("completed", ("tasks:completed",)),
                        ("failed", ("tasks:failed", "queue:dead")), ("cancelled", ("tasks:cancelled",))):
        with_wrong_types(f"delete of {state}", keys, lambda x=state: in_state(x)[:1], s.delete)


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
