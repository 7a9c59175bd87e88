#!/usr/bin/env python3
"""tasks.py: the task operations as scripts: states, order, leases, outcomes, lists, wrong types."""

import json

from cbtest import *
from counts import check_counts
from task_scripts import TaskScripts

s = None


def status(task):
    return s.get(task)["result"]["status"]


def reason(doc):
    return doc["error"]["data"].get("reason") if "error" in doc else None


@case("strict priority, then the order of commit")
def order():
    s.fresh()
    draw = rng("order")
    made = []
    for i in range(200):
        priority = draw.choice([0, 1, 50, 99, 100])
        made.append((-priority, i, s.one(priority=priority)))
    want = [t for _, _, t in sorted(made)]
    got = []
    while len(got) < 200:
        got += [t["id"] for t in s.claim(count=draw.randint(1, 40))["result"]["tasks"]]
    equal(got, want)


@case("a task that goes back keeps its place before the younger ones")
def place():
    s.fresh()
    first, second = s.one(), s.one()
    t = s.claim()["result"]["tasks"][0]
    equal(t["id"], first)
    s.release(first, t["lease_token"])
    equal([x["id"] for x in s.claim(count=2)["result"]["tasks"]], [first, second])


@case("queues are apart; an empty queue gives claimed false")
def queues():
    s.fresh()
    a, b = s.one(queue="a"), s.one(queue="b")
    equal(s.claim(queue="c")["result"], {"claimed": False, "tasks": []})
    equal(s.claim()["result"]["claimed"], False)
    equal([t["id"] for t in s.claim(queue="a", count=9)["result"]["tasks"]], [a])
    equal([t["id"] for t in s.claim(queue="b", count=9)["result"]["tasks"]], [b])


@case("roles: heads merged by priority and order, a task with two roles is claimed once")
def roles():
    s.fresh()
    plain = s.one(priority=10)
    gpu = s.one(priority=90, roles="gpu")
    both = s.one(priority=50, roles="gpu cpu")
    cpu = s.one(priority=50, roles="cpu")
    equal([t["id"] for t in s.claim(count=9)["result"]["tasks"]], [plain])
    got = [t["id"] for t in s.claim(count=9, roles="cpu gpu")["result"]["tasks"]]
    equal(got, [gpu, both, cpu])
    equal(s.redis.scan(s.key("queue:default:role:*")), set())
    equal(s.indexes(both), {"leases", "queue:instance:w1"})


@case("a claim returns what the holder needs, and nobody else sees the token")
def token_secrecy():
    s.fresh()
    t = s.claimed(payload='{"a":[]}', metadata='{"m":1}')
    equal([t["payload"], t["metadata"], t["attempt"], t["status"], t["assignedTo"]],
          [{"a": []}, {"m": 1}, 1, "in_progress", "w1"])
    check(t["lease_token"] and t["lease_until"].endswith("Z"), t)
    secret = t["lease_token"]
    check(secret not in json.dumps(s.get(t["id"])), "get")
    check(secret not in json.dumps(s.listing()), "list")
    check(secret not in json.dumps(s.events()), "events")


@case("tokens never repeat, and carry the kernel's bits")
def tokens():
    s.fresh()
    for _ in range(50):
        s.one()
    seen = {t["lease_token"] for _ in range(5) for t in s.claim(count=10, salt="feedfacecafebeef")["result"]["tasks"]}
    equal(len(seen), 50)
    check(all("feedfacecafebeef" in t for t in seen), "the salt")


@case("complete: done once; the holder's repeat gets the first outcome, others are stale")
def complete():
    s.fresh()
    t = s.claimed()
    equal(reason(s.complete(t["id"], "forged")), "stale_lease")
    equal(reason(s.complete(t["id"], t["lease_token"], "someone-else")), "stale_lease")
    equal(status(t["id"]), "in_progress")
    first = s.complete(t["id"], t["lease_token"], "w1", '{"r":[1]}')
    equal(first["result"]["status"], "completed")
    again = s.complete(t["id"], t["lease_token"], "w1", '{"r":[2]}')
    equal(again["result"], first["result"])
    equal(s.get(t["id"])["result"]["result"], {"r": [1]})
    equal(reason(s.complete(t["id"], "forged")), "stale_lease")
    for doc in (s.fail(t["id"], t["lease_token"]), s.release(t["id"], t["lease_token"]),
                s.renew(t["id"], t["lease_token"])):
        equal(doc["error"]["code"], -32005)
    equal(len(s.events("task.completed")), 1)
    equal(s.indexes(t["id"]), {"tasks:completed"})


