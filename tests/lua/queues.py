#!/usr/bin/env python3
"""queues.py: who gets a task and in which order: deny lists, paused queues, aging; what is kept of it: the history of its
attempts, crashes, retention by age, number and bytes; and the list of queues."""

import json

from cbtest import *
from counts import check_counts
from scripts import Request, Scripts, retention

s = None


def fresh():
    s.redis.call("FLUSHALL")
    s.tick(register=1)


def one(**kw):
    return s.create("t", **kw)["result"]["id"]


def claimed(worker="w1", **kw):
    return s.claim(worker, **kw)["result"]["tasks"]


def status(task):
    return s.task(task)["st"].decode()


def due_now(task):
    s.update(task, status="pending")


# ---- history, crashes, dead letters ----


@case("history: each attempt that came to nothing, with worker, times, outcome and error; shown by get, not by lists")
def history():
    fresh()
    task = one(max_attempts=9, max_crashes=9)
    (t,) = claimed("a")
    s.fail(task, t["lease_token"], '"first \\u0041"')
    due_now(task)
    (t,) = claimed("b")
    s.fail(task, t["lease_token"], '"second"', crashed=1, signal="SIGSEGV")
    due_now(task)
    claimed("c")
    s.age(100)
    s.tick()
    (t,) = claimed("d")
    s.release(task, t["lease_token"])  # not an attempt
    (t,) = claimed("e")
    s.cancel(task, '"not now"')
    s.retry(task)
    (t,) = claimed("f")
    s.complete(task, t["lease_token"])
    got = s.get(task)["result"]
    rows = [(a["attempt"], a["worker"], a["outcome"], a.get("error"), a.get("signal")) for a in got["attempts"]]
    equal(rows, [(1, "a", "failed", "first A", None), (2, "b", "crashed", "second", "SIGSEGV"),
                 (3, "c", "lost", "the lease ended", None), (4, "e", "cancelled", "not now", None),
                 (1, "f", "completed", None, None)])
    for a in got["attempts"]:
        check(got["createdAt"] <= a["startedAt"] <= a["endedAt"] <= got["updatedAt"], a)
    check("attempts" not in s.listing()["result"]["tasks"][0], "in a list")


@case("history: the last ten, however long the errors")
def history_bounded():
    fresh()
    task = one(max_attempts=1000)
    for i in range(25):
        (t,) = claimed(f"w{i}")
        s.fail(task, t["lease_token"], json.dumps(f"{i} " + "\x01" * 1990))
        due_now(task)
    got = s.get(task)["result"]["attempts"]
    equal([a["attempt"] for a in got], list(range(16, 26)))
    check(len(s.task(task)["hy"]) < 140000, "bytes")


@case("crashes: max_crashes of them is dead, whatever attempts are left; losses count with them")
def crashes():
    fresh()
    task = one(max_attempts=100, max_crashes=3)
    for i, (how, want) in enumerate((("crashed", "delayed"), ("lost", "pending"), ("failed", "delayed"), ("crashed", "failed"))):
        (t,) = claimed()
        if how == "lost":
            s.age(100)
            s.tick()
        else:
            doc = s.fail(task, t["lease_token"], '"died"', crashed=int(how == "crashed"), signal="SIGKILL" if how == "crashed" else "")
            equal(doc["result"]["status"], want, i)
        equal(status(task), want, i)
        if want == "delayed":
            due_now(task)
    got = s.get(task)["result"]
    equal([got["dead"], got["dead_reason"], got["crashes"], got["attempts"][-1]["signal"]], [True, "crashes", 3, "SIGKILL"])
    equal([s.events("task.failed")[-1][k] for k in ("dead", "reason", "signal")], ["1", "crashes", "SIGKILL"])
    s.retry(task)
    check("crashes" not in s.get(task)["result"], "a retry begins anew")


