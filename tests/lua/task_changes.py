#!/usr/bin/env python3
"""task_changes.py: complete_batch, progress, update and delete as scripts: every state, repeats, types; and walks with all operations."""

import json

from cbtest import *
from counts import check_counts
from task_scripts import TaskScripts, problem

s = None
FINISHED = ("completed", "failed", "cancelled")


# ---- complete_batch ----


@case("complete_batch: outcomes in order, one event, indexes as after single completions")
def batch():
    s.fresh()
    for i in range(4):
        s.one(queue="q")
    tasks = s.claim("w1", 3, queue="q")["result"]["tasks"] + s.claim("w2", 1, queue="q")["result"]["tasks"]
    doc = s.complete_batch([(t["id"], t["lease_token"], f'{{"r":[{i}]}}') for i, t in enumerate(tasks)])
    equal(doc["result"]["items"], [{"id": t["id"], "status": "completed"} for t in tasks])
    for i, t in enumerate(tasks):
        got = s.show(t["id"])
        equal([got["status"], got["result"], got["version"]], ["completed", {"r": [i]}, t["version"] + 1])
        check("assignedTo" not in got and "lease_until" not in got, got)
        equal(s.indexes(t["id"]), {"tasks:completed"})
    equal([e["ids"] for e in s.events("task.completed")], [" ".join(t["id"] for t in tasks)])
    s.secret_is_kept(tasks[0]["lease_token"])


@case("complete_batch: each item by itself, in every state; a repeat gets the same, and completes nothing twice")
def batch_items():
    s.fresh()
    done, done_token = s.in_state("completed")
    good = s.claimed()
    forged = s.claimed()
    items = [("t-1", "x"), (good["id"], good["lease_token"]), (forged["id"], "forged"), (done, done_token)]
    states = ("delayed", "failed", "cancelled", "pending")
    items += [(s.in_state(state)[0], "") for state in states]
    first = s.complete_batch(items)["result"]["items"]
    equal([i["id"] for i in first], [i[0] for i in items])
    got = [i.get("status") or (i["error"]["code"], i["error"]["data"]["reason"]) for i in first]
    equal(got, [(-32004, "unknown"), "completed", (-32005, "stale_lease"), "completed"] + 4 * [(-32005, "state")])
    equal([i["error"]["data"]["state"] for i in first[4:]], list(states))
    equal(s.unchanged(lambda: s.complete_batch(items), "repeat")["result"]["items"], first)
    equal(s.show(forged["id"])["status"], "in_progress")
    equal(len([e for e in s.events("task.completed") if "ids" in e]), 1)
    # The single method and the batch know each other's outcome.
    equal(s.complete(good["id"], good["lease_token"])["result"]["status"], "completed")


@case("complete_batch: a task that is named twice is completed once; the worker must be the holder")
def batch_twice():
    s.fresh()
    t = s.claimed()
    pair = (t["id"], t["lease_token"], '"first"')
    doc = s.complete_batch([pair, (t["id"], t["lease_token"], '"second"'), (t["id"], "forged")])
    got = [i.get("status") or i["error"]["data"]["reason"] for i in doc["result"]["items"]]
    equal(got, ["completed", "completed", "stale_lease"])
    equal([s.show(t["id"])["result"], s.show(t["id"])["version"]], ["first", t["version"] + 1])
    t = s.claimed("w1")
    equal(s.complete_batch([(t["id"], "")], "w2")["result"]["items"][0]["error"]["data"]["reason"], "stale_lease")
    equal(s.complete_batch([(t["id"], "")], "w1")["result"]["items"][0]["status"], "completed")


