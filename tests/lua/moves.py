#!/usr/bin/env python3
"""moves.py: every state × every operation: the resulting state, or the exact error; and what each does to indexes, counts,
events and the version. A cell that is missing is a failure."""

import json

from cbtest import *
from counts import check_counts
from scripts import Scripts

s = None

STATES = ("blocked", "delayed", "pending", "assigned", "in_progress", "completed", "failed", "cancelled")
AGENTS = (("w1", "i1"), ("w2", "i2"))


def fresh():
    s.redis.call("FLUSHALL")
    s.tick(register=1)
    for agent, incarnation in AGENTS:
        s.register(agent, incarnation)


def made(state):
    """A task in the state, and the token of its last lease. `assigned`: in progress, and not yet handed over."""
    if state == "blocked":
        other = s.create("first", queue="other")["result"]["id"]
        return s.create("t", after=[other])["result"]["id"], "none"
    if state == "delayed":
        return s.create("t", delay_ms=3600000)["result"]["id"], "none"
    task = s.create("t")["result"]["id"]
    if state == "pending":
        return task, "none"
    if state == "cancelled":
        s.cancel(task)
        return task, "none"
    if state == "assigned":
        s.assign(task, "w1")
        return task, s.task(task)["tk"].decode()
    lease_token = s.claim("w1")["result"]["tasks"][0]["lease_token"]
    if state == "completed":
        s.complete(task, lease_token)
    elif state == "failed":
        s.fail(task, lease_token, retry=0)
    return task, lease_token


# An operation on (task, token of its last lease).
OPERATIONS = {
    "complete": lambda t, k: s.complete(t, k),
    "complete without token": lambda t, k: s.complete(t),
    "complete by a stranger": lambda t, k: s.complete(t, k + "x"),
    "fail": lambda t, k: s.fail(t, k, backoff=3600000),
    "fail, no retry": lambda t, k: s.fail(t, k, retry=0),
    "release": lambda t, k: s.release(t, k),
    "renew": lambda t, k: s.renew(t, k),
    "progress": lambda t, k: s.progress(t, k),
    "cancel": lambda t, k: s.cancel(t),
    "retry": lambda t, k: s.retry(t),
    "delete": lambda t, k: s.delete(t),
    "update text": lambda t, k: s.update(t, '"new"'),
    "update to pending": lambda t, k: s.update(t, status="pending"),
    "update to cancelled": lambda t, k: s.update(t, status="cancelled"),
    "update to blocked": lambda t, k: s.update(t, status="blocked"),
    "update to delayed": lambda t, k: s.update(t, status="delayed"),
    "update to in_progress": lambda t, k: s.update(t, status="in_progress"),
    "update to completed": lambda t, k: s.update(t, status="completed"),
    "update to failed": lambda t, k: s.update(t, status="failed"),
    "assign": lambda t, k: s.assign(t, "w2"),
    "reassign to its queue": lambda t, k: s.reassign(t),
    "reassign to another": lambda t, k: s.reassign(t, "w2"),
    "get": lambda t, k: s.get(t),
}

# Per operation, a word for each of STATES: the state afterwards; `same` = done, and nothing changed; `gone`;
# `state`, `stale` = -32005 with that reason, and nothing changed.
#                          blocked       delayed      pending      assigned       in_progress    completed    failed       cancelled
TABLE = {
    "complete":               "stale     stale        stale        completed      completed      again        stale        stale",
    "complete without token": "state     state        state        completed      completed      state        state        state",
    "complete by a stranger": "stale     stale        stale        stale          stale          stale        stale        stale",
    "fail":                   "stale     stale        stale        delayed        delayed        stale        again        stale",
    "fail, no retry":         "stale     stale        stale        failed         failed         stale        again        stale",
    "release":                "stale     stale        stale        pending        pending        stale        stale        stale",
    "renew":                  "stale     stale        stale        renewed        renewed        stale        stale        stale",
    "progress":               "stale     stale        stale        renewed        renewed        stale        stale        stale",
    "cancel":                 "cancelled cancelled    cancelled    cancelled      cancelled      state        state        same",
    "retry":                  "state     state        state        state          state          state        pending      pending",
    "delete":                 "gone      gone         gone         state          state          gone         gone         gone",
    "update text":            "blocked   delayed      pending      in_progress    in_progress    state        state        state",
    "update to pending":      "pending   pending      same         state          state          state        state        state",
    "update to cancelled":    "cancelled cancelled    cancelled    state          state          state        state        same",
    "update to blocked":      "same      state        state        state          state          state        state        state",
    "update to delayed":      "state     same         state        state          state          state        state        state",
    "update to in_progress":  "state     state        state        same           same           state        state        state",
    "update to completed":    "state     state        state        state          state          state        state        state",
    "update to failed":       "state     state        state        state          state          state        state        state",
    "assign":                 "state     state        in_progress  state          state          state        state        state",
    "reassign to its queue":  "state     state        same         pending        pending        state        state        state",
    "reassign to another":    "state     state        in_progress  in_progress    in_progress    state        state        state",
    "get":                    "same      same         same         same           same           same         same         same",
}