@case("a completion that an earlier version wrote: its repeat gets the same outcome, others are stale, and its attempt is shown")
def older_completion():
    s.fresh()
    t = s.claimed()
    first = s.complete(t["id"], t["lease_token"], "w1", '{"r":[1]}')["result"]
    shown = s.get(t["id"])["result"]
    key = s.key("task:" + t["id"])
    s.redis.call("HDEL", key, "tk")
    s.redis.call("HSET", key, "s", b" ".join(s.redis.call("HGET", key, "s").split(b" ")[:4]), "dop", "complete", "dtk", t["lease_token"], "dby", "w1", "dou", json.dumps(first))
    equal(s.get(t["id"])["result"], shown)
    equal([a["worker"] for a in shown["attempts"]], ["w1"])
    equal(s.complete(t["id"], t["lease_token"], "w1")["result"], first)
    equal(s.complete(t["id"], worker="w1")["result"], first)
    equal(reason(s.complete(t["id"], "forged")), "stale_lease")
    equal(s.fail(t["id"], t["lease_token"])["error"]["code"], -32005)
    equal(s.complete_batch([(t["id"], t["lease_token"])])["result"]["items"][0]["status"], "completed")
    equal(len(s.events("task.completed")), 1)


@case("completed after a failure: what counts is the completion, by whom and under which token")
def complete_after_failure():
    s.fresh()
    t = s.claimed()
    s.fail(t["id"], t["lease_token"], backoff=0)
    s.redis.call("HDEL", s.key("task:" + t["id"]), "dn")
    s.update(t["id"], status="pending")
    again = s.claim("w2")["result"]["tasks"][0]
    first = s.complete(t["id"], again["lease_token"], "w2")["result"]
    equal(s.complete(t["id"], again["lease_token"], "w2")["result"], first)
    equal(s.complete(t["id"], worker="w1")["error"]["code"], -32005)
    equal([[a["worker"], a["outcome"]] for a in s.get(t["id"])["result"]["attempts"]], [["w1", "failed"], ["w2", "completed"]])


@case("complete without a token: only while assigned, only by the named worker")
def simple_client():
    s.fresh()
    task = s.one()
    doc = s.complete(task)
    equal([doc["error"]["code"], reason(doc), doc["error"]["data"]["state"]], [-32005, "state", "pending"])
    s.claim("w1")
    equal(reason(s.complete(task, worker="w2")), "stale_lease")
    equal(s.complete(task, worker="w1")["result"]["status"], "completed")
    equal(s.complete(task, worker="w1")["result"]["status"], "completed")
    equal(s.complete(task, worker="w2")["error"]["code"], -32005)
    equal(len(s.events("task.completed")), 1)


@case("unknown tasks")
def unknown():
    s.fresh()
    for doc in (s.get("t-1"), s.complete("t-1", "x"), s.fail("t-1", "x"), s.release("t-1", "x"), s.renew("t-1", "x")):
        equal([doc["error"]["code"], reason(doc)], [-32004, "unknown"])
    equal(s.redis.scan(s.key("task:*")), set())


@case("complete with next: outcome and next tasks in one step; a refused completion claims nothing")
def complete_next():
    s.fresh()
    t = s.claimed()
    more = [s.one() for _ in range(3)]
    doc = s.complete(t["id"], "forged", next_args=s.claim_args(count=2))
    equal(reason(doc), "stale_lease")
    equal(s.redis.call("ZCARD", s.key("leases")), 1)
    doc = s.complete(t["id"], t["lease_token"], next_args=s.claim_args(count=2))
    equal([x["id"] for x in doc["result"]["tasks"]], more[:2])
    doc = s.complete(more[2], "", next_args=s.claim_args())
    equal(reason(doc), "state")
    x = doc = s.complete(more[0], s.task(more[0])["tk"].decode(), next_args=s.claim_args(count=5, queue="empty"))
    equal(x["result"]["tasks"], [])