@case("complete_batch: retention keeps up with a hundred; one that is damaged fails alone")
def batch_edges():
    s.fresh()
    for _ in range(3):
        args = [x for i in range(100) for x in s.create_args(f"b{i}")]
        s.ask("task_create_batch", 100, *args, op_args=[1000])
        tasks = s.claim(count=100)["result"]["tasks"]
        s.complete_batch([(t["id"], t["lease_token"]) for t in tasks], keep=(50, 86400000, 0))
        s.age(1)
    check(s.redis.call("ZCARD", s.key("tasks:completed")) <= 150, "retention")
    s.fresh()
    a, b, c = s.claimed(), s.claimed("w9"), s.claimed()
    s.redis.call("DEL", s.key("queue:instance:w9"))
    s.redis.call("SET", s.key("queue:instance:w9"), "x")
    s.redis.call("SET", s.key("task:t-5"), "x")
    doc = s.complete_batch([(t["id"], t["lease_token"]) for t in (a, b, c)] + [("t-5", "x")])
    got = [i.get("status") or i["error"]["code"] for i in doc["result"]["items"]]
    equal(got, ["completed", -32603, "completed", -32603])
    equal(s.show(b["id"])["status"], "in_progress")


@case("complete_batch: wrong types")
def batch_types():
    s.with_wrong_types("complete_batch", ("leases", "tasks:completed", "stream:events"), s.held,
                     lambda task, lease_token: s.complete_batch([(task, lease_token)]))


# ---- progress ----


@case("progress: kept with the running attempt, shown by get and list, gone with its end")
def progress():
    s.fresh()
    t = s.claimed()
    task, lease_token = t["id"], t["lease_token"]
    version = s.show(task)["version"]
    equal(s.progress(task, lease_token, "12.5", '"half\\nway"')["result"], {})
    got = s.show(task)
    equal([got["progress"]["percent"], got["progress"]["note"], got["version"]], [12.5, "half\nway", version])
    check(got["progress"]["at"].endswith("Z"), got)
    equal(s.listing()["result"]["tasks"][0]["progress"], got["progress"])
    s.progress(task, lease_token, "20")
    check("note" not in s.show(task)["progress"], "the note is the last one's")
    s.secret_is_kept(lease_token)
    s.release(task, lease_token)
    check("progress" not in s.show(task), "gone")
    t = s.claim()["result"]["tasks"][0]
    check("progress" not in s.show(task), "the next attempt begins anew")
    s.progress(task, t["lease_token"], "100")
    s.complete(task, t["lease_token"])
    check("progress" not in s.show(task) and "progress" not in s.listing()["result"]["tasks"][0], "completed")


@case("progress: at most one event a second, whichever way the clock goes")
def progress_events():
    s.fresh()
    t, other = s.claimed(), s.claimed()
    for i in range(50):
        s.progress(t["id"], t["lease_token"], str(i))
    s.progress(other["id"], other["lease_token"], "1")
    equal([(e["id"], e["percent"]) for e in s.events("task.progress")], [(t["id"], "0"), (other["id"], "1")])
    equal(s.show(t["id"])["progress"]["percent"], 49)
    for offset in (-1000, 5000):
        s.redis.call("HSET", s.key(f"task:{t['id']}"), "pe", s.wall() + offset)
        s.progress(t["id"], t["lease_token"], "60")
    equal(len(s.events("task.progress")), 4)


@case("progress: only for the holder of the lease, in every other state refused and without effect")
def progress_states():
    s.fresh()
    for state in ("delayed", *FINISHED, "pending"):
        task, lease_token = s.in_state(state)
        doc = s.unchanged(lambda x=task, y=lease_token: s.progress(x, y or "none"), state)
        equal(problem(doc), (-32005, "stale_lease", state))
    s.fresh()
    t = s.claimed()
    equal(problem(s.unchanged(lambda: s.progress(t["id"], "forged"), "forged")), (-32005, "stale_lease", "in_progress"))
    equal(problem(s.progress("t-1", "x")), (-32004, "unknown", None))
    s.with_wrong_types("progress", ("stream:events", "task:{id}"), s.held, s.progress)


# ---- update ----