@case("dead_reason: attempts, crashes, no_retry; gone after a retry")
def dead_reasons():
    fresh()
    for kw, how, want in (({"max_attempts": 1}, {}, "attempts"), ({"max_crashes": 1}, {"crashed": 1}, "crashes"),
                          ({}, {"retry": 0}, "no_retry")):
        task = one(**kw)
        (t,) = claimed()
        equal(s.fail(task, t["lease_token"], **how)["result"]["dead_reason"], want)
        equal(s.get(task)["result"]["dead_reason"], want)
        s.retry(task)
        got = s.get(task)["result"]
        check("dead_reason" not in got and "dead" not in got and "endedAt" not in got, got)
        s.cancel(task)


@case("retry: attempts begin anew, or so many more; what it failed of is still shown")
def retry():
    fresh()
    task = one(max_attempts=2)
    for _ in range(2):
        (t,) = claimed()
        s.fail(task, t["lease_token"])
        due_now(task)
    got = s.get(task)["result"]
    equal([got["status"], got["attempt"]], ["failed", 2])
    s.retry(task, 1)
    got = s.get(task)["result"]
    equal([got["status"], got["attempt"], got["maxAttempts"], len(got["attempts"])], ["pending", 2, 3, 2])
    (t,) = claimed()
    equal(s.fail(task, t["lease_token"])["result"]["dead"], True)
    s.retry(task)
    got = s.get(task)["result"]
    equal([got["attempt"], got["maxAttempts"], got["error"], len(got["attempts"])], [0, 3, "boom", 3])
    stale = s.complete(task, t["lease_token"])["error"]["data"]
    equal(stale, {"reason": "stale_lease", "state": "pending"})
    check_counts(s)


# ---- cancel: the holder learns ----


@case("cancel of a running task: renew, heartbeat and complete of its holder all say cancelled")
def cancel_running():
    fresh()
    s.register("w1", "i1")
    task = one()
    (t,) = claimed(incarnation="i1")
    equal(s.cancel(task, '"enough"')["result"]["status"], "cancelled")
    for action in (s.renew, s.complete, s.release, s.fail, s.progress):
        error = action(task, t["lease_token"])["error"]
        equal([error["code"], error["data"]], [-32005, {"reason": "stale_lease", "state": "cancelled"}])
    got = s.heartbeat("w1", "i1", [(task, t["lease_token"])])["result"]
    equal(got["cancel"], [{"id": task, "lease_token": t["lease_token"], "reason": "cancelled"}])
    got = s.get(task)["result"]
    equal([got["error"], got["attempts"][0]["outcome"], "assignedTo" in got], ["enough", "cancelled", False])
    equal(s.redis.call("EXISTS", s.key("queue:instance:w1"), s.key("leases")), 0)
    event = s.events("task.cancelled")[0]
    equal([event["from"], event["worker"]], ["in_progress", "w1"])


# ---- deny lists ----


@case("who failed a task is not given it again while another live agent could take it; after task.deny_ms it is")
def deny():
    fresh()
    s.register("a", "ia")
    s.register("b", "ib")
    task, other = one(), one(priority=0)
    (t,) = claimed("a")
    s.fail(task, t["lease_token"])
    due_now(task)
    equal([t["id"] for t in claimed("a", count=2)], [other])  # it looks past it
    equal([t["id"] for t in claimed("a", deny=0)], [task])
    s.reassign(task)
    equal(claimed("a"), [])
    equal([t["id"] for t in claimed("b")], [task])
    s.reassign(task)
    wait_until(lambda: claimed("a", deny=20), 5, "for everybody again after a while")


@case("deny: alone, it may; the others must live, be agents, have the role, and not be denied themselves")
def deny_alone():
    for others, roles, want in (((), "", True), ((("b", "[]"),), "", False), ((("b", "[]"),), "gpu", True),
                                ((("b", '["gpu","x"]'),), "gpu", False), ((("dead", "[]"),), "", True),
                                ((("denied", "[]"),), "", True), ((("denied", "[]"), ("b", "[]")), "", False)):
        fresh()
        s.register("a", "ia")
        for name, its_roles in others:
            s.register(name, "i-" + name, roles=its_roles)
        task = one(roles=roles, max_attempts=9)
        for worker in ("denied", "a"):
            (t,) = claimed(worker, roles=roles, deny=0)
            s.fail(task, t["lease_token"])
            due_now(task)
        if ("dead", "[]") in others:
            s.unregister("dead", "i-dead")
        equal(bool(claimed("a", roles=roles)), want, (others, roles))