@case("fail: delayed with growing pauses, then dead; its repeat gets the first outcome")
def failing():
    s.fresh()
    task = s.one(max_attempts=3)
    pauses = []
    for attempt in (1, 2, 3):
        t = s.claim()["result"]["tasks"][0]
        equal(t["attempt"], attempt)
        doc = s.fail(task, t["lease_token"], f'"e{attempt}"', random=500, backoff=10000)
        equal(s.fail(task, t["lease_token"], '"other"', random=0)["result"], doc["result"])
        if attempt < 3:
            equal(doc["result"]["status"], "delayed")
            due = s.redis.call("ZSCORE", s.key("queue:delayed"), task)
            pauses.append(int(due) - s.wall())
            s.redis.call("ZADD", s.key("queue:delayed"), 1, task)
            s.tick(register=1)
    equal(doc["result"], {"id": task, "status": "failed", "dead": True, "dead_reason": "attempts"})
    check(9900 < pauses[0] <= 10010 and 19900 < pauses[1] <= 20020, pauses)
    got = s.get(task)["result"]
    equal([got["status"], got["dead"], got["error"], got["attempt"]], ["failed", True, "e3", 3])
    equal(s.indexes(task), {"tasks:failed", "queue:dead"})


@case("fail: jitter stays within 20 %, the maximum holds, retry false is dead at once")
def fail_edges():
    s.fresh()
    for random, low, high in ((0, 7990, 8000), (999, 11990, 12000)):
        t = s.claimed()
        s.fail(t["id"], t["lease_token"], random=random, backoff=10000)
        pause = int(s.redis.call("ZSCORE", s.key("queue:delayed"), t["id"])) - s.wall()
        check(low - 50 <= pause <= high, f"{random}: {pause}")
    t = s.claimed(backoff=4000000)
    s.fail(t["id"], t["lease_token"], random=500, backoff_max=1000)
    pause = int(s.redis.call("ZSCORE", s.key("queue:delayed"), t["id"])) - s.wall()
    check(pause <= 1000, pause)
    t = s.claimed()
    equal(s.fail(t["id"], t["lease_token"], retry=0)["result"]["dead"], True)


@case("release: pending again, the attempt not charged; its repeat gets the first outcome")
def release():
    s.fresh()
    t = s.claimed()
    first = s.release(t["id"], t["lease_token"])
    equal(first["result"], {"id": t["id"], "status": "pending"})
    equal(s.release(t["id"], t["lease_token"])["result"], first["result"])
    again = s.claim("w2")["result"]["tasks"][0]
    equal([again["id"], again["attempt"]], [t["id"], 1])
    # The first holder's late repeat does not take it from the second.
    equal(s.release(t["id"], t["lease_token"])["result"], first["result"])
    equal(status(t["id"]), "in_progress")
    equal(s.complete(t["id"], again["lease_token"])["result"]["status"], "completed")


@case("renew: counted from now, only by the holder, by the task's own lease when not said")
def renew():
    s.fresh()
    t = s.claimed(lease=5000)
    s.age(4)
    s.renew(t["id"], t["lease_token"])

    def left():
        """Effective ms from now to the lease's end, as the lease's writer saw it."""
        return int(s.redis.call("ZSCORE", s.key("leases"), t["id"])) - int(s.redis.hash(s.key("clock"))["eff"])

    check(5000 <= left() <= 6100, left())
    s.renew(t["id"], t["lease_token"], 60000)
    check(60000 <= left() <= 61100, left())
    equal(reason(s.renew(t["id"], "forged")), "stale_lease")
    check(60000 <= left() <= 61100, left())


@case("versions rise with every move")
def versions():
    s.fresh()
    seen = []
    t = s.claimed()
    seen.append(t["version"])
    s.release(t["id"], t["lease_token"])
    seen.append(s.get(t["id"])["result"]["version"])
    t = s.claim()["result"]["tasks"][0]
    seen.append(t["version"])
    s.fail(t["id"], t["lease_token"])
    seen.append(s.get(t["id"])["result"]["version"])
    equal(seen, sorted(set(seen)))


