#!/usr/bin/env python3
"""waiters.py: claims that wait (lua/include/wake.lua, park.lua, the tick): who is woken, once, and nothing is left behind."""

from cbtest import *
from scripts import Request, Scripts

s = None
WAKE = {"claimed": False, "tasks": [], "wake": True}
CLAIMED_NONE, CLAIMED = 3, 4  # codes of lua/include/commit.lua
EMPTY = {"claimed": False, "tasks": []}
PARKED = 2


def fresh():
    s.redis.call("FLUSHALL")


def waiters():
    """All keys of waiters."""
    return {k.decode() for k in s.redis.scan(s.key("waiters*"))}


def answers(worker):
    return [d["result"] for d in s.replies(s.waiting(worker))]


def parked(*workers, **kw):
    for worker in workers:
        equal(s.wait(worker, **kw), PARKED)
        equal(answers(worker), [])


def taken(**kw):
    s.create("t", **kw)
    return s.claim("holder", queue=kw.get("queue", "default"), roles=kw.get("roles", ""))["result"]["tasks"][0]


def since(waiter_name, ms):
    """Makes a waiter older than it is."""
    key = s.key("waiters")
    for name, text in s.redis.hash(key).items():
        if f'"{waiter_name}"' in text.decode():
            fields = text.decode().rsplit('"', 2)
            s.redis.call("HSET", key, name, f'{fields[0]}"{s.wall() - ms}"{fields[2]}')
            return
    fail(f"no waiter {waiter_name}")


@case("a claim that finds nothing is parked: acked, deleted, not answered, and nothing is kept for its repeat")
def parks():
    fresh()
    equal(s.wait("w", params_hash="h" * 32, idem="0" * 27), PARKED)
    equal(s.redis.call("XLEN", s.stream()), 0)
    equal(s.redis.call("XPENDING", s.stream(), "workers")[0], 0)
    equal(answers("w"), [])
    equal(s.redis.scan(s.key("idem:*")), set())
    equal(waiters(), {"cb:waiters", "cb:waiters:deadline", "cb:waiters:queues", "cb:waiters:queue:default",
                      "cb:waiters:instance:w"})


@case("a claim that finds a task does not wait, and a claim that does not wait is answered")
def finds():
    fresh()
    equal(s.claim("w")["result"], EMPTY)
    s.create("t")
    equal(s.wait("w"), CLAIMED)
    equal(answers("w")[0]["claimed"], True)
    equal(waiters(), set())


@case("a new task wakes the one that came first, and stays where it is: a dead waiter holds nothing")
def wakes():
    fresh()
    parked("a", "b")
    task = s.create("t")["result"]["id"]
    equal([answers("a"), answers("b")], [[WAKE], []])
    equal(s.get(task)["result"]["status"], "pending")
    equal(s.redis.call("HLEN", s.key("waiters")), 1)
    s.create("t")
    equal([answers("a"), answers("b")], [[], [WAKE]])
    equal(waiters(), set())
    check(0 < s.redis.call("PTTL", s.key("reply:" + s.waiting("b"))) <= 60000 or not answers("b"), "TTL")


@case("one task wakes one of 200, n tasks wake n, whether created alone, in a batch or in a group")
def herd():
    fresh()
    names = [f"w{i}" for i in range(200)]
    parked(*names)
    s.create("t")
    equal([n for n in names if answers(n)], names[:1])
    token_ = "reply-token-for-group"
    s.commit("task_create", [Request(*s.create_args(), reply=token_) for _ in range(5)], [1000])
    equal([n for n in names if answers(n)], names[1:6])
    flat = [x for _ in range(20) for x in s.create_args()]
    s.ask("task_create_batch", 20, *flat, op_args=[1000])
    equal([n for n in names if answers(n)], names[6:26])
    equal(s.redis.call("HLEN", s.key("waiters")), 174)


@case("a wake costs a few commands, however many wait")
def cost():
    def spent(waiting):
        fresh()
        parked(*[f"w{i}" for i in range(waiting)])
        before = int(s.redis.info("stats")["total_commands_processed"])
        s.create("t")
        return int(s.redis.info("stats")["total_commands_processed"]) - before

    one, many = spent(1), spent(500)
    check(abs(many - one) <= 3, f"{one} with one waiter, {many} with 500")
    note(f"commands of a create, its inner ones too: {spent(0)} with nobody waiting, {one} with one, {many} with 500")