@case("deny: reassigned with a reason, the old holder is on the list; without, not; at most 16, the last ones")
def deny_reassign():
    fresh()
    s.register("a", "ia")
    s.register("b", "ib")
    task = one(max_attempts=100)
    claimed("a")
    s.reassign(task)
    check(claimed("a"), "no reason")
    s.reassign(task, why="too slow")
    equal(claimed("a"), [])
    check(claimed("b"), "the other one")
    for i in range(20):
        s.reassign(task, why="more")
        check(claimed(f"n {i}", deny=0), i)
    listed = s.task(task)["dn"].decode().split("\n")
    equal(listed, ["b"][:0] + [f"n {i}" for i in range(3, 19)])


@case("deny: at most 16 denied tasks are looked past in one claim")
def deny_peek():
    fresh()
    s.register("a", "ia")
    s.register("b", "ib")
    tasks = [one() for _ in range(20)]
    for t in claimed("a", count=20):
        s.reassign(t["id"], why="x")
    last = one(priority=0)
    equal(claimed("a"), [])
    equal([t["id"] for t in claimed("b", count=5)], tasks[:5])
    equal([t["id"] for t in claimed("a")], [last])


@case("claims of one group get what they would get one after the other, past what is denied or damaged")
def group_of_claims():
    asked = [("a", 1), ("a", 1), ("b", 2), ("a", 2), ("b", 30), ("a", 30), ("b", 1), ("a", 9)]

    def found(grouped):
        fresh()
        s.register("a", "ia")
        s.register("b", "ib")
        tasks = [one() for _ in range(60)]
        for i in (1, 5, 10, 11):
            s.change(tasks[i], v=2, dn="a")
        for i in (3, 8, 30):
            s.redis.call("DEL", s.key(f"task:{tasks[i]}"))
        requests = [Request(*s.claim_args(worker, count), 0, reply="reply-token-of-group", rid=str(i))
                    for i, (worker, count) in enumerate(asked)]
        for group in [requests] if grouped else [[r] for r in requests]:
            equal(s.commit("task_claim", group, [30000, 30000, 1000, "pull"]).errors, [])
        docs = s.replies("reply-token-of-group")
        check_counts(s)
        return [[tasks.index(t["id"]) for t in doc["result"]["tasks"]] for doc in docs]

    alone = found(False)
    equal(alone[:4], [[0], [2], [1, 4], [6, 7]])
    equal(sum(len(tasks) for tasks in alone), 57)
    equal(found(True), alone)


@case("tasks created in one group are on their queues as if they had come one by one, and claims that wait are answered")
def group_of_creations():
    wanted = [("default", 50, ""), ("other", 0, ""), ("default", 100, ""), ("default", 0, ""), ("default", 50, "gpu"),
              ("other", 7, ""), ("default", 50, "")]
    fresh()
    equal(s.wait("w1"), 2)
    requests = [Request(*s.create_args(str(i), priority=priority, queue=queue, roles=roles), reply="reply-token-of-group")
                for i, (queue, priority, roles) in enumerate(wanted)]
    requests.append(Request(*s.create_args("late", delay_ms=60000), reply="reply-token-of-group"))
    equal(s.commit("task_create", requests, [1000]).errors, [])
    ids = [doc["result"]["id"] for doc in s.replies("reply-token-of-group")]

    def queued(key):
        flat = s.redis.call("ZRANGE", s.key(key), 0, -1, "WITHSCORES")
        return [(ids.index(i.decode()), int(score)) for i, score in zip(flat[::2], flat[1::2])]

    equal(queued("queue:tasks:pending"), [(2, -100), (0, -50), (6, -50), (3, 0)])
    equal(queued("queue:other:pending"), [(5, -7), (1, 0)])
    equal(queued("queue:default:role:gpu"), [(4, -50)])
    equal([i for i, _ in queued("queue:delayed")], [7])
    equal(s.replies(s.waiting("w1"))[0]["result"].get("wake"), True)
    check_counts(s)