@case("create_batch: all or none, ids in order, the limit counts the batch itself")
def batch():
    s.fresh()
    args = [x for i in range(10) for x in s.create_args(f"b{i}")]
    doc = s.ask("task_create_batch", 10, *args, op_args=[15])
    ids = doc["result"]["ids"]
    equal(ids, sorted(ids))
    doc = s.ask("task_create_batch", 10, *args, op_args=[15])
    equal(doc["error"]["code"], -32007)
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 10)
    doc = s.ask("task_create_batch", 5, *args[:50], op_args=[15])
    equal(len(doc["result"]["ids"]), 5)
    mixed = s.create_args("other", queue="other") + s.create_args("full")
    doc = s.ask("task_create_batch", 2, *mixed, op_args=[15])
    equal(doc["error"]["code"], -32007)
    equal(s.redis.call("EXISTS", s.key("queue:other:pending")), 0)
    equal(s.create("one more", max_pending=15)["error"]["data"]["queue"], "default")


@case("entries of a queue that point nowhere are cleared away, and what lies behind is claimed")
def stale_queue():
    s.fresh()
    task = s.one()
    for i in range(10):
        s.redis.call("ZADD", s.key("queue:tasks:pending"), -100, f"t-{i}")
    got = s.claim()["result"]
    equal([t["id"] for t in got["tasks"]], [task])
    equal(s.redis.call("EXISTS", s.key("queue:tasks:pending")), 0)
    task = s.one()
    for i in range(100):
        s.redis.call("ZADD", s.key("queue:tasks:pending"), -100, f"t-{i}")
    for _ in range(10):
        got = s.claim()["result"]
        if got["claimed"]:
            break
    equal([t["id"] for t in got["tasks"]], [task])


@case("the byte cap of a claim: less than asked, never none, nothing lost")
def claim_bytes():
    s.fresh()
    payload = '"' + "p" * 200000 + '"'
    made = {s.one(payload=payload) for _ in range(7)}
    seen = set()
    while True:
        got = s.claim(count=100)["result"]["tasks"]
        if not got:
            break
        check(len(json.dumps(got)) < 1000000, "under 1 MiB")
        seen |= {t["id"] for t in got}
    equal(seen, made)


@case("lists: every state, queue, holder and text; pages neither skip nor repeat")
def lists():
    s.fresh()
    made = {"pending": set(), "in_progress": set(), "completed": set(), "failed": set(), "delayed": set()}
    for i in range(60):
        t = s.one(queue="qa" if i % 2 else "default", roles="gpu" if i % 6 == 0 else "")
        made["pending"].add(t)
    for state in ("in_progress", "completed", "failed", "delayed"):
        for t in s.claim("holder", 5)["result"]["tasks"]:
            made["pending"].discard(t["id"])
            made[state].add(t["id"])
            if state == "completed":
                s.complete(t["id"], t["lease_token"])
            elif state in ("failed", "delayed"):
                s.fail(t["id"], t["lease_token"], retry=int(state == "delayed"))

    def pages(limit, **kw):
        found, cursor = [], ""
        for _ in range(200):
            doc = s.listing(limit=limit, cursor=cursor, **kw)["result"]
            found += [t["id"] for t in doc["tasks"]]
            check(len(doc["tasks"]) <= limit, "limit")
            cursor = doc.get("next", "")
            if not cursor:
                return found
        fail("the pages do not end")

    for limit in (1, 3, 7, 500):
        for state, want in made.items():
            got = pages(limit, status=state)
            equal(sorted(got), sorted(want), f"{state} by {limit}")
            newest = pages(limit, status=state, order="newest")
            equal(newest, got[::-1] if state in ("completed", "failed") else got, f"{state} by {limit}, newest first")
        everything = pages(limit)
        equal(sorted(everything), sorted(set().union(*made.values())), f"all by {limit}")
        equal(sorted(pages(limit, order="newest")), sorted(everything), f"all by {limit}, newest first")
    equal(set(pages(10, assigned="holder")), made["in_progress"])
    equal(pages(10, assigned="nobody"), [])
    qa = set(pages(10, queue="qa"))
    check(qa and qa <= made["pending"], "queue")
    equal(pages(10, queue="q"), [])
    equal(pages(10, queue="default", status="pending") != [], True)
    equal(pages(10, text_="no such text"), [])


