#!/usr/bin/env python3
"""waiting.py: tasks that wait: for a time, for other tasks; and unique keys. Chains, policies, bounds, damaged keys."""

import json

from cbtest import *
from counts import check_counts
from scripts import Scripts

s = None


def fresh():
    s.redis.call("FLUSHALL")
    s.tick(register=1)


def one(**kw):
    doc = s.create("t", **kw)
    check("result" in doc, short(json.dumps(doc)))
    return doc["result"]["id"]


def status(task):
    return s.task(task)["st"].decode()


def take(task, **kw):
    """Claims until the task is ours; its token."""
    while True:
        tasks = s.claim(**kw)["result"]["tasks"]
        check(tasks, f"{task} is not claimed")
        if tasks[0]["id"] == task:
            return tasks[0]["lease_token"]


def finish(task, how="completed", **kw):
    if how == "cancelled":
        return s.cancel(task)
    if how == "deleted":
        return s.delete(task)
    lease_token = take(task, **kw)
    return s.complete(task, lease_token) if how == "completed" else s.fail(task, lease_token, retry=0)


def left_over():
    """Keys of the machinery that are to be gone when nobody waits."""
    return {k.decode() for k in s.redis.scan(s.key("*dependents*"))} | {k.decode() for k in s.redis.scan(s.key("unique:*"))}


# ---- time ----


@case("delay_ms and run_at: delayed until then, pending by the first tick after it; one that is over: pending at once")
def delayed():
    fresh()
    later, soon = s.create("later", delay_ms=3600000)["result"], one(run_at=s.wall() + 30)
    equal(later["status"], "delayed")
    got = s.get(later["id"])["result"]
    check(got["status"] == "delayed" and got["next_run_at"] > got["createdAt"], got)
    equal([status(soon), s.claim()["result"]["claimed"]], ["delayed", False])
    equal(s.tick()["promoted"] <= 1, True)
    wait_until(lambda: s.wall() > int(got_due(soon) or 0), 5, "due")
    s.tick()
    equal([status(soon), status(later["id"])], ["pending", "delayed"])
    equal([one(run_at=1), one(delay_ms=0)] and [t["status"] for t in s.listing(status="pending")["result"]["tasks"]],
          ["pending"] * 3)
    check_counts(s)


def got_due(task):
    return s.task(task).get("du", b"0")


@case("delayed tasks count against max_pending: a flood of them is refused, too")
def delayed_flood():
    fresh()
    for _ in range(3):
        one(delay_ms=100000)
    other = one(queue="other")
    one(after=[other])
    error = s.create("x", max_pending=4)["error"]
    equal([error["code"], error["data"]["queue"]], [-32007, "default"])
    check(100 <= error["data"]["retry_after_ms"] <= 60000, error)
    check("result" in s.create("x", max_pending=5), "room for one")


@case("retry_after_ms follows how fast the queue moved: its first task's age by its length")
def retry_after():
    fresh()
    for i in range(10):
        one()
    first = s.redis.call("ZRANGE", s.key("queue:tasks:pending"), 0, 0)[0]
    quick = s.create("x", max_pending=10)["error"]["data"]["retry_after_ms"]
    old = b"t-%016d" % (int(first[2:]) - 20_000_000)
    s.redis.pipeline([["RENAME", s.key("task:" + first.decode()), s.key("task:" + old.decode())],
                      ["ZREM", s.key("queue:tasks:pending"), first], ["ZADD", s.key("queue:tasks:pending"), -50, old]])
    slow = s.create("x", max_pending=10)["error"]["data"]["retry_after_ms"]
    check(100 <= quick < 1000 and 20000 <= slow <= 25000, f"{quick} and then {slow}")


@case("per-task back-off: its own base and maximum")
def backoff():
    fresh()
    for extras, bounds in (({"backoff_ms": 10000}, [(8000, 12000), (16000, 24000)]),
                           ({"backoff_ms": "10000 15000"}, [(8000, 12000), (12000, 18000)]), ({}, [(800, 1200), (1600, 2400)])):
        task = one(**extras)
        for low, high in bounds:
            lease_token = take(task)
            before = s.wall()
            s.fail(task, lease_token, random=999 if high % 3 else 0)
            pause = int(got_due(task)) - before
            check(low <= pause <= high + 100, f"{extras}: {pause}, wanted {low} to {high}")
            s.update(task, status="pending")
        s.cancel(task)


# ---- dependencies ----