@case("claims of one group with roles and without them get what they would get one after the other")
def group_with_roles():
    asked = [("a", 1, ""), ("b", 40, "r"), ("a", 1, ""), ("b", 1, "r x"), ("a", 30, ""), ("b", 9, "x"), ("a", 9, "")]

    def found(grouped):
        fresh()
        tasks = [one(roles="r" if i % 5 == 3 else "") for i in range(130)]
        requests = [Request(*s.claim_args(worker, count, roles=roles), 0, reply="reply-token-of-group", rid=str(i))
                    for i, (worker, count, roles) in enumerate(asked)]
        for group in [requests] if grouped else [[r] for r in requests]:
            equal(s.commit("task_claim", group, [30000, 30000, 1000, "pull"]).errors, [])
        docs = s.replies("reply-token-of-group")
        check_counts(s)
        return [[tasks.index(t["id"]) for t in doc["result"]["tasks"]] for doc in docs]

    alone = found(False)
    equal([len(tasks) for tasks in alone], [1, 40, 1, 1, 30, 9, 9])
    equal(found(True), alone)


# ---- paused queues ----


@case("a paused queue gives nothing and says so; nothing else changes; others go on; resumed, it goes on")
def pause():
    fresh()
    s.register("w1", "i1")
    task, other = one(), one(queue="other")
    (held,) = claimed(queue="other")
    equal(s.pause("default")["result"], {"queue": "default", "paused": True})
    equal(s.claim()["result"], {"claimed": False, "tasks": [], "paused": True})
    s.assign(task, "w1")
    equal([t["id"] for t in s.claim()["result"]["tasks"]], [task])  # what was assigned is handed over
    s.reassign(task)
    again = one()
    equal(status(again), "pending")
    doc = s.complete(other, held["lease_token"], "w1", next_args=s.claim_args("w1"))["result"]
    equal([doc["tasks"], doc["paused"]], [[], True])
    equal(s.pause("default")["result"]["paused"], True)
    equal(len(s.events("queue.paused")), 1)
    for _ in range(3):
        s.tick()
    check("paused" in s.claim()["result"], "ticks do not resume")
    equal(s.resume("default")["result"], {"queue": "default", "paused": False})
    equal(len(claimed(count=5)), 2)
    equal(s.redis.call("EXISTS", s.key("queues:paused")), 0)
    equal([len(s.events(k)) for k in ("queue.paused", "queue.resumed")], [1, 1])
    s.resume("default")
    equal(len(s.events("queue.resumed")), 1)


@case("all queues at once is a switch of its own")
def pause_all():
    fresh()
    one()
    equal(s.pause()["result"], {"paused": True})
    s.pause("default")
    check(s.claim()["result"]["paused"], "all")
    equal(s.resume("default")["result"], {"queue": "default", "paused": True})
    check(s.claim(queue="nothing there")["result"]["paused"], "all")
    equal(s.queues()["result"]["all_paused"], True)
    equal(s.resume()["result"], {"paused": False})
    check(claimed(), "resumed")


@case("claims that wait: a task of a paused queue wakes nobody; resumed, by name or all, they look again")
def pause_waiters():
    for name in ("default", "*"):
        fresh()
        s.pause(name)
        equal(s.wait("w1"), 2)
        equal(s.wait("w2"), 2)
        one()
        one()
        s.tick()
        equal([s.replies(s.waiting(w)) for w in ("w1", "w2")], [[], []])
        s.resume(name)
        for w in ("w1", "w2"):
            (reply,) = s.replies(s.waiting(w))
            equal(reply["result"], {"claimed": False, "tasks": [], "wake": True}, w)
        equal(s.redis.scan(s.key("waiters*")), set())