@case("queues and roles: only who may have the task is woken, and once")
def roles():
    fresh()
    parked("other", queue="q2")
    parked("plain")
    parked("gpu", roles="gpu")
    parked("both", roles="gpu cpu")
    s.create("t", roles="gpu cpu")
    equal([n for n in ("other", "plain", "gpu", "both") if answers(n)], ["gpu"])
    s.create("t", roles="cpu")
    equal([n for n in ("other", "plain", "gpu", "both") if answers(n)], ["both"])
    equal(len(s.claim("x", count=9, roles="gpu cpu")["result"]["tasks"]), 2)
    parked("both", roles="gpu tpu")
    s.create("t", roles="tpu gpu")
    s.create("t", roles="cpu")  # nobody waits for it
    equal([n for n in ("other", "plain", "gpu", "both") if answers(n)], ["both"])
    s.create("t")
    equal([n for n in ("other", "plain", "gpu", "both") if answers(n)], ["plain"])
    s.claim("x", count=9, roles="gpu cpu tpu")
    parked("late", roles="x y")
    s.create("t")  # whoever has roles may have what asks for none
    equal(answers("late"), [WAKE])
    s.create("t", queue="q2")
    equal(answers("other"), [WAKE])
    equal(waiters(), set())


@case("every way in which a task becomes claimable wakes somebody")
def ways():
    fresh()
    secret = "reassigned"

    def released():
        t = taken()
        parked("w")
        s.release(t["id"], t["lease_token"])

    def lease_ended():
        taken()
        parked("w")
        s.age(31)
        s.tick(register=1)

    def failed_and_due():
        t = taken()
        parked("w")
        s.fail(t["id"], t["lease_token"], backoff=1)
        equal(answers("w"), [])
        s.redis.call("ZADD", s.key("queue:delayed"), 1, t["id"])
        s.tick(register=1)

    def reassigned():
        t = taken()
        parked("w")
        s.reassign(t["id"], why=secret)

    def holder_unregistered():
        s.register("holder", "i1")
        s.create("t")
        s.claim("holder", incarnation="i1")
        parked("w")
        s.unregister("holder", "i1")

    def holder_registered_again():
        s.register("holder", "i1")
        s.create("t")
        s.claim("holder", incarnation="i1")
        parked("w")
        s.register("holder", "i2")

    def holder_silent():
        s.register("holder", "i1", lease="1000")
        s.create("t")
        s.claim("holder", incarnation="i1")
        parked("w")
        s.age(2)
        s.tick(register=1)

    for way in (released, lease_ended, failed_and_due, reassigned, holder_unregistered, holder_registered_again,
                holder_silent):
        fresh()
        way()
        equal(answers("w"), [WAKE], way.__name__)
        equal(waiters(), set(), way.__name__)


@case("a task that is assigned to an instance wakes a claim of that instance, not one that came before it")
def assigned():
    fresh()
    task = s.create("t", queue="q")["result"]["id"]
    s.register("agent", "i1")
    parked("first")
    parked("agent", incarnation="i1", queue="elsewhere")
    s.assign(task, "agent")
    equal([answers("first"), answers("agent")], [[], [WAKE]])
    equal(s.claim("agent", incarnation="i1", queue="elsewhere")["result"]["taskId"], task)


@case("a task that is gone before the script ends wakes nobody")
def gone():
    fresh()
    t = taken()
    parked("w")
    s.delete(t["id"])
    equal(answers("w"), [])
    equal(s.redis.call("HLEN", s.key("waiters")), 1)


@case("the end of the wait: the empty answer by the tick, ≤ 100 a tick, in effective time")
def deadline():
    fresh()
    s.tick(register=1)
    parked(*[f"w{i}" for i in range(150)], wait_ms=20000)
    parked("long", wait_ms=30000)
    s.age(10)
    equal(s.tick()["waited"], 0)
    s.age(11)
    equal(s.tick()["waited"], 100)
    equal(s.tick()["waited"], 50)
    equal([answers(f"w{i}") for i in (0, 99, 149)], [[EMPTY]] * 3)
    equal([s.tick()["waited"], answers("long")], [0, []])
    s.age(30)
    s.tick()
    equal(answers("long"), [EMPTY])
    equal(waiters(), set())