@case("lists of tasks that go between pages, in both orders: none is skipped or repeated; a cursor of the other order goes back the way it came")
def lists_that_shrink():
    def finished(number):
        s.fresh()
        made = [s.create("t")["result"]["id"] for _ in range(number)]
        for t in s.claim("w", number)["result"]["tasks"]:
            s.complete(t["id"], t["lease_token"])
        return made

    for order in ("oldest", "newest"):
        made = finished(12)
        want = made[::-1] if order == "newest" else made
        found, cursor = [], ""
        for _ in range(12):
            page = s.listing(status="completed", order=order, limit=3, cursor=cursor)["result"]
            found += [t["id"] for t in page["tasks"]]
            cursor = page.get("next", "")
            if not cursor:
                break
            for gone in (found[0], found[-1]):  # the one at which the cursor stands, and one behind it
                s.delete(gone)
        equal(found, want, order)
        check(not cursor, "the pages end")
    other = {"oldest": "newest", "newest": "oldest"}
    for order in other:
        finished(7)
        first = s.listing(status="completed", order=order, limit=4)["result"]
        back = s.listing(status="completed", order=other[order], limit=9, cursor=first["next"])["result"]
        equal([t["id"] for t in back["tasks"]], [t["id"] for t in first["tasks"]][2::-1], f"{order}, and back")


@case("a list of thousands looks at 500 per call and still reaches the end")
def long_list():
    s.fresh()
    args = [x for i in range(100) for x in s.create_args(f"n{i}")]
    for _ in range(15):
        s.ask("task_create_batch", 100, *args, op_args=[100000])
    last = s.create("the needle", max_pending=100000)["result"]["id"]
    cursor, calls, found = "", 0, []
    while calls < 50:
        doc = s.listing(text_="needle", limit=10, cursor=cursor)["result"]
        calls += 1
        found += [t["id"] for t in doc["tasks"]]
        cursor = doc.get("next", "")
        if not cursor:
            break
    equal(found, [last])
    check(4 <= calls <= 8, f"{calls} calls")


@case("cursors: forged and outdated ones give a page or an error reply, never a wrong key's content")
def cursors():
    s.fresh()
    for i in range(5):
        s.one()
    for cursor in ("x", "1", "9 a b c", "1 tasks 0 t-1", "1 default/x 0 t-1", "3 in_progress nan t-1",
                   "1 ../../meta 0 t-1", "99999999999999999999 a 0 b", "1 default -50 t-0", "1 gone 0 t-1"):
        doc = s.listing(cursor=cursor)
        check(doc["internal"] == [], f"{cursor!r}: {doc}")


@case("a wrong type in any key of an operation: an internal error, and nothing else changes")
def wrong_types():
    problems = []

    def attempt(name, key, action):
        kind = s.redis.call("TYPE", s.key(key)).decode()
        s.redis.call("DEL", s.key(key))
        if kind == "string":
            s.redis.call("SADD", s.key(key), "wrong")
        else:
            s.redis.call("SET", s.key(key), "wrong")
        before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
        try:
            doc = action()
        except RespError as problem:
            problems.append(f"{name} with a wrong {key}: the whole group failed: {problem}")
            return
        if "error" not in doc or doc["error"]["code"] != -32603:
            problems.append(f"{name} with a wrong {key}: {short(json.dumps(doc), 200)}")
        after = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
        changed = [k.decode() for k in set(before) | set(after) if before.get(k) != after.get(k)]
        if changed:
            problems.append(f"{name} with a wrong {key}: changed {sorted(changed)}")

    for key in ("queue:tasks:pending", "queues"):
        s.fresh()
        attempt("create", key, lambda: s.create("x"))
    s.fresh()
    attempt("create with roles", "queue:default:role:r2", lambda: s.create("x", roles="r1 r2"))
    for key in ("leases", "queue:instance:w1", "queue:tasks:pending"):
        s.fresh()
        s.one()
        if key == "queue:tasks:pending":
            s.fresh()
        attempt("claim", key, s.claim)
    for key in ("leases", "queue:instance:w1", "tasks:completed"):
        s.fresh()
        t = s.claimed()
        attempt("complete", key, lambda task=t: s.complete(task["id"], task["lease_token"]))
    for key in ("leases", "queue:instance:w1", "queue:delayed"):
        s.fresh()
        t = s.claimed()
        attempt("fail", key, lambda task=t: s.fail(task["id"], task["lease_token"]))
    for key in ("tasks:failed", "queue:dead"):
        s.fresh()
        t = s.claimed()
        attempt("fail for good", key, lambda task=t: s.fail(task["id"], task["lease_token"], retry=0))
    for key in ("leases", "queue:instance:w1", "queue:tasks:pending"):
        s.fresh()
        t = s.claimed()
        attempt("release", key, lambda task=t: s.release(task["id"], task["lease_token"]))
    for name in ("get", "complete"):
        s.fresh()
        t = s.claimed()
        attempt(name, f"task:{t['id']}",
                lambda task=t, n=name: s.get(task["id"]) if n == "get" else s.complete(task["id"], task["lease_token"]))
    for key in ("stream:events",):
        s.fresh()
        t = s.claimed()
        attempt("complete", key, lambda task=t: s.complete(task["id"], task["lease_token"]))
        s.fresh()
        attempt("create", key, lambda: s.create("x"))
        s.fresh()
        s.one()
        s.redis.call("DEL", s.key(key))
        attempt("claim", key, s.claim)
    check(not problems, f"{len(problems)} of them:\n" + "\n".join(problems))