@case("blocked until all of them are completed, over queues; then pending, and what it waited for is gone")
def chain():
    fresh()
    a, b = one(queue="qa"), one(queue="qb")
    doc = s.create("c", after=[a, b])["result"]
    equal(doc["status"], "blocked")
    c = doc["id"]
    equal(sorted(s.get(c)["result"]["waiting_for"]), sorted([a, b]))
    equal([t["id"] for t in s.listing(status="blocked")["result"]["tasks"]], [c])
    equal(s.claim()["result"]["claimed"], False)
    finish(a, queue="qa")
    equal([status(c), s.get(c)["result"]["waiting_for"]], ["blocked", [b]])
    finish(b, queue="qb")
    equal(status(c), "pending")
    check("waiting_for" not in s.get(c)["result"], "shown")
    equal([e["ids"] for e in s.events("task.unblocked")], [c])
    equal(left_over(), set())
    equal(s.claim()["result"]["taskId"], c)
    check_counts(s)


@case("a completion's `next` and a batch of completions unblock at once; a blocked task with a time is delayed then")
def unblock_ways():
    fresh()
    a = one()
    b, late = one(after=[a]), one(after=[a], delay_ms=3600000)
    doc = s.complete(a, take(a), "w1", next_args=s.claim_args("w1"))["result"]
    equal([doc["tasks"], status(b), status(late)], [[], "pending", "delayed"])
    equal(s.claim()["result"]["taskId"], b)
    many = [one() for _ in range(30)]
    waiting = [one(after=[t]) for t in many]
    tasks = s.claim(count=100)["result"]["tasks"]
    s.complete_batch([(t["id"], t["lease_token"]) for t in tasks])
    equal({status(t) for t in waiting}, {"pending"})
    equal(left_over(), set())
    check_counts(s)


@case("what has ended already counts at once: completed is met, failed and cancelled go by the policy")
def already():
    for how, policy, want in (("completed", None, "pending"), ("failed", None, "failed"), ("cancelled", None, "failed"),
                              ("failed", "ignore", "pending"), ("cancelled", "ignore", "pending"),
                              ("failed", "block", "blocked"), ("cancelled", "block", "blocked")):
        fresh()
        a = one()
        finish(a, how)
        kw = {"on_failure": policy} if policy else {}
        doc = s.create("x", after=[a], **kw)["result"]
        equal([doc["status"], status(doc["id"])], [want, want], (how, policy))
        if want == "failed":
            got = s.get(doc["id"])["result"]
            equal([got["dead"], got["dead_reason"], a in got["error"]], [True, "dependency", True])
            equal(s.events("task.failed")[-1]["ids"], doc["id"])
        check_counts(s, (how, policy))


@case("policies: a dependency that fails for good, is cancelled, or is deleted")
def policies():
    for how in ("failed", "cancelled", "deleted"):
        fresh()
        a, other = one(), one(queue="other")
        tasks = {p: one(after=[a], **({"on_failure": p} if p else {})) for p in (None, "ignore", "block")}
        both = one(after=[a, other])
        finish(a, how)
        want = {None: "failed", "ignore": "pending", "block": "failed" if how == "deleted" else "blocked"}
        equal({p: status(t) for p, t in tasks.items()}, want, how)
        got = s.get(both)["result"]
        equal([got["status"], got["dead_reason"]], ["failed", "dependency"], how)
        equal(s.redis.call("SCARD", s.key(f"task:{other}:dependents")), 0, "the other one knows it no more")
        check_counts(s, how)
        if how == "deleted":
            equal(left_over(), set())


@case("block: it waits for the retry; completed then, or failing again; gone, it fails")
def block():
    fresh()
    a = one()
    b = one(after=[a], on_failure="block")
    for _ in range(3):
        finish(a, "failed")
        equal(status(b), "blocked")
        equal(s.retry(a)["result"]["status"], "pending")
        equal(status(b), "blocked")
    finish(a)
    equal([status(b), left_over()], ["pending", set()])
    a = one()
    b = one(after=[a], on_failure="block")
    finish(a, "cancelled")
    equal(status(b), "blocked")
    s.redis.call("DEBUG", "SLEEP", "0.002")
    s.tick(keep=(0, 1000000, 0))  # retention removes what it waits for
    equal([s.task(a), s.get(b)["result"]["dead_reason"], left_over()], [{}, "dependency", set()])
    check("is gone" in s.get(b)["result"]["error"], "the reason")


