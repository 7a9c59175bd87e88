#!/usr/bin/env python3
"""more_tasks.py: complete_batch, progress, update, assign, reassign, delete as scripts: every state, repeats, types."""

import json

from cbtest import *
from counts import check_counts
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
    check("progress" not in show(task) and "progress" not in s.listing()["result"]["tasks"][0], "completed")


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
                    equal(s.redis.scan(s.key("queue:*")), set())
                    check_counts(s)
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


@case("update with a reply of more than 16 KiB: a repeat changes nothing more, and shows the task as it is by then")
def update_repeat():
    fresh()
    task = one(payload='"' + "p" * 20000 + '"')
    same = {"params_hash": "h" * 16, "idem": "idem:u"}
    first = s.update(task, priority=7, **same)["result"]
    check(len(s.kept("idem:u")) < 100, "the reply is not stored twice")
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


# ---- assign ----


def assigned(agent="agent/1", incarnation="i1", **kw):
    """A task assigned to a live agent and not yet handed over: id, token."""
    s.register(agent, incarnation)
    task = one(**kw)
    doc = s.assign(task, agent)
    check("result" in doc, doc)
    return task, s.task(task)["tk"].decode()


@case("assign: in progress from then on; the holder's next claim returns it first, with its token, and once")
def assign():
    fresh()
    s.register("agent/1", "i1")
    urgent, task = one(priority=100), one(priority=0, queue="other", roles="gpu", payload="[1]", lease=5000)
    doc = s.assign(task, "agent/1")["result"]
    equal([doc["taskId"], doc["instanceId"]], [task, "agent/1"])
    lease_token = s.task(task)["tk"].decode()
    got = show(task)
    equal([got["status"], got["assignedTo"], got["attempt"], got["version"]], ["in_progress", "agent/1", 1, 2])
    equal(indexes(task), {"leases", "queue:instance:agent/1", "assigned:agent/1"})
    equal([(e["id"], e["to"]) for e in s.events("task.assigned")], [(task, "agent/1")])
    secret_is_kept(lease_token)
    check(lease_token not in json.dumps(s.get(task)), "get")
    equal([t["id"] for t in s.claim("somebody", 5)["result"]["tasks"]], [urgent])
    urgent = one(priority=100)
    tasks = s.claim("agent/1", 2, incarnation="i1")["result"]["tasks"]
    equal([t["id"] for t in tasks], [task, urgent])
    equal([tasks[0]["lease_token"], tasks[0]["attempt"], tasks[0]["payload"]], [lease_token, 1, [1]])
    check(tasks[0]["lease_until"] >= got["lease_until"], "the lease runs anew from the hand-over")
    equal(indexes(task), {"leases", "queue:instance:agent/1"})
    equal(s.claim("agent/1", 2)["result"]["claimed"], False)
    equal([e["ids"] for e in s.events("task.claimed") if e.get("assigned")], [task])
    equal(s.complete(task, lease_token, "agent/1")["result"]["status"], "completed")


@case("assign: a task that its holder never got was not started: neither an attempt nor a loss is charged")
def assign_unstarted():
    fresh()
    s.tick(register=1)
    s.register("agent/1", "i1")
    task = one(max_attempts=1, lease=1000)
    ends = (lambda: (s.age(2), s.tick()), lambda: s.register("agent/1", "i2"), lambda: s.unregister("agent/1", "i2"))
    for end in ends:
        s.assign(task, "agent/1")
        equal(show(task)["attempt"], 1)
        end()
        got = show(task)
        equal((got["status"], got["attempt"], got.get("crashes", 0)), ("pending", 0, 0))


@case("assign: a lease that ended before the hand-over is not handed over as it was")
def assign_late():
    fresh()
    s.register("agent/1", "i1")
    task = one(lease=200)
    s.assign(task, "agent/1")
    s.age(1)
    handed = s.claim("agent/1", 1, lease=60000)["result"]["tasks"][0]
    s.tick(register=1)
    equal(show(task)["status"], "in_progress", "the claim's own lease counts")
    equal(s.complete(task, handed["lease_token"], "agent/1")["result"]["status"], "completed")