@case("claims that wait: a tick wakes nobody for a paused queue, whether a task came due or was not claimed for long")
def pause_ticks():
    for name in ("default", "*"):
        fresh()
        s.tick(register=1)
        s.pause(name)
        equal(s.wait("w1"), 2)
        one(delay_ms=1)
        task = one()
        s.change(task, up=s.wall() - 5000)
        key = s.key("waiters")
        for waiter, text in s.redis.hash(key).items():  # parked before the task came
            w = json.loads(text)
            s.redis.call("HSET", key, waiter, json.dumps([*w[:5], str(int(w[5]) - 10000)]))
        s.redis.call("DEBUG", "SLEEP", "0.005")
        equal([s.tick()["promoted"], s.replies(s.waiting("w1"))], [1, []], name)
        s.resume(name)
        equal(len(s.replies(s.waiting("w1"))), 1, name)


@case("pushed tasks: not from paused queues, and not to who failed them while another one serves the queue")
def pushed():
    fresh()
    s.register("a", "ia")
    s.pause("default")
    task = one()
    equal(s.assign_pending()["assigned"], 0)
    s.resume("default")
    equal(s.assign_pending()["assigned"], 1)
    (t,) = claimed("a", mode="push")
    s.fail(task, t["lease_token"])
    due_now(task)
    s.register("b", "ib", capacity=1, queues="other")
    s.register("c", "ic", capacity=1)
    claimed_by_c = one(priority=100)
    s.assign(claimed_by_c, "c")  # it is full
    got = s.assign_pending()
    equal([got["assigned"], got["problem"], status(task)], [0, "", "pending"])
    equal(s.assign_pending(deny=0)["assigned"], 1)
    equal(s.task(task)["ho"], b"a")


@case("at most 1000 queues are paused")
def pause_bound():
    fresh()
    s.redis.call("SADD", s.key("queues:paused"), *[f"q{i}" for i in range(1000)])
    equal(s.pause("more")["error"]["code"], -32007)
    equal(s.pause("q5")["result"]["paused"], True)


# ---- the list of queues ----


@case("queues: one with more roles than a page looks at ends its page, not the list")
def queues_with_roles():
    fresh()
    for first in range(0, 1200, 100):
        s.create_batch(*[{"queue": "many", "roles": f"r{first + i}"} for i in range(100)], max_pending=2000)
    one(queue="a")
    one(queue="z")
    found, cursor = [], ""
    for _ in range(9):
        doc = s.queues(cursor)["result"]
        found += [q["queue"] for q in doc["queues"]]
        cursor = doc.get("next", "")
        if not cursor:
            break
    equal([found, cursor], [["a", "many", "z"], ""])


@case("queues: counts by state, paused, the oldest pending task over priorities and roles; pages neither skip nor repeat")
def queues():
    fresh()
    for i in range(30):
        one(queue=f"q{i:02}", roles="gpu cpu" if i % 3 == 0 else "")
        one(queue=f"q{i:02}", priority=100)
    s.pause("q05")
    s.pause("empty")
    one(queue="q07", delay_ms=100000)
    s.cancel(one(queue="gone"))
    (t,) = claimed(queue="q09")
    s.fail(t["id"], t["lease_token"], retry=0)
    found, cursor, pages = {}, "", 0
    while True:
        doc = s.queues(cursor, 7)["result"]
        check(len(doc["queues"]) <= 7, "limit")
        for q in doc["queues"]:
            check(q["queue"] not in found, f"{q['queue']} twice")
            found[q["queue"]] = q
        pages += 1
        cursor = doc.get("next", "")
        if not cursor:
            break
    equal(sorted(found), sorted([f"q{i:02}" for i in range(30)] + ["empty", "gone"]))
    check(4 < pages < 10, f"{pages} pages")
    equal({n for n, q in found.items() if q["paused"]}, {"q05", "empty"})
    q = found["q07"]
    equal([q["pending"], q["delayed"], found["q09"]["failed"], found["gone"]["cancelled"]], [2, 1, 1, 1])
    check("oldest_ms" not in found["empty"] and 0 <= found["q00"]["oldest_ms"] < 60000, "ages")
    s.resume("empty")
    check("empty" not in [q["queue"] for q in s.queues(limit=100)["result"]["queues"]], "forgotten")
    old = "t-%016d" % (s.wall() * 1000 - 5_000_000)
    s.redis.call("ZADD", s.key("queue:q03:role:cpu"), -1, old)
    check(5000 <= {q["queue"]: q for q in s.queues(limit=100)["result"]["queues"]}["q03"]["oldest_ms"] < 60000, "of a role")