@case("random walks: every index holds exactly what the states say, every move is an event")
def walks():
    draw = rng("walks")
    for _ in range(3):
        s.fresh()
        s.tick(register=1)
        held = {}
        for _ in range(250):
            what = draw.randrange(10)
            if what <= 2 or not held and what > 4:
                s.one(priority=draw.randint(0, 100), max_attempts=draw.randint(1, 3), roles=draw.choice(["", "a", "a b"]))
            elif what <= 4:
                doc = s.claim(draw.choice(["w1", "w2"]), draw.randint(1, 5), roles=draw.choice(["", "a", "a b"]),
                              lease=draw.choice(["", 100, 60000]))
                held.update({t["id"]: t["lease_token"] for t in doc["result"]["tasks"]})
            elif what == 5:
                s.age(0.2)
                s.tick()
            else:
                task = draw.choice(sorted(held))
                token_ = held[task] if draw.random() < 0.9 else "forged"
                action = draw.choice([s.complete, s.fail, s.release, s.renew])
                action(task, token_)
        check_indexes()
    check_counts(s)


def check_indexes():
    states = {}
    for key in s.redis.scan(s.key("task:t-*")):
        task = key.decode().split(":", 2)[2]
        states[task] = s.task(task)
    for task, t in states.items():
        status_ = t["st"].decode()
        roles_ = t.get("ro", b"").decode().split()
        want = {
            "pending": {f"queue:default:role:{r}" for r in roles_} or {"queue:tasks:pending"},
            "in_progress": {"leases", f"queue:instance:{t.get('ho', b'?').decode()}"},
            "delayed": {"queue:delayed"},
            "completed": {"tasks:completed"},
            "failed": {"tasks:failed", "queue:dead"},
        }[status_]
        equal(s.indexes(task), want, f"{task} is {status_}")
        check(("tk" in t) == (status_ in ("in_progress", "completed")), f"{task}: {status_} and token")
        check(int(t["at"]) <= int(t["ma"]), f"{task}: attempts {t['at']} of {t['ma']}")
    done = [e["id"] for e in s.events("task.completed")]
    equal(len(done), len(set(done)), "accepted completions per id")
    equal(set(done), {i for i, t in states.items() if t["st"] == b"completed"})



@case("a claim past damaged tasks: what is no whole task is cleared away, the others are leased whole")
def damaged_claim():
    for damage in ("wrong type", "no such field"):
        s.fresh()
        good, bad, last = s.one(), s.one(), s.one()
        if damage == "wrong type":
            s.redis.call("DEL", s.key(f"task:{bad}"))
            s.redis.call("SET", s.key(f"task:{bad}"), "x")
        else:
            s.redis.call("HDEL", s.key(f"task:{bad}"), "c")
        equal([t["id"] for t in s.claim(count=3)["result"]["tasks"]], [good, last], damage)
        for t in (good, last):
            equal(s.indexes(t), {"leases", "queue:instance:w1"}, damage)
        equal(s.indexes(bad), set(), damage)


