#!/usr/bin/env python3
"""push.py: assignment by the leader (lua/assign_pending.lua) and the loads that it goes by (lua/include/load.lua)."""

import collections
import json

from cbtest import *
from scripts import Scripts
from task_hash import unpacked

s = None


def fresh():
    s.redis.call("FLUSHALL")
    equal(s.tick(register=1, leader_lease=60000)["leads"], 1)


def loads(which=""):
    """instance → permille in use, of one set of loads."""
    flat = s.redis.call("ZRANGE", s.key("instances:load" + which), 0, -1, "WITHSCORES")
    return {flat[i].decode(): int(float(flat[i + 1]) // 10**12) for i in range(0, len(flat), 2)}


def held(instance):
    return s.redis.call("SCARD", s.key(f"queue:instance:{instance}"))


def agents(*names, **kw):
    for name in names:
        s.register(name, "i-" + name, **kw)


def push(**kw):
    got = s.assign_pending(**kw)
    equal([got["state"], got["problem"]], ["ok", ""])
    return got["assigned"]


def take(name, count=100, mode="push", **kw):
    return s.claim(name, count, incarnation="i-" + name, mode=mode, **kw)["result"]["tasks"]


def create(n=1, **kw):
    return [s.create("t", **kw)["result"]["id"] for _ in range(n)]


@case("only the leader of that epoch pushes; any other call changes nothing")
def leader_only():
    fresh()
    agents("a")
    create()
    before = s.dump()
    for wrong in ({"instance": "host-b"}, {"incarnation": "i2"}, {"epoch": "1"}):
        equal(s.assign_pending(**wrong)["state"], "refused")
    s.redis.call("HSET", s.key("leader:current"), "deadline", 1)
    equal(s.assign_pending()["state"], "refused")
    s.redis.call("HSET", s.key("leader:current"), "deadline", s.redis.hash(s.key("leader:current"))["deadline"])
    after = s.dump()
    before.pop(b"cb:leader:current"), after.pop(b"cb:leader:current")
    equal(after, before)


@case("equal capacities: every instance gets the same, and no more than it takes")
def spread():
    fresh()
    agents("a", "b", "c", "d", capacity=10)
    create(22)
    equal(push(), 22)
    equal(sorted(held(n) for n in "abcd"), [5, 5, 6, 6])
    create(78)
    equal(push(), 18)
    equal([held(n) for n in "abcd"], [10] * 4)
    equal(loads(), {n: 1000 for n in "abcd"})
    equal(push(), 0)


@case("unequal capacities: each is filled to the same part")
def proportion():
    fresh()
    agents("small", capacity=2)
    agents("large", capacity=20)
    create(11)
    equal(push(), 11)
    equal([held("small"), held("large")], [1, 10])
    equal(loads(), {"small": 500, "large": 500})


@case("one task at a time: whoever has had nothing for longest is next")
def turns():
    fresh()
    agents("a", "b", "c")
    got = []
    for _ in range(9):
        task = create()[0]
        push()
        name = [n for n in "abc" if held(n)][0]
        got.append(name)
        wait_until(lambda now=s.wall(): s.wall() > now, 1, "the next millisecond")
        t = take(name)[0]
        equal(t["id"], task)
        s.complete(task, t["lease_token"], name)
    equal(collections.Counter(got), {"a": 3, "b": 3, "c": 3})


@case("a pushed task is as an assigned one: charged, leased, handed over to its holder's next claim")
def handed():
    fresh()
    agents("a", capacity=5)
    task = create(priority=7)[0]
    push()
    got = s.get(task)["result"]
    equal([got["status"], got["assignedTo"], got["attempt"]], ["in_progress", "a", 1])
    equal(s.claim("b", mode="push")["result"]["claimed"], False)
    t = take("a")[0]
    equal([t["id"], t["attempt"]], [task, 1])
    equal(s.complete(task, t["lease_token"], "a")["result"]["status"], "completed")
    equal(loads(), {"a": 0})
    equal([e["ids"] for e in s.events("task.assigned")], [task])


@case("queues and roles: a task goes only to who serves its queue and has one of its roles")
def queues_and_roles():
    fresh()
    agents("plain")
    agents("gpu", roles='["gpu"]', capacity=3)
    agents("other", queues="q2 q3", roles='["gpu","cpu"]', capacity=3)
    gpu = create(2, roles="gpu tpu")
    q3 = create(queue="q3")[0]
    cpu = create(queue="q2", roles="cpu")[0]
    nobody = create(roles="cpu")[0]
    plain = create(2)
    equal(push(), 6)
    equal({s.get(t)["result"]["assignedTo"] for t in gpu}, {"gpu"})
    equal([s.get(t)["result"]["assignedTo"] for t in (q3, cpu)], ["other", "other"])
    equal({s.get(t)["result"]["assignedTo"] for t in plain}, {"plain", "gpu"})
    equal(s.get(nobody)["result"]["status"], "pending")


@case("capacity 0, the dead, the unregistered, daemons and those that are full get nothing")
def who_not():
    fresh()
    agents("none", capacity=0)
    agents("full")
    agents("gone")
    agents("silent", lease="1000")
    s.unregister("gone", "i-gone")
    create()
    push()
    equal(held("full") + held("silent"), 1)
    s.age(1.2)  # silent is dead, though no tick has said so
    create(3)
    push()
    equal([held(n) for n in ("none", "gone", "host-a")], [0, 0, 0])
    check(held("silent") + held("full") <= 2 and held("full") <= 1, "no more than they take")
    s.tick()
    equal(set(loads()), {"full"})
    push()
    equal(held("full"), 1)


@case("an entry whose task is gone leaves its queue, and is counted no more")
def gone():
    fresh()
    agents("a", capacity=9)
    tasks = create(4) + create(2, roles="x")
    s.redis.call("DEL", s.key(f"task:{tasks[1]}"), s.key(f"task:{tasks[3]}"))
    equal(push(), 2)
    equal(int(s.redis.hash(s.key("counts"))["pending"]), 2)
    equal([int(s.redis.hash(s.key("counts"))[f"q:default:{state}"]) for state in ("pending", "in_progress")], [2, 2])


@case("loads follow every hold and every release, and nothing else")
def follow():
    fresh()
    agents("a", capacity=10)

    def is_true(what):
        equal(loads(), {"a": held("a") * 100}, what)
        equal(loads(":queue:default"), loads(), what)

    create(9)
    tasks = take("a", 5, mode="pull")
    is_true("claim")
    s.complete(tasks[0]["id"], tasks[0]["lease_token"], "a")
    is_true("complete")
    s.complete(tasks[1]["id"], tasks[1]["lease_token"], "a", next_args=s.claim_args("a", 2, incarnation="i-a"))
    is_true("complete with next")
    s.fail(tasks[2]["id"], tasks[2]["lease_token"])
    is_true("fail")
    s.release(tasks[3]["id"], tasks[3]["lease_token"])
    is_true("release")
    s.complete_batch([(tasks[4]["id"], tasks[4]["lease_token"])], "a")
    is_true("complete_batch")
    task = create()[0]
    s.assign(task, "a")
    is_true("assign")
    s.reassign(task)
    is_true("reassign")
    s.assign(task, "a")
    s.delete(task)
    is_true("delete")
    s.age(31)
    s.heartbeat("a", "i-a")
    s.tick()
    equal(held("a"), 0)
    s.register("a", "i-a", capacity=10)
    is_true("lease ended")
    s.unregister("a", "i-a")
    equal([loads(), loads(":queue:default")], [{}, {}])


@case("registered again with other queues and roles: it is found where it is now, and only there")
def moved():
    fresh()
    agents("a", queues="q1 q2", roles='["x"]')
    equal({k.decode() for k in s.redis.scan(s.key("instances:load*"))},
          {"cb:instances:load", "cb:instances:load:queue:q1", "cb:instances:load:queue:q2",
           "cb:instances:load:queue:q1:role:x", "cb:instances:load:queue:q2:role:x"})
    agents("a", queues="q2 q3")
    equal({k.decode() for k in s.redis.scan(s.key("instances:load*"))},
          {"cb:instances:load", "cb:instances:load:queue:q2", "cb:instances:load:queue:q3"})
    agents("a", capacity=0)
    equal(s.redis.scan(s.key("instances:load*")), set())


@case("a daemon that takes the id of an agent whose time is over: nobody looks for the agent any more")
def daemon_after_agent():
    fresh()
    agents("host-b", queues="q1 q2", roles='["x"]')
    s.age(60)
    s.tick("host-b", "ib", "sb", register=1)
    equal(s.redis.hash(s.key("instance:host-b"))["kind"], b"daemon")
    equal(s.redis.scan(s.key("instances:load*")), set())


@case("an instance that lets go by what it is given gets nothing more, until it claims again")
def mute():
    fresh()
    agents("deaf", "good", lease="600000", capacity=2)
    tasks = create(2)
    push()
    equal([held("deaf"), held("good")], [1, 1])
    t = take("good")[0]
    s.complete(t["id"], t["lease_token"], "good")
    s.age(31)
    s.tick()
    left = [x for x in tasks if s.get(x)["result"]["status"] == "pending"]
    equal(len(left), 1)
    equal(s.get(left[0])["result"]["attempt"], 0)  # nobody has started it
    create(3)
    push()
    equal([held("deaf"), held("good")], [0, 2])
    equal(take("deaf"), [])
    push()
    equal(held("deaf"), 2)


@case("at most 100 a call, a turn for each queue, and on behind the last one")
def bounds():
    fresh()
    agents("a", capacity=1000, queues="q1 q2 q3")
    agents("b", capacity=1000, queues="q4 q5 q6")
    for q in range(1, 7):
        create(60, queue=f"q{q}")
    first = s.assign_pending()
    equal([first["assigned"], first["cursor"]], [100, "q4"])
    second = s.assign_pending(cursor=first["cursor"])
    counts = collections.Counter(
        t["q"].decode() for t in (unpacked(s.redis.hash(k)) for k in s.redis.scan(s.key("task:t-*"))) if t["st"] == b"in_progress")
    equal([second["assigned"], counts], [100, {"q1": 50, "q2": 25, "q3": 25, "q4": 50, "q5": 25, "q6": 25}])
    # That q4 had another turn before q2: at most 100 wait for one instance to claim them.
    total, cursor = 200, second["cursor"]
    for _ in range(10):
        got = s.assign_pending(cursor=cursor)
        total, cursor = total + got["assigned"], got["cursor"]
    equal(total, 200)


@case("more queues than one call looks at: a few calls look at all of them")
def many_queues():
    fresh()
    agents("a", capacity=100, queues="q77")
    for q in range(10, 90):
        create(queue=f"q{q}")
    cursor, seen, total = "", 0, 0
    for _ in range(5):
        got = s.assign_pending(cursor=cursor)
        cursor, seen, total = got["cursor"], seen + got["seen"], total + got["assigned"]
        equal(got["names"], 80)
    equal(total, 1)
    check(seen >= 80, seen)


@case("hybrid: who claims gets; the leader gives what has waited long enough")
def hybrid():
    fresh()
    agents("a", capacity=10)
    old, young = create(2)
    s.change(old, up=s.wall() - 6000)
    equal(push(mode="hybrid", wait=5000), 1)
    equal([s.get(t)["result"]["status"] for t in (old, young)], ["in_progress", "pending"])
    equal(s.claim("b", mode="hybrid")["result"]["taskId"], young)


@case("the leader waits to be woken: by a new task, by room, by an instance; not while there is nothing of that")
def nudged():
    def waits():
        return s.redis.call("HEXISTS", s.key("waiters"), "leader") == 1

    def armed():
        equal(push(reply="leader-token-000000000"), 0)
        check(waits(), "the leader waits")
        s.replies("leader-token-000000000")

    def woken(what):
        equal([waits(), len(s.replies("leader-token-000000000"))], [False, 1], what)

    fresh()
    armed()
    create()
    woken("a new task")
    armed()
    s.register("a", "i-a")
    woken("a new instance")
    equal(push(reply="leader-token-000000000"), 1)
    check(not waits(), "it does not wait when it gave something")
    armed()
    s.heartbeat("a", "i-a")
    t = take("a")[0]
    check(waits(), "nothing for it")
    s.complete(t["id"], t["lease_token"], "a")
    woken("room")
    for queue in ("default", "*"):
        s.pause(queue)
        create()
        s.replies("leader-token-000000000")
        armed()
        s.resume(queue)
        woken("a queue that is resumed")
        equal(push(reply="leader-token-000000000"), 1)
        t = take("a")[0]
        s.complete(t["id"], t["lease_token"], "a")
    armed()
    equal(push(mode="pull"), 0)
    equal([waits(), s.redis.call("HGET", s.key("meta"), "assignment")], [False, None])


@case("push: a new task wakes no claim that could not have it; the one that it is given to is woken")
def waiters():
    fresh()
    agents("a", "b")
    push()  # from now on all tasks are pushed
    for name in "ab":
        equal(s.wait(name, incarnation="i-" + name, mode="push"), 2)
    create()
    equal([s.replies(s.waiting(n)) for n in "ab"], [[], []])
    push()
    woken = [n for n in "ab" if s.replies(s.waiting(n))]
    equal(len(woken), 1)
    equal(len(take(woken[0])), 1)
    s.redis.call("HSET", s.key("meta"), "assignment", "hybrid")
    agents("c")
    create()
    other = "b" if woken == ["a"] else "a"
    equal(len(s.replies(s.waiting(other))), 1)


@case("what is no pending task any more, or no task, is cleared away or passed by, and keeps nobody else waiting")
def damage():
    fresh()
    agents("a", capacity=10)
    good = create(3)
    s.redis.call("ZADD", s.key("queue:tasks:pending"), -100, "t-0000000000000001")
    s.change(good[0], st="completed")
    s.redis.call("SET", s.key("task:t-0000000000000002"), "x")
    s.redis.call("ZADD", s.key("queue:tasks:pending"), -100, "t-0000000000000002")
    got = s.assign_pending()
    equal([got["state"], got["assigned"]], ["ok", 2])
    check("WRONGTYPE" in got["problem"], got["problem"])
    equal(s.redis.call("ZRANGE", s.key("queue:tasks:pending"), 0, -1), [b"t-0000000000000002"])


@case("picking one costs the same among 3 and among 3 000 instances")
def cost():
    def spent(n):
        fresh()
        agents(*[f"a{i}" for i in range(n)])
        create(10)
        before = int(s.redis.info("stats")["total_commands_processed"])
        equal(push(), min(n, 10))
        return int(s.redis.info("stats")["total_commands_processed"]) - before

    few, many = spent(10), spent(3000)
    note(f"commands to push 10 tasks, inner ones too: {few} with 10 instances, {many} with 3000")
    check(abs(many - few) <= 5, f"{few}, {many}")


@case("tokens of pushed tasks never repeat and carry the kernel's bits")
def tokens():
    fresh()
    agents("a", capacity=100)
    create(50)
    equal(push(salt="feedfacecafebeef") + push(salt="feedfacecafebeef"), 50)
    got = {t["lease_token"] for t in take("a")}
    equal(len(got), 50)
    check(all("feedfacecafebeef" in t for t in got), got)
    check("feedface" not in json.dumps(s.events()), "no token in an event")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