@case("assign: only what is pending, only to a registered agent that lives; else nothing changes")
def assign_refused():
    fresh()
    s.register("agent/1", "i1")
    s.tick(register=1)
    for state in ("delayed", *FINISHED, "in_progress"):
        task, _ = in_state(state)
        equal(problem(unchanged(lambda x=task: s.assign(x, "agent/1"), state)), (-32005, "state", state))
    task = one()
    equal(problem(s.assign("t-1", "agent/1")), (-32004, "unknown", None))
    equal(problem(unchanged(lambda: s.assign(task, "nobody"), "unknown")), (-32004, "unknown", None))
    equal(problem(unchanged(lambda: s.assign(task, "host-a"), "daemon")), (-32005, "state", "ACTIVE"))
    s.register("gone", "i1")
    s.unregister("gone", "i1")
    equal(problem(unchanged(lambda: s.assign(task, "gone"), "offline")), (-32005, "state", "OFFLINE"))
    s.age(31)
    equal(problem(unchanged(lambda: s.assign(task, "agent/1"), "silent")), (-32005, "state", "OFFLINE"))


@case("assign: oldest first, no more than asked for; a repeated claim gives them again; 100 wait at most")
def assign_many():
    fresh()
    s.register("a", "i1")
    made = [one(priority=i) for i in range(101)]
    for task in made[:100]:
        check("result" in s.assign(task, "a"), task)
    doc = unchanged(lambda: s.assign(made[100], "a"), "full")
    equal([doc["error"]["code"], doc["error"]["data"]["retry_after_ms"]], [-32007, 1000])
    # One that waits there already takes no more room, only a new token; one that it does not hold is refused.
    before = s.task(made[99])["tk"]
    equal(s.reassign(made[99], "a")["result"]["assignedTo"], "a")
    check(s.task(made[99])["tk"] != before and s.redis.call("ZCARD", s.key("assigned:a")) == 100, "a new token")
    equal(unchanged(lambda: s.reassign(made[100], "a"), "full")["error"]["code"], -32007)
    same = {"params_hash": "h" * 16, "idem": "idem:c"}
    args = s.claim_args("a", 30)
    first = s.ask("task_claim", *args, op_args=[30000, 30000], **same)["result"]
    equal([t["id"] for t in first["tasks"]], made[:30])
    equal(first["taskId"], made[0])
    equal(s.ask("task_claim", *args, op_args=[30000, 30000], **same)["result"], first)
    rest = [t["id"] for t in s.claim("a", 100)["result"]["tasks"]]
    equal(rest, made[30:])
    equal(s.redis.call("EXISTS", s.key("assigned:a")), 0)


@case("assign: the task's roles are overruled, and hold again when it goes back to its queue")
def assign_roles():
    fresh()
    s.register("a", "i1", roles='["other"]')
    task = one(roles="needed")
    check("result" in s.assign(task, "a"), "assigned")
    equal(s.claim("a")["result"]["taskId"], task)
    s.reassign(task)
    equal(s.claim("a")["result"]["claimed"], False)
    equal(s.claim("b", roles="needed")["result"]["taskId"], task)


@case("assign: `next` of a completion hands it over, too; large ones within the bytes of a claim")
def assign_next():
    fresh()
    s.register("a", "i1")
    t = claimed("a")
    task = one(payload='"' + "p" * 200000 + '"')
    s.assign(task, "a")
    lease_token = s.task(task)["tk"].decode()
    got = s.complete(t["id"], t["lease_token"], "a", next_args=s.claim_args("a", 5))["result"]["tasks"]
    equal([(x["id"], x["lease_token"]) for x in got], [(task, lease_token)])
    made = {one(payload='"' + "p" * 200000 + '"') for _ in range(6)}
    for x in sorted(made):
        s.assign(x, "a")
    seen = set()
    while len(seen) < 6:
        doc = s.claim("a", 100)
        check(doc["result"]["claimed"] and len(json.dumps(doc)) < 1000000, "within the bytes")
        seen |= {x["id"] for x in doc["result"]["tasks"]}
    equal(seen, made)