INDEX = {"blocked": {"queue:blocked"}, "delayed": {"queue:delayed"}, "pending": {"queue:tasks:pending"},
         "completed": {"tasks:completed"}, "failed": {"tasks:failed", "queue:dead"}, "cancelled": {"tasks:cancelled"}}


def places(task):
    """Names of all sets that hold the id."""
    found = set()
    for key in s.redis.scan():
        kind = s.redis.call("TYPE", key)
        if kind == b"zset" and s.redis.call("ZSCORE", key, task) is not None \
                or kind == b"set" and s.redis.call("SISMEMBER", key, task):
            found.add(key.decode()[3:])
    return found


HELD = {"in_progress", "completed"}  # a completed task keeps the fields of its holder


def check_place(task, what):
    """Its indexes are those of its state, and its fields no others."""
    t = s.task(task)
    state = t["st"].decode()
    want = INDEX.get(state)
    if state == "in_progress":
        holder = t["ho"].decode()
        want = {"leases", f"queue:instance:{holder}"} | ({f"assigned:{holder}"} if "as" in t else set())
    if state == "blocked":
        want = want | {f"task:{d}:dependents" for d in t["af"].decode().split()}
    equal(places(task), want, what)
    for field, states in (("tk", HELD), ("ho", HELD), ("le", HELD), ("as", {"in_progress"}), ("af", {"blocked"}),
                          ("du", {"delayed", "blocked"}), ("de", {"failed"}), ("dr", {"failed"}),
                          ("en", {"completed", "failed", "cancelled"})):
        check(field not in t or state in states, f"{what}: {field} of a task that is {state}")
    if state in ("completed", "failed", "cancelled"):
        check("en" in t, f"{what}: no end")


def state_of(state):
    return "in_progress" if state == "assigned" else state


def try_cell(state, operation, cell):
    fresh()
    task, lease_token = made(state)
    what = f"{operation} of {state}"
    check_place(task, f"before {what}")
    version = int(s.task(task)["v"])
    before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
    events = len(s.events())
    doc = OPERATIONS[operation](task, lease_token)
    equal(doc["internal"], [], what)
    after = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
    if cell in ("state", "stale"):
        equal(doc.get("error", {}).get("code"), -32005, f"{what}: {short(json.dumps(doc))}")
        reason = {"state": "state", "stale": "stale_lease"}[cell]
        equal([doc["error"]["data"]["reason"], doc["error"]["data"]["state"]], [reason, state_of(state)], what)
    else:
        check("result" in doc, f"{what}: {short(json.dumps(doc))}")
    if cell in ("state", "stale", "same", "again"):
        check(before == after, f"{what} changed {sorted(k for k in set(before) | set(after) if before.get(k) != after.get(k))}")
        equal(len(s.events()), events, f"{what}: an event")
    elif cell == "gone":
        equal(s.task(task), {}, what)
        equal(places(task), set(), what)
        equal(s.events()[-1]["type"], "task.deleted", what)
    elif cell == "renewed":
        equal(s.task(task)["st"], b"in_progress", what)
        equal(int(s.task(task)["v"]), version, f"{what}: the version")
    else:
        equal(s.task(task)["st"].decode(), cell, what)
        check(int(s.task(task)["v"]) > version, f"{what}: the version did not grow")
        check(len(s.events()) > events, f"{what}: no event")
        shown = doc["result"].get("status", cell)
        equal(shown, cell, f"{what}: the answer")
    if cell != "gone":
        check_place(task, f"after {what}")
    check_counts(s, what)
    old = lease_token if state in ("assigned", "in_progress") else None
    if old and s.task(task).get("tk", b"").decode() != old:
        for name, action in (("renew", lambda: s.renew(task, old)), ("progress", lambda: s.progress(task, old))):
            error = action()["error"]
            equal([error["code"], error["data"]["reason"]], [-32005, "stale_lease"], f"{name} after {what}")