# ---- aging ----


@case("aging: who waits longer than task.aging_ms goes ahead of all priorities, in order; off, nothing moves")
def aging():
    fresh()
    old = [one(priority=p) for p in (0, 90, 10, 10)] + [one(priority=0, roles="gpu")]
    for task in old:
        s.change(task, up=s.wall() - 10000)
    young = one(priority=100)
    before = s.dump()
    s.tick(aging=0)
    s.tick(aging=60000)
    check(s.redis.call("ZSCORE", s.key("queue:tasks:pending"), old[0]) == b"0" and before, "too young, or off")
    s.tick(aging=5000)
    equal([t["id"] for t in claimed(count=9, roles="gpu")], old + [young])
    check_counts(s)


@case("aging: an update of a pending task does not begin its wait anew; a claim does, and so does a release")
def aging_update():
    fresh()

    def ages(task):
        s.change(task, up=s.wall() - 10000)

    def is_aged(task):
        s.tick(aging=5000)
        return s.redis.call("ZSCORE", s.key("queue:tasks:pending"), task) == b"-1000"

    task = one(priority=10)
    ages(task)
    s.update(task, text_='"x"')
    s.update(task, priority="20")
    check(s.wall() - int(s.task(task)["up"]) < 5000, "it has changed now")
    check(is_aged(task), "it has waited for long")
    (held,) = claimed(count=1)
    s.release(held["id"], held["lease_token"])
    check(not is_aged(task), "that wait is over")
    ages(task)
    s.update(task, metadata='{"a":1}')
    check(is_aged(task), "the next one is counted from its own beginning")
    s.register("a", "i1")
    s.assign(task, "a")
    s.reassign(task)
    s.update(task, priority="30")
    check(not is_aged(task), "and an update after it from the third one's")


@case("aging: counted from when it became pending; a task that goes back begins anew; bounded")
def aging_since():
    fresh()
    task = one(delay_ms=1)
    wait_until(lambda: s.tick()["promoted"] or status(task) == "pending", 5, "due")
    s.tick(aging=5000)
    equal(s.redis.call("ZSCORE", s.key("queue:tasks:pending"), task), b"-50")
    fresh()
    for i in range(25):
        for _ in range(12):
            one(priority=i * 4)
    for key in s.redis.scan(s.key("task:t-*")):
        s.change(key.decode().split(":")[-1], up=1)
    got = s.tick(aging=1000)
    equal([got["promoted"], s.redis.call("ZCOUNT", s.key("queue:tasks:pending"), -1000, -1000)], [100, 100])
    for _ in range(10):
        s.tick(aging=1000)
    equal(s.redis.call("ZCOUNT", s.key("queue:tasks:pending"), -1000, -1000), 300)


# ---- retention ----


def finish(n, payload="", how="complete", queue="default"):
    for _ in range(n):
        one(payload=payload, queue=queue)
    for t in claimed(count=n, queue=queue):
        if how == "complete":
            s.complete(t["id"], t["lease_token"], result=payload)
        elif how == "fail":
            s.fail(t["id"], t["lease_token"], retry=0)
        else:
            s.cancel(t["id"])