@case("update: text, metadata and priority of live tasks; the version goes up by one, one event says what changed")
def update():
    for state in ("pending", "delayed", "in_progress"):
        s.fresh()
        task, lease_token = s.in_state(state)
        before = s.show(task)
        got = s.update(task, '"new"', metadata='{"m":[]}', priority=7)["result"]
        equal(got, s.show(task))
        equal([got["text"], got["metadata"], got["priority"]], ["new", {"m": []}, 7])
        equal([got["status"], got["version"]], [state, before["version"] + 1])
        equal([e["fields"] for e in s.events("task.updated")], ["text priority metadata"])
        if lease_token:
            check(lease_token not in json.dumps(got), "the token is in the reply")


@case("update: a pending task's new priority moves it in every set that it is in")
def update_priority():
    s.fresh()
    low, high, gpu = s.one(priority=10), s.one(priority=90), s.one(priority=20, roles="gpu cpu", queue="default")
    s.update(low, priority=95)
    s.update(gpu, priority=99)
    equal([t["id"] for t in s.claim(count=3, roles="gpu")["result"]["tasks"]], [gpu, low, high])
    equal(s.indexes(gpu), {"leases", "queue:instance:w1"})
    t = s.show(low)
    s.update(low, priority=1)
    s.release(low, s.task(low)["tk"].decode())
    other = s.one(priority=2)
    equal([x["id"] for x in s.claim(count=2)["result"]["tasks"]], [other, low])
    check(t["priority"] == 95, t)


@case("update: every move between states; the illegal ones change nothing")
def update_moves():
    states = ("delayed", "pending", "in_progress", "completed", "failed", "cancelled")
    legal = {("delayed", "pending"), ("delayed", "cancelled"), ("pending", "cancelled")}
    same = {("delayed", "delayed"), ("pending", "pending"), ("in_progress", "in_progress"), ("cancelled", "cancelled")}
    for before in states:
        for after in states:
            s.fresh()
            task, _ = s.in_state(before)
            if (before, after) in legal:
                got = s.update(task, status=after)["result"]
                equal(got["status"], after, (before, after))
                equal(s.indexes(task), {"tasks:cancelled"} if after == "cancelled" else {"queue:tasks:pending"})
                check("next_run_at" not in got and ("endedAt" in got) == (after == "cancelled"), got)
                kind = "task.cancelled" if after == "cancelled" else "task.due"
                equal(len(s.events(kind)), 1, kind)
                if after == "cancelled":
                    equal(s.redis.scan(s.key("queue:*")), set())
                    check_counts(s)
            elif (before, after) in same:
                equal(s.unchanged(lambda x=task, y=after: s.update(x, status=y), "same")["result"]["status"], before)
            else:
                doc = s.unchanged(lambda x=task, y=after: s.update(x, '"t"', status=y), (before, after))
                equal(problem(doc), (-32005, "state", before), (before, after))


@case("update: what has ended is not written anew; an update of nothing gives the task; unknown tasks")
def update_ended():
    for state in FINISHED:
        s.fresh()
        task, _ = s.in_state(state)
        for kw in ({"text_": '"x"'}, {"priority": 1}, {"metadata": "{}"}):
            doc = s.unchanged(lambda x=task, y=kw: s.update(x, **y), state)
            equal(problem(doc), (-32005, "state", state))
        equal(s.unchanged(lambda x=task: s.update(x), state)["result"], s.show(task))
    equal(problem(s.update("t-1", '"x"')), (-32004, "unknown", None))


@case("update: if_version keeps the later of two from overwriting the first")
def update_version():
    s.fresh()
    task = s.one()
    equal(s.update(task, '"a"', version=1)["result"]["version"], 2)
    doc = s.unchanged(lambda: s.update(task, '"b"', version=1), "old version")
    equal(doc["error"]["code"], -32005)
    equal(doc["error"]["data"], {"reason": "version", "state": "pending", "version": 2})
    equal(s.update(task, '"b"', version=2)["result"]["version"], 3)