@case("retry of a dependency brings back nobody who failed of it; and who is brought back waits for nobody")
def retry_alone():
    fresh()
    a = one()
    b = one(after=[a])
    finish(a, "failed")
    equal(status(b), "failed")
    s.retry(a)
    equal([status(a), status(b)], ["pending", "failed"])
    s.retry(b)
    equal(status(b), "pending")
    finish(b)
    check_counts(s)


@case("failing goes down a chain and a broad tree, at most about 100 tasks a call, the rest by ticks")
def cascade():
    fresh()
    root = one()
    chain_ = [root]
    for _ in range(250):
        chain_.append(one(after=[chain_[-1]]))
    before = len(s.events())
    finish(root, "failed")
    dead = sum(status(t) == "failed" for t in chain_)
    check(95 <= dead <= 102, f"{dead} at once")
    ticks = 0
    while status(chain_[-1]) != "failed":
        got = s.tick()
        equal(got["problem"], "")
        check(got["promoted"] >= 90 or status(chain_[-1]) == "failed", "a tick that was full says so")
        ticks += 1
        check(ticks < 5, "it ends")
    equal(left_over(), set())
    check(len(s.events()) - before < 12, "an event per call, not per task")
    fresh()
    root = one()
    leaves = [one(after=[root]) for _ in range(350)]
    finish(root)
    done = sum(status(t) == "pending" for t in leaves)
    equal(done, 100)
    for _ in range(3):
        s.tick()
    equal({status(t) for t in leaves}, {"pending"})
    equal(left_over(), set())
    check_counts(s)


@case("two that end while the list is long are both told, in order; a retry meanwhile changes nothing for the failed")
def list_order():
    fresh()
    a, b = one(), one()
    of_a = [one(after=[a]) for _ in range(150)]
    of_b = [one(after=[b]) for _ in range(30)]
    finish(a, "failed")
    finish(b)
    equal(sum(status(t) == "failed" for t in of_a), 150)
    equal(sum(status(t) == "pending" for t in of_b), 30)
    s.retry(a)
    late = one(after=[a])
    finish(a)
    equal([status(late), {status(t) for t in of_a}, left_over()], ["pending", {"failed"}, set()])


@case("unknown ids: -32602 with the path, and nothing is created; 64 are possible; an id that is blocked itself")
def unknown():
    fresh()
    a = one()
    before = s.dump()
    error = s.create("x", after=[a, "t-7"])["error"]
    equal([error["code"], error["data"]["path"], error["data"]["got"]], [-32602, "after[1]", "t-7"])
    error = s.create_batch({"text_": "1"}, {"text_": "2", "after": ["t-8"]})["error"]
    equal([error["code"], error["data"]["path"]], [-32602, "tasks[1].after[0]"])
    check(s.dump() == before, "something was created")
    many = [one() for _ in range(64)]
    last = one(after=many)
    further = one(after=[last])
    tasks = s.claim(count=100)["result"]["tasks"]
    s.complete_batch([(t["id"], t["lease_token"]) for t in tasks if t["id"] != a])
    equal([status(last), status(further)], ["pending", "blocked"])
    finish(last)
    equal([status(further), left_over()], ["pending", set()])


@case("a batch whose tasks wait for earlier ones of it, by number")
def by_index():
    fresh()
    ids = s.create_batch({"text_": "a"}, {"text_": "b", "after_index": [0]}, {"text_": "c", "after_index": [0, 1]})["result"]["ids"]
    equal([status(t) for t in ids], ["pending", "blocked", "blocked"])
    finish(ids[0])
    equal([status(t) for t in ids], ["completed", "pending", "blocked"])
    finish(ids[1])
    equal(status(ids[2]), "pending")
    dead = one()
    finish(dead, "failed")
    ids = s.create_batch({"text_": "a", "after": [dead]}, {"text_": "b", "after_index": [0]},
                         {"text_": "c", "after_index": [0], "on_failure": "ignore"})["result"]["ids"]
    equal([status(t) for t in ids], ["failed", "failed", "pending"])
    equal(s.events("task.failed")[-1]["ids"], " ".join(ids[:2]))
    check_counts(s)


@case("blocked tasks that are cancelled, deleted or made pending leave no trace with those they waited for")
def blocked_leaves():
    fresh()
    a = one()
    for leave in (s.cancel, s.delete, lambda t: s.update(t, status="pending")):
        b = one(after=[a])
        check("result" in leave(b), "leave")
        equal(s.redis.call("EXISTS", s.key(f"task:{a}:dependents")), 0)
    finish(a)
    equal(left_over(), set())
    check_counts(s)