@case("assign: what ends before it is handed over leaves the list: lease, silence, new incarnation, completion, release")
def assign_ends():
    def ended(way, want):
        fresh()
        task, lease_token = assigned("a", "i1", lease=1000)
        way(task, lease_token)
        equal(show(task)["status"], want)
        check("as" not in s.task(task), "the mark is gone")
        equal(s.redis.call("EXISTS", s.key("assigned:a")), 0)
        s.register("a", "i3")
        equal([t["id"] for t in s.claim("a", incarnation="i3")["result"]["tasks"]], [task] if want == "pending" else [])

    def expire(*_):
        s.age(2)
        s.tick(register=1)

    ended(expire, "pending")
    ended(lambda *_: s.unregister("a", "i1"), "pending")
    ended(lambda *_: s.register("a", "i2"), "pending")
    ended(lambda task, lease_token: s.release(task, lease_token), "pending")
    ended(lambda task, _: s.complete(task, "", "a"), "completed")
    ended(lambda task, _: s.complete_batch([(task, "")], "a"), "completed")
    ended(lambda task, lease_token: s.fail(task, lease_token, retry=0), "failed")
    ended(lambda task, _: s.reassign(task), "pending")


@case("assign: entries that point nowhere, or to a damaged task, do not keep a claim from what is there")
def assign_damaged():
    fresh()
    bad, _ = assigned("a")
    s.redis.call("HDEL", s.key(f"task:{bad}"), "cr")
    for i in range(3):
        s.redis.call("ZADD", s.key("assigned:a"), i, f"t-{i}")
    s.redis.call("SET", s.key("task:t-1"), "x")
    task, _ = assigned("b")
    s.reassign(task, "a")
    equal([t["id"] for t in s.claim("a")["result"]["tasks"]], [task])
    equal(s.redis.call("EXISTS", s.key("assigned:a")), 0)


@case("assign: a claim that names another incarnation does not get it")
def assign_incarnation():
    fresh()
    task, _ = assigned("a", "i1")
    equal(problem(s.claim("a", incarnation="i0")), (-32005, "stale_incarnation", "ACTIVE"))
    s.redis.call("HSET", s.key("instance:a"), "inc", "i2")
    equal(s.claim("a", incarnation="i2")["result"]["claimed"], False)
    equal(indexes(task), {"leases", "queue:instance:a", "assigned:a"})


@case("assign, reassign and the claim of what was assigned: wrong types; a repeat under the same idem")
def assign_types():
    def prepare():
        s.register("a", "i1")
        return in_state("pending")[:1]

    keys = ("queue:tasks:pending", "queues", "leases", "queue:instance:a", "assigned:a", "instance:a", "instances:active",
            "stream:events", "meta", "task:{id}")
    with_wrong_types("assign", keys, prepare, lambda task: s.assign(task, "a"))
    with_wrong_types("reassign to", keys, prepare, lambda task: s.reassign(task, "a"))
    with_wrong_types("reassign", ("queue:tasks:pending", "queues", "leases", "queue:instance:w1", "stream:events"), held,
                     lambda task, _: s.reassign(task))
    with_wrong_types("reassign", ("assigned:a",), lambda: assigned("a"), lambda task, _: s.reassign(task))
    with_wrong_types("claim", ("assigned:a", "stream:events"), lambda: assigned("a"), lambda *_: s.claim("a"))
    fresh()
    task, = prepare()
    same = {"params_hash": "h" * 16, "idem": "idem:a"}
    first = s.assign(task, "a", **same)["result"]
    equal(s.assign(task, "a", **same)["result"], first)
    equal(s.redis.call("ZCARD", s.key("assigned:a")), 1)


# ---- reassign ----