@case("a request's own deadline ends the wait sooner; one that nobody waits for does not wait")
def own_deadline():
    fresh()
    s.tick(register=1)
    parked("w", deadline=s.wall() + 1000)
    s.age(1.1)
    equal(s.tick()["waited"], 1)
    equal(answers("w"), [EMPTY])
    equal(s.commit("task_claim", [Request(*s.claim_args("n"), 30000)], [30000, 1000]).codes, [CLAIMED_NONE])
    equal(waiters(), set())


@case("at the cap a claim is refused, and a repeat of one that waits is not")
def cap():
    fresh()
    same = {"params_hash": "h" * 32, "idem": "a" * 27}
    parked("a", max_waiters=2, **same)
    parked("b", max_waiters=2)
    equal(s.wait("c", max_waiters=2), -32007)
    equal(s.replies(s.waiting("c"))[0]["error"]["data"]["retry_after_ms"], 1000)
    parked("a", max_waiters=2, **same)
    equal(s.redis.call("HLEN", s.key("waiters")), 2)


@case("the leader that waits for tasks to push is none of those that the cap counts")
def cap_leader():
    fresh()
    s.tick(register=1)
    s.assign_pending(reply="token-of-the-leader")
    equal(s.redis.call("HEXISTS", s.key("waiters"), "leader"), 1)
    parked("a", max_waiters=1)
    equal(s.wait("b", max_waiters=1), -32007)


@case("a repeat under its idempotency key takes the place of the first, and its new reply list")
def repeated():
    fresh()
    same = {"params_hash": "h" * 32, "idem": "a" * 27}
    parked("w", reply="the-old-reply-list", **same)
    parked("second")
    parked("w", reply="the-new-reply-list", rid="again", **same)
    equal(s.redis.call("HLEN", s.key("waiters")), 2)
    s.create("t")
    equal([s.replies("the-old-reply-list"), answers("second")], [[], []])
    equal(s.replies("the-new-reply-list"), [{"jsonrpc": "2.0", "id": "again", "result": WAKE}])
    equal(s.wait("w", **same), CLAIMED)
    first = answers("w")[0]
    equal(first["claimed"], True)
    equal(s.wait("w", **same), 1)  # now there is an outcome to replay
    equal(answers("w"), [first])


@case("a repeat that finds a task does not leave the first one waiting")
def repeat_finds():
    fresh()
    same = {"params_hash": "h" * 32, "idem": "a" * 27}
    parked("w", **same)
    s.redis.call("RENAME", s.key("waiters:queue:default"), s.key("elsewhere"))  # a task comes that wakes nobody
    s.create("t")
    s.redis.call("RENAME", s.key("elsewhere"), s.key("waiters:queue:default"))
    equal(s.wait("w", **same), CLAIMED)
    equal(waiters(), set())


@case("an instance that ends or is registered again: its claims are answered")
def instance_ends():
    for end in (lambda: s.unregister("agent", "i1"), lambda: s.register("agent", "i2"),
                lambda: (s.age(31), s.tick(register=1))):
        fresh()
        s.register("agent", "i1")
        parked("agent", incarnation="i1")
        parked("agent-2")
        end()
        equal([answers("agent"), s.redis.call("HLEN", s.key("waiters"))][0], [EMPTY])
        equal([k for k in waiters() if k.endswith(":agent")], [])


@case("a wake that a dead waiter got is made good by the tick, to more and more of those that came before the task")
def lost():
    fresh()
    names = [f"w{i}" for i in range(20)]
    parked(*names)
    for n in names:
        since(n, 60000)
    task = s.create("t")["result"]["id"]
    equal([n for n in names if answers(n)], names[:1])
    s.tick(register=1)
    equal([n for n in names if answers(n)], [])  # it is too early to say
    for age, woken in ((200, names[1:2]), (600, names[2:4]), (1600, names[4:12])):
        s.change(task, up=s.wall() - age)
        s.tick()
        equal([n for n in names if answers(n)], woken, f"{age} ms")
    s.claim("w0")
    s.tick()
    equal([n for n in names if answers(n)], [])


@case("the tick wakes nobody that was parked after the task came: it has seen it")
def seen():
    fresh()
    task = s.create("t")["result"]["id"]
    s.redis.call("RENAME", s.key("queue:tasks:pending"), s.key("aside"))
    parked("w")
    s.redis.call("RENAME", s.key("aside"), s.key("queue:tasks:pending"))
    s.change(task, up=s.wall() - 5000)
    s.tick(register=1)
    equal(answers("w"), [])
    since("w", 6000)
    s.tick()
    equal(answers("w"), [WAKE])