@case("the table has a cell for every state and operation")
def whole():
    equal(set(TABLE), set(OPERATIONS))
    for operation, row in TABLE.items():
        equal(len(row.split()), len(STATES), operation)


def make_cases():
    for operation, row in TABLE.items():
        cells = list(zip(STATES, row.split()))
        add_case(f"{operation}, in every state",
                 lambda o=operation, c=cells: [try_cell(state, o, cell) for state, cell in c])


@case("claims see pending tasks only")
def claims():
    for state in STATES:
        fresh()
        task, _ = made(state)
        got = s.claim("w2")["result"]
        equal([t["id"] for t in got["tasks"]], [task] if state == "pending" else [], state)
        check_counts(s, state)


@case("a tick: what it moves, and what it leaves alone, in every state")
def ticks():
    for state in STATES:
        fresh()
        task, _ = made(state)
        s.age(3600)
        for _ in range(3):
            equal(s.tick()["problem"], "", state)
        want = "pending" if state in ("assigned", "in_progress") else state
        equal(s.task(task)["st"].decode(), want, state)
        check_place(task, f"tick of {state}")
        check_counts(s, f"tick of {state}")


@case("if_version: update, cancel, retry and delete refuse another one, and change nothing")
def versions():
    for state, operation in (("pending", s.cancel), ("failed", s.retry), ("delayed", s.delete), ("cancelled", s.delete)):
        fresh()
        task, _ = made(state)
        version = int(s.task(task)["v"])
        before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
        for wrong in (version + 1, max(1, version - 1)):
            if wrong == version:
                continue
            error = operation(task, version=wrong)["error"]
            equal([error["code"], error["data"]], [-32005, {"reason": "version", "state": state, "version": version}], state)
        check(s.dump(("requests:", "reply:", "duplicates:", "clock", "meta")) == before, f"{state}: changed")
        check("result" in operation(task, version=version), state)


def damage_field(task, field, damage):
    """Leaves it so many words of what it says, or makes it that text; of nothing there is no such field."""
    key = s.key(f"task:{task}")
    text = damage if isinstance(damage, str) else b" ".join(s.redis.call("HGET", key, field).split(b" ")[:damage])
    s.redis.call(*(["HSET", key, field, text] if text else ["HDEL", key, field]))


@case("a task without its constants, or its state, or a part of that, in every state: an operation that cannot be done whole is refused, and changes nothing")
def damaged():
    for state in STATES:
        for name, operation in OPERATIONS.items():
            for field, damage in (("c", 0), ("s", 0), ("s", 1), ("s", 4), ("s", 6), ("s", "?"), ("s", f"{state_of(state)} 1 x 5")):
                what = f"{name} of {state} with {damage!r} for {field}"
                fresh()
                task, lease_token = made(state)
                damage_field(task, field, damage)
                before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
                doc = operation(task, lease_token)
                if "error" in doc:
                    after = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
                    changed = sorted(k for k in set(before) | set(after) if before.get(k) != after.get(k))
                    equal(changed, [], f"{what}: {doc}")
                status = s.task(task).get("st")
                check(status in (None, b"?") or status.decode() in INDEX or status == b"in_progress", f"{what}: it became {status}")


@case("an unknown task: -32004 from every operation")
def unknown():
    fresh()
    for name, operation in OPERATIONS.items():
        error = operation("t-1", "x")["error"]
        equal([error["code"], error["data"]["reason"]], [-32004, "unknown"], name)


def run(**scripts):
    global s  # pylint: disable=global-statement
    arguments()
    s = Scripts(**scripts)
    at_exit(s.close)
    make_cases()
    main()


if __name__ == "__main__":
    run()