@case("reassign: back to its queue, the attempt not charged; the old token is stale, and a beat tells its holder")
def reassign():
    fresh()
    s.register("a", "i1")
    one(priority=3)
    t = s.claim("a", incarnation="i1")["result"]["tasks"][0]
    task, old = t["id"], t["lease_token"]
    equal(s.reassign(task, why="too slow \x1b[0m")["result"], {"id": task, "assignedTo": None})
    got = show(task)
    equal([got["status"], got["attempt"], got["version"]], ["pending", 0, t["version"] + 1])
    equal(indexes(task), {"queue:tasks:pending"})
    event = s.events("task.reassigned")[0]
    equal([event["id"], event["from"], event["reason"], event.get("to")], [task, "a", "too slow \x1b[0m", None])
    equal(s.heartbeat("a", "i1", [(task, old)])["result"]["cancel"],
          [{"id": task, "lease_token": old, "reason": "lease_lost"}])
    equal(problem(s.complete(task, old)), (-32005, "stale_lease", "pending"))
    again = s.claim("b")["result"]["tasks"][0]
    equal([again["id"], again["attempt"]], [task, 1])
    for doc in (s.complete(task, old), s.fail(task, old), s.release(task, old), s.renew(task, old), s.progress(task, old)):
        equal(problem(doc), (-32005, "stale_lease", "in_progress"))
    equal(s.complete(task, again["lease_token"])["result"]["status"], "completed")


@case("reassign to an instance: in progress there, the attempt charged once, its next claim has the new token")
def reassign_to():
    fresh()
    s.register("b", "i1")
    t = claimed("a")
    s.progress(t["id"], t["lease_token"], "50")
    equal(s.reassign(t["id"], "b", "b knows how")["result"], {"id": t["id"], "assignedTo": "b"})
    got = show(t["id"])
    equal([got["status"], got["assignedTo"], got["attempt"]], ["in_progress", "b", 1])
    check("progress" not in got, "the progress was the other's")
    equal(indexes(t["id"]), {"leases", "queue:instance:b", "assigned:b"})
    equal(problem(s.complete(t["id"], t["lease_token"])), (-32005, "stale_lease", "in_progress"))
    equal(s.claim("a")["result"]["claimed"], False)
    # Once more, before it was handed over: only the last token is good.
    middle = s.task(t["id"])["tk"].decode()
    s.reassign(t["id"], "b")
    new = s.claim("b")["result"]["tasks"][0]
    equal([new["id"], new["attempt"]], [t["id"], 1])
    equal(len({t["lease_token"], middle, new["lease_token"]}), 3)
    equal(problem(s.complete(t["id"], middle)), (-32005, "stale_lease", "in_progress"))
    secret_is_kept(new["lease_token"])
    # A pending one is given to it as by assign.
    task = one()
    s.reassign(task, "b")
    equal([x["id"] for x in s.claim("b")["result"]["tasks"]], [task])


@case("reassign: what is neither held nor waiting is refused; a waiting one without a goal stays as it is")
def reassign_states():
    fresh()
    s.register("b", "i1")
    for state in ("delayed", *FINISHED):
        task, _ = in_state(state)
        for to in ("", "b"):
            doc = unchanged(lambda x=task, y=to: s.reassign(x, y), state)
            equal(problem(doc), (-32005, "state", state))
    task, _ = in_state("pending")
    equal(unchanged(lambda: s.reassign(task), "pending")["result"], {"id": task, "assignedTo": None})
    s.delete(task)
    t = claimed()
    equal(problem(unchanged(lambda: s.reassign(t["id"], "nobody"), "unknown")), (-32004, "unknown", None))
    equal(problem(s.reassign("t-1")), (-32004, "unknown", None))
    same = {"params_hash": "h" * 16, "idem": "idem:r"}
    first = s.reassign(t["id"], "b", **same)["result"]
    equal(unchanged(lambda: s.reassign(t["id"], "b", **same), "repeat")["result"], first)


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
    same = {"params_hash": "h" * 16, "idem": "idem:d"}
    first = s.delete(t["id"], **same)
    equal(s.delete(t["id"], **same)["result"], first["result"])
    equal(len(s.events("task.deleted")), 1)


@case("delete: wrong types")
def delete_types():
    for state, keys in (("pending", ("queue:tasks:pending", "queues", "stream:events", "task:{id}")),
                        ("delayed", ("queue:delayed",)), ("completed", ("tasks:completed",)),
                        ("failed", ("tasks:failed", "queue:dead")), ("cancelled", ("tasks:cancelled",))):
        with_wrong_types(f"delete of {state}", keys, lambda x=state: in_state(x)[:1], s.delete)


