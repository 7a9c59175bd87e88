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
    states = ("delayed", "failed", "pending")
    items += [(in_state(state)[0], "") for state in states]
    first = s.complete_batch(items)["result"]["items"]
    equal([i["id"] for i in first], [i[0] for i in items])
    got = [i.get("status") or (i["error"]["code"], i["error"]["data"]["reason"]) for i in first]
    equal(got, [(-32004, "unknown"), "completed", (-32005, "stale_lease"), "completed"] + 3 * [(-32005, "state")])
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
    for state in ("delayed", "completed", "failed", "pending"):
        task, lease_token = in_state(state)
        doc = unchanged(lambda x=task, y=lease_token: s.progress(x, y or "none"), state)
        equal(problem(doc), (-32005, "stale_lease", state))
    fresh()
    t = claimed()
    equal(problem(unchanged(lambda: s.progress(t["id"], "forged"), "forged")), (-32005, "stale_lease", "in_progress"))
    equal(problem(s.progress("t-1", "x")), (-32004, "unknown", None))
    with_wrong_types("progress", ("stream:events", "task:{id}"), held, s.progress)


# ---- delete ----


@case("delete: from every state that nobody works in; the hash and every index forget it")
def delete():
    for state in ("delayed", "completed", "failed", "pending"):
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
                        ("failed", ("tasks:failed", "queue:dead"))):
        with_wrong_types(f"delete of {state}", keys, lambda x=state: in_state(x)[:1], s.delete)


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