@case("update with a reply of more than 16 KiB: a repeat changes nothing more, and shows the task as it is by then")
def update_repeat():
    s.fresh()
    task = s.one(payload='"' + "p" * 20000 + '"')
    same = {"params_hash": "h" * 16, "idem": "idem:u"}
    first = s.update(task, priority=7, **same)["result"]
    check(len(s.kept("idem:u")) < 100, "the reply is not stored twice")
    equal(s.update(task, priority=7, **same)["result"], first)
    s.update(task, '"later"')
    equal(s.update(task, priority=7, **same)["result"], s.show(task))
    s.delete(task)
    equal(problem(s.update(task, priority=7, **same)), (-32004, "unknown", None))


@case("update: cancelled tasks are trimmed as they come; a cancelled delayed task never becomes due")
def update_cancel():
    s.fresh()
    for _ in range(50):
        s.update(s.one(), status="cancelled", keep=(10, 86400000, 0))
    check(s.redis.call("ZCARD", s.key("tasks:cancelled")) <= 50, "trimmed")
    s.fresh()
    task, _ = s.in_state("delayed")
    s.update(task, status="cancelled")
    s.tick(register=1)
    equal(s.show(task)["status"], "cancelled")


@case("update: wrong types")
def update_types():
    s.with_wrong_types("cancel of pending", ("queue:tasks:pending", "queues", "tasks:cancelled", "stream:events"),
                     lambda: s.in_state("pending")[:1], lambda task: s.update(task, status="cancelled"))
    s.with_wrong_types("run now", ("queue:delayed", "queue:tasks:pending", "stream:events"),
                     lambda: s.in_state("delayed")[:1], lambda task: s.update(task, status="pending"))
    s.with_wrong_types("priority", ("queue:tasks:pending", "stream:events", "task:{id}"),
                     lambda: s.in_state("pending")[:1], lambda task: s.update(task, priority=1))


# ---- delete ----


@case("delete: from every state that nobody works in; the hash and every index forget it")
def delete():
    for state in ("delayed", *FINISHED, "pending"):
        s.fresh()
        task, _ = s.in_state(state)
        equal(s.delete(task)["result"], {"id": task, "status": "deleted"}, state)
        equal(s.redis.call("EXISTS", s.key(f"task:{task}")), 0, state)
        equal(s.indexes(task), set(), state)
        equal(s.redis.scan(s.key("queue*")), set(), state)
        equal([(e["id"], e["state"]) for e in s.events("task.deleted")], [(task, state)])
        equal(problem(s.delete(task)), (-32004, "unknown", None))
    s.fresh()
    task, keep = s.one(roles="a b", queue="q"), s.one(roles="b", queue="q")
    s.delete(task)
    equal(s.indexes(task), set())
    equal([t["id"] for t in s.claim(queue="q", roles="a b", count=5)["result"]["tasks"]], [keep])


@case("delete: a task in progress is refused; the same idem gets the same outcome")
def delete_refused():
    s.fresh()
    t = s.claimed()
    equal(problem(s.unchanged(lambda: s.delete(t["id"]), "in progress")), (-32005, "state", "in_progress"))
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
        s.with_wrong_types(f"delete of {state}", keys, lambda x=state: s.in_state(x)[:1], s.delete)


# ---- all of them together ----


@case("random walks with every operation: each task is where its state says, and the assigned are listed")
def walks():
    draw = rng("more walks")
    for _ in range(3):
        s.fresh()
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
            task = draw.choice(made) if made else s.one()
            lease_token = tokens.get(task, "none") if draw.random() < 0.9 else "forged"
            if what <= 2:
                made.append(s.one(priority=draw.randint(0, 100), max_attempts=draw.randint(1, 3),
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
        task, t = key.decode().split(":", 2)[2], s.task(key.decode().split(":", 2)[2])
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
        equal(s.indexes(task), want, f"{task} is {status}")
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
    s = TaskScripts()
    at_exit(s.close)
    main()