# ---- all of them together ----


@case("random walks with every operation: each task is where its state says, and the assigned are listed")
def walks():
    draw = rng("more walks")
    for _ in range(3):
        fresh()
        s.tick(register=1)
        agents = ("w1", "w2")
        for agent in agents:
            s.register(agent, "i1")
        made, tokens = [], {}
        for step in range(400):
            if step % 20 == 0:
                for agent in agents:
                    s.heartbeat(agent, "i1")
            what = draw.randrange(12)
            task = draw.choice(made) if made else one()
            lease_token = tokens.get(task, "none") if draw.random() < 0.9 else "forged"
            if what <= 2:
                made.append(one(priority=draw.randint(0, 100), max_attempts=draw.randint(1, 3),
                                roles=draw.choice(["", "a", "a b"])))
            elif what <= 4:
                doc = s.claim(draw.choice(agents), draw.randint(1, 4), roles=draw.choice(["", "a b"]),
                              lease=draw.choice(["", 100]))
                tokens.update({t["id"]: t["lease_token"] for t in doc["result"]["tasks"]})
            elif what == 5:
                s.age(0.2)
                s.tick()
            elif what == 6:
                s.update(task, priority=draw.randint(0, 100), status=draw.choice(["", "", "cancelled", "pending"]))
            elif what == 7:
                s.assign(task, draw.choice(agents))
            elif what == 8:
                s.reassign(task, draw.choice(["", *agents]))
            elif what == 9:
                s.complete_batch([(x, tokens.get(x, "none")) for x in draw.sample(made, min(len(made), 2))] or [("t-1", "")])
            elif what == 10:
                s.progress(task, lease_token, str(draw.randint(0, 100)))
            else:
                draw.choice([s.delete, lambda x: s.fail(x, lease_token), lambda x: s.release(x, lease_token)])(task)
        check_places()


def check_places():
    listed = set()
    for key in s.redis.scan(s.key("task:t-*")):
        task, t = key.decode().split(":", 2)[2], s.redis.hash(key)
        listed.add(task)
        status, roles = t["st"].decode(), t.get("ro", b"").decode().split()
        holder = t.get("ho", b"?").decode()
        want = {
            "pending": {f"queue:default:role:{r}" for r in roles} or {"queue:tasks:pending"},
            "in_progress": {"leases", f"queue:instance:{holder}"} | ({f"assigned:{holder}"} if "as" in t else set()),
            "delayed": {"queue:delayed"},
            "completed": {"tasks:completed"},
            "failed": {"tasks:failed", "queue:dead"},
            "cancelled": {"tasks:cancelled"},
        }[status]
        equal(indexes(task), want, f"{task} is {status}")
        check(("tk" in t) == (status in ("in_progress", "completed")), f"{task}: {status} and token")
        check(int(t["at"]) <= int(t["ma"]), f"{task}: attempts {t['at']} of {t['ma']}")
        if status == "pending":
            for key_ in want:
                equal(int(s.redis.call("ZSCORE", s.key(key_), task)), -int(t["pr"]), task)
    for key in s.redis.scan():
        if (s.redis.call("TYPE", key) == b"zset" and key not in (b"cb:queues", b"cb:gossip:beats")
                and not key.startswith(b"cb:instances:")):
            members = {m.decode() for m in s.redis.call("ZRANGE", key, 0, -1)}
            check(members <= listed, f"{key.decode()} lists {sorted(members - listed)}")
    check_loads()


def check_loads():
    flat = s.redis.call("ZRANGE", s.key("instances:load"), 0, -1, "WITHSCORES")
    for name, score in zip(flat[::2], flat[1::2]):
        h = s.redis.hash(s.key("instance:" + name.decode()))
        equal(h["st"], b"ACTIVE", f"{name} has a load")
        held = s.redis.call("SCARD", s.key("queue:instance:" + name.decode()))
        want = 1000 if "mu" in h else min(1000, held * 1000 // int(h["capacity"]))
        equal(int(float(score) // 10**12), want, f"load of {name}, which holds {held}")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