@case("a task with a deny list wakes somebody who is not on it, else the first; the tick lets the denied look again")
def denied():
    fresh()
    s.tick(register=1)
    for name in ("bad", "good"):
        s.register(name, "i-" + name)

    def again(count):
        """A task that `bad` is on the deny list of comes back while `count` others wait behind `bad`."""
        s.create("t")
        task = s.claim("bad", incarnation="i-bad")["result"]["tasks"][0]["id"]
        parked("bad", incarnation="i-bad")
        parked(*[f"o{i}" for i in range(count)])
        s.reassign(task, why="it does not work there")
        return task

    task = again(2)
    equal([answers(n) for n in ("bad", "o0", "o1")], [[], [WAKE], []])
    equal(s.claim("o0")["result"]["taskId"], task)
    s.tick()
    equal([answers(n) for n in ("bad", "o1")], [[], []])
    fresh()
    s.tick(register=1)
    for name in ("bad", "good"):
        s.register(name, "i-" + name)
    task = again(0)
    equal(answers("bad"), [WAKE])
    equal(s.claim("bad", incarnation="i-bad")["result"]["claimed"], False)
    parked("bad", incarnation="i-bad")
    s.change(task, up=s.wall() - 20000)
    since("bad", 1000)
    s.tick()
    equal(answers("bad"), [])  # it has seen it a second ago
    since("bad", 6000)
    s.tick()
    equal(answers("bad"), [WAKE])


@case("a queue that is resumed wakes as many as there are tasks")
def resumed():
    fresh()
    s.tick(register=1)
    s.ask("task_queue_pause", "default")
    parked(*[f"w{i}" for i in range(5)])
    s.create("t")
    s.create("t")
    equal([answers(f"w{i}") for i in range(5)], [[]] * 5)
    s.tick()
    s.ask("task_queue_resume", "default")
    equal([answers(f"w{i}") for i in range(5)], [[WAKE], [WAKE], [], [], []])


@case("names without a waiter behind them are cleared away")
def stale():
    fresh()
    parked("a", "b", "c")
    s.redis.call("DEL", s.key("waiters"))
    parked("d")
    s.create("t")
    equal([n for n in "abcd" if answers(n)], ["d"])
    s.age(31)
    s.tick(register=1)
    s.tick()
    equal({k for k in waiters() if ":instance:" not in k}, set())


@case("a waiter that cannot be read keeps nobody else from being woken, or from the end of the wait")
def damaged():
    for text in ("no JSON", "1", "[]", '["only one"]', "{}"):
        fresh()
        s.tick(register=1)
        parked("a", wait_ms=1000)
        (name,) = s.redis.hash(s.key("waiters"))
        s.redis.call("HSET", s.key("waiters"), name, text)
        parked("b", wait_ms=1000)
        s.create("t")
        equal(answers("b"), [WAKE], text)
        parked("c", wait_ms=1000, queue="q")
        name = next(n for n, w in s.redis.hash(s.key("waiters")).items() if b'"c"' in w)
        s.redis.call("HSET", s.key("waiters"), name, text)
        parked("d", wait_ms=1000, queue="q")
        s.age(10)
        t = s.tick()
        equal([t["problem"], answers("d")], ["", [EMPTY]], text)
        equal(s.redis.call("EXISTS", s.key("waiters"), s.key("waiters:deadline")), 0, text)


@case("keys of a wrong type: a claim changes nothing, a new task is created all the same")
def wrong_types():
    for rest in ("waiters", "waiters:deadline", "waiters:queues", "waiters:queue:default", "waiters:instance:w"):
        fresh()
        s.redis.call("SET", s.key(rest), "x")
        before = s.dump()
        request = Request(*s.claim_args("w"), 30000, reply=s.waiting("w"))
        answer = s.commit("task_claim", [request], [30000, 1000])
        equal(answer.codes, [-32603], rest)
        check("WRONGTYPE" in answer.errors[0], answer.errors)
        equal(s.dump(), before, rest)
        equal(s.create("t")["result"]["status"], "pending")
        equal(s.tick(register=1)["state"], "ok")
    fresh()
    parked("w")
    s.redis.call("SET", s.key("reply:" + s.waiting("w")), "x")
    equal(s.create("t")["result"]["status"], "pending")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