@case("a renewal that names no length does not cut short what the claim asked for; one that does may")
def renew_keeps():
    s.fresh()
    s.one()
    s.register("agent", "a1")
    t = s.claim("agent", lease="600000")["result"]["tasks"][0]
    ends = s.redis.call("ZSCORE", s.key("leases"), t["id"])
    equal(s.renew(t["id"], t["lease_token"])["result"]["lease_until"], t["lease_until"])
    equal(s.heartbeat("agent", "a1", [(t["id"], t["lease_token"])])["result"]["cancel"], [])
    equal(s.redis.call("ZSCORE", s.key("leases"), t["id"]), ends)
    equal(s.get(t["id"])["result"]["lease_until"], t["lease_until"])
    check(s.renew(t["id"], t["lease_token"], "1000")["result"]["lease_until"] < t["lease_until"], "asked for")
    check(int(s.redis.call("ZSCORE", s.key("leases"), t["id"])) < int(ends), "and so it is")


@case("names of queues go with their last task, and a list is bounded however many are left")
def queue_names():
    s.fresh()
    for i in range(50):
        s.one(queue=f"q{i}", roles="gpu" if i % 2 else "")
        (t,) = s.claim(queue=f"q{i}", roles="gpu")["result"]["tasks"]
        s.complete(t["id"], t["lease_token"])
    equal(s.redis.call("ZCARD", s.key("queues")), 0)
    equal({f: n for f, n in s.redis.hash(s.key("counts")).items() if not f.startswith("ever:")}, {"pending": b"0"})
    s.redis.call("ZADD", s.key("queues"), *[x for i in range(5000) for x in (0, f"a{i}")])
    task = s.one(queue="z")
    found, cursor, calls = [], "", 0

    def looked():
        return int(s.redis.info("commandstats")["cmdstat_zrange"].split(",")[0][len("calls="):])

    while calls < 30:
        before = looked()
        doc = s.listing(status="pending", cursor=cursor)["result"]
        check(looked() - before <= 501, f"{looked() - before} ZRANGE in one call")
        calls += 1
        found += [t["id"] for t in doc["tasks"]]
        cursor = doc.get("next", "")
        if not cursor:
            break
    equal(found, [task])
    check(10 <= calls <= 12, f"{calls} calls")


@case("a completion is repeated under its idempotency key, later: the first answer, with the tasks of the first claim; little is kept for that")
def completion_again():
    s.fresh()
    for has_next in (False, True):
        t = s.claimed()
        more = {"next_args": s.claim_args("w1")} if has_next else {}
        after = s.one() if has_next else None
        key = {"params_hash": "h" * 11, "idem": f"again:{has_next}"}
        first = s.complete(t["id"], t["lease_token"], **more, **key)["result"]
        equal([x["id"] for x in first.get("tasks", [])], [after] if has_next else [])
        done = s.wall()
        wait_until(lambda: s.wall() > done, 5, "another millisecond: the time told is that of the completion, not of the repeat")
        equal(s.complete(t["id"], t["lease_token"], **more, **key)["result"], first)
        check(len(s.kept(key["idem"])) <= (100 if has_next else 25), s.kept(key["idem"]))
        # Under another key: the holder's own repeat, and what that is answered is repeated, too.
        key["idem"] += " and again"
        second = s.complete(t["id"], t["lease_token"], **more, **key)["result"]
        equal([second["completedAt"], second.get("tasks", [])], [first["completedAt"], []])
        equal(s.complete(t["id"], t["lease_token"], **more, **key)["result"], second)
    equal(len(s.events("task.completed")), 2)


@case("a wrong type behind the outcome to be stored: nothing is done")
def outcome_first():
    s.fresh()
    t = s.claimed()
    s.redis.call("DEL", s.key("meta"))
    s.redis.call("SET", s.key("meta"), "x")
    doc = s.complete(t["id"], t["lease_token"], params_hash="h" * 16, idem="idem:q")
    equal(doc["error"]["code"], -32603)
    equal(s.indexes(t["id"]), {"leases", "queue:instance:w1"})


if __name__ == "__main__":
    arguments()
    s = TaskScripts()
    at_exit(s.close)
    main()