def large(state):
    return int(s.redis.call("HGET", s.key("counts"), f"large:{state}") or 0)


@case("retention by bytes: the oldest go until the rest fits; large ones are reckoned with, and forgotten with their task")
def retention_bytes():
    for how, state in (("complete", "completed"), ("fail", "failed"), ("cancel", "cancelled")):
        fresh()
        finish(20, how=how)
        equal([large(state), s.redis.call("EXISTS", s.key("tasks:large"))], [0, 0], "small ones cost nothing")
        finish(10, '"' + "x" * 9998 + '"', how)
        each = 20000 if how == "complete" else 10000
        check(10 * each <= large(state) <= 10 * each + 400, f"{large(state)}")
        s.tick(keep=(1000, 86400000, 600000, 0))
        equal(s.redis.call("ZCARD", s.key(f"tasks:{state}")), 30, "younger than keep_finished_min_ms")
        s.redis.call("DEBUG", "SLEEP", "0.002")
        s.tick(keep=(1000, 86400000, 0, 4 * (each + 1000) + 900))
        equal(s.redis.call("ZCARD", s.key(f"tasks:{state}")), 4)
        equal(s.redis.call("HLEN", s.key("tasks:large")), 4)
        check(4 * each <= large(state) <= 4 * each + 200, f"{large(state)}")
        s.redis.call("DEBUG", "SLEEP", "0.002")
        s.tick(keep=(0, 86400000, 0, 1 << 40))
        equal([large(state), s.redis.call("EXISTS", s.key("tasks:large"))], [0, 0])
        check_counts(s, state)


@case("retention: 100 a tick and state; the counts follow; a retried or deleted large task is not reckoned with any more")
def retention_steps():
    fresh()
    for _ in range(3):
        finish(80, how="fail", queue="q")
    s.redis.call("DEBUG", "SLEEP", "0.002")
    s.tick(keep=(0, 86400000, 0))
    equal(s.redis.call("ZCARD", s.key("tasks:failed")), 140)
    check_counts(s)
    fresh()
    finish(2, '"' + "x" * 5000 + '"', "fail")
    first, second = [m.decode() for m in s.redis.call("ZRANGE", s.key("tasks:failed"), 0, -1)]
    s.retry(first)
    s.delete(second)
    equal([large("failed"), s.redis.call("EXISTS", s.key("tasks:large"))], [0, 0])


@case("finished tasks leave as fast as they come, however few come in a call")
def retention_pace():
    fresh()
    for _ in range(40):
        args = [x for i in range(10) for x in s.create_args(f"n{i}")]
        s.ask("task_create_batch", 10, *args, op_args=[1000])
        for t in claimed(count=10):
            s.complete(t["id"], t["lease_token"], keep=(30, 86400000, 0))
    check(s.redis.call("ZCARD", s.key("tasks:completed")) < 230, f"{s.redis.call('ZCARD', s.key('tasks:completed'))} are kept")


@case("finished tasks leave as fast as they come when a group of batches ends as many as it can")
def retention_of_groups():
    fresh()
    for _ in range(4):
        ids = []
        for size in [3] * 49 + [1] * 15:  # 99 tasks beyond one a request
            args = [x for i in range(size) for x in s.create_args(f"n{i}")]
            ids.append(s.ask("task_create_batch", size, *args, op_args=[1000])["result"]["ids"])
        tokens = {t["id"]: t["lease_token"] for count in (100, 62) for t in claimed(count=count)}
        requests = [Request("", len(batch), *[x for i in batch for x in (i, tokens[i], "")], keys=[s.key(f"task:{i}") for i in batch]) for batch in ids]
        equal(s.commit("task_complete_batch", requests, [30000, *retention((0, 86400000, 0)), 30000, "pull"]).codes, [0] * 64)
        equal(s.redis.call("ZCARD", s.key("tasks:completed")), 162)  # those that have just ended: none goes in its own millisecond


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