@case("a damaged dependent holds up no other: it is told, and tried again")
def damaged():
    fresh()
    a = one()
    tasks = [one(after=[a], queue=f"q{i}") for i in range(5)]
    s.redis.call("SET", s.key("queue:q2:pending"), "x")
    finish(a)
    equal([status(t) for t in tasks], ["pending", "pending", "blocked", "pending", "pending"])
    check("WRONGTYPE" in s.tick()["problem"], "told")
    b = one()
    other = one(after=[b])
    finish(b)
    s.tick()
    equal(status(other), "pending")
    s.redis.call("DEL", s.key("queue:q2:pending"))
    s.tick()
    equal([status(tasks[2]), left_over()], ["pending", set()])
    e = one()
    half = one(after=[e])
    whole = s.redis.call("HGET", s.key(f"task:{half}"), "s")
    s.redis.call("HSET", s.key(f"task:{half}"), "s", "blocked")
    finish(e)
    check("DAMAGED" in s.tick()["problem"], "told")
    equal(s.redis.call("HGET", s.key(f"task:{half}"), "s"), b"blocked", "not made to look whole")
    s.redis.call("HSET", s.key(f"task:{half}"), "s", whole)
    s.tick()
    equal([status(half), left_over()], ["pending", set()])
    s.redis.call("SET", s.key("dependents:due"), "x")
    c = one()
    d = one(after=[c])
    lease_token = take(c, count=1)
    equal(s.complete(c, lease_token)["error"]["code"], -32603)
    equal([status(c), status(d)], ["in_progress", "blocked"])


@case("wrong types: create with dependencies and a unique key changes nothing")
def wrong_types():
    for key in ("queue:delayed", "queue:blocked", "tasks:failed", "queue:dead", "unique:default:k", "counts", "queues",
                "task:{id}:dependents"):
        fresh()
        a = one()
        name = s.key(key.format(id=a))
        s.redis.call("DEL", name)
        s.redis.call(*(["SADD", name, "x"] if "unique" in key else ["SET", name, "x"]))
        before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
        doc = s.create("x", after=[a], unique_key="k")
        equal(doc.get("error", {}).get("code"), -32603, f"{key}: {short(json.dumps(doc))}")
        check(s.dump(("requests:", "reply:", "duplicates:", "clock", "meta")) == before, f"{key}: changed")


# ---- unique keys ----


@case("a second task with the key of a live one is that one, told so; another queue has its own")
def unique():
    fresh()
    first = s.create("first", unique_key="k é:1", priority=7)["result"]
    again = s.create("second", unique_key="k é:1")["result"]
    equal(again, {**first, "existing": True})
    equal(s.get(first["id"])["result"]["unique_key"], "k é:1")
    check(one(queue="other", unique_key="k é:1") != first["id"], "another queue")
    check("existing" not in s.create("x", unique_key="other")["result"], "another key")
    equal(len(s.events("task.created")), 3)
    check_counts(s)


@case("the key is released by each way to end, and kept over retries, releases and losses")
def released():
    for how in ("completed", "failed", "cancelled", "deleted"):
        fresh()
        a = one(unique_key="k")
        finish(a, how)
        equal(left_over(), set(), how)
        check(one(unique_key="k") != a, how)
    fresh()
    a = one(unique_key="k")
    s.fail(a, take(a))
    equal(s.create("x", unique_key="k")["result"]["status"], "delayed")
    s.update(a, status="pending")
    s.release(a, take(a))
    take(a)
    s.age(100)
    s.tick()
    equal([s.create("x", unique_key="k")["result"]["id"], status(a)], [a, "pending"])
    blocked = one(after=[a], unique_key="b")
    finish(a, "cancelled")
    equal([status(blocked), left_over()], ["failed", set()])


@case("task.retry takes the key again, or is refused while another live task has it")
def unique_retry():
    fresh()
    a = one(unique_key="k")
    finish(a, "failed")
    b = one(unique_key="k")
    error = s.retry(a)["error"]
    equal([error["code"], error["data"]], [-32005, {"reason": "unique_key", "state": "failed", "id": b}])
    finish(b, "cancelled")
    equal(s.retry(a)["result"]["status"], "pending")
    equal(s.create("x", unique_key="k")["result"]["id"], a)


