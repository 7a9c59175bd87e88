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
    def prepare():
        t = claimed()
        return t["id"], t["lease_token"]

    with_wrong_types("complete_batch", ("leases", "tasks:completed", "stream:events"), prepare,
                     lambda task, lease_token: s.complete_batch([(task, lease_token)]))


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