@case("in a batch: the first of two wins; those that were there are named")
def unique_batch():
    fresh()
    a = one(unique_key="a")
    got = s.create_batch({"text_": "1", "unique_key": "a"}, {"text_": "2"}, {"text_": "3", "unique_key": "b"},
                         {"text_": "4", "unique_key": "b"})["result"]
    equal([got["ids"][0], got["ids"][2] == got["ids"][3], got["existing"]], [a, True, [a, got["ids"][2]]])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 3)
    check_counts(s)


@case("a key that is left behind without a live task is nobody's")
def unique_stale():
    fresh()
    for value in ("t-99", one()):
        if value != "t-99":
            finish(value)
        s.redis.call("SET", s.key("unique:default:k"), value)
        made = s.create("x", unique_key="k")["result"]
        check("existing" not in made, value)
        s.cancel(made["id"])


@case("a repeat under the same idempotency key says what the first said, whatever has become of the task")
def unique_idem():
    fresh()
    kw = {"params_hash": "h" * 16, "idem": s.key("idem:u"), "op_args": [1000]}
    args = s.create_args("x", delay_ms=60000, unique_key="k")
    first = s.ask("task_create", *args, **kw)["result"]
    s.cancel(first["id"])
    equal(s.ask("task_create", *args, **kw)["result"], first)
    equal(first["status"], "delayed")


# ---- random ----


@case("random: trees of dependencies under every operation; nobody waits for what has ended, counts are right")
def random_trees():
    draw = rng("trees")
    for _ in range(4):
        fresh()
        tasks, leases = [], {}
        for _ in range(220):
            what = draw.randrange(9)
            live = [t for t in tasks if s.task(t)]
            if what <= 2 or not live:
                kw = {}
                if live and draw.random() < 0.7:
                    kw["after"] = draw.sample(live, min(len(live), draw.randint(1, 4)))
                    if draw.random() < 0.6:
                        kw["on_failure"] = draw.choice(["ignore", "block"])
                if draw.random() < 0.2:
                    kw["unique_key"] = draw.choice("abc")
                if draw.random() < 0.2:
                    kw["delay_ms"] = draw.choice([0, 1, 3600000])
                tasks.append(one(queue=draw.choice(["default", "q2"]), max_attempts=draw.randint(1, 2), **kw))
            elif what == 3:
                for t in s.claim(count=3, queue=draw.choice(["default", "q2"]))["result"]["tasks"]:
                    leases[t["id"]] = t["lease_token"]
            elif what == 4 and leases:
                task = draw.choice(sorted(leases))
                draw.choice([s.complete, s.fail, s.release])(task, leases[task])
            elif what == 5:
                draw.choice([s.cancel, s.retry, s.delete])(draw.choice(live))
            elif what == 6:
                s.age(draw.choice([0.1, 40]))
                equal(s.tick(keep=draw.choice([(100, 86400000, 600000), (0, 1000, 0)]))["problem"], "")
            elif what == 7:
                s.update(draw.choice(live), status=draw.choice(["pending", "cancelled"]))
            else:
                equal(s.tick()["problem"], "")
        for _ in range(3):
            s.tick()
        check_counts(s)
        check_waiting(tasks)


def check_waiting(tasks):
    due = {d.decode() for d in s.redis.scan(s.key("dependents:*"))}
    equal(due, set())
    waiting = set()
    for task in tasks:
        t = s.task(task)
        if not t or t["st"] != b"blocked":
            check(b"af" not in t, f"{task} waits and is {t.get('st')}")
            continue
        equal(s.redis.call("ZSCORE", s.key("queue:blocked"), task) is not None, True)
        needs = t["af"].decode().split()
        check(needs, f"{task} waits for nobody")
        for need in needs:
            n = s.task(need)
            check(n, f"{task} waits for {need}, which is gone")
            stuck = n["st"] == b"completed" or n["st"] in (b"failed", b"cancelled") and t.get("of") != b"block"
            check(not stuck, f"{task} waits for {need}, which is {n['st']}")
            equal(s.redis.call("SISMEMBER", s.key(f"task:{need}:dependents"), task), 1)
            waiting.add((need, task))
    for key in s.redis.scan(s.key("task:*:dependents")):
        need = key.decode().split(":")[2]
        for member in s.redis.call("SMEMBERS", key):
            check((need, member.decode()) in waiting, f"{member} is listed with {need}, and does not wait for it")
    for key in s.redis.scan(s.key("unique:*")):
        owner = s.redis.text("GET", key)
        check(status(owner) in ("blocked", "delayed", "pending", "in_progress"), f"{key} is {owner}'s, who has ended")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
