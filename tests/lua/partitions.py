#!/usr/bin/env python3
"""partitions.py: events about tasks that have a partition come to its stream, too (lua/include/partition.lua): each once, in the
order and under the ids of the stream of all events, and within the caps."""

import collections

from cbtest import *
from scripts import Scripts

s = None


def fresh():
    s.redis.call("FLUSHALL")
    equal(s.tick(register=1)["leads"], 1)


def entries(key):
    """[(id, fields)] of a stream."""
    return [(i.decode(), {f[k].decode(): f[k + 1].decode() for k in range(0, len(f), 2)})
            for i, f in s.redis.call("XRANGE", s.key(key), "-", "+")]


def told(partition):
    return [(e["type"].removeprefix("task."), (e.get("id") or e.get("ids")).split()) for _, e in entries(f"partition:{partition}")]


def create(partition, **kw):
    return s.create("t", partition=partition, **kw)["result"]["id"]


def claim(**kw):
    return [(t["id"], t["lease_token"]) for t in s.claim("w", **kw)["result"]["tasks"]]


@case("what happens to one task, from its creation to its removal, is told in its partition")
def one_life():
    fresh()
    task = create("p.1", max_attempts=9)
    (_, token), = claim()
    s.progress(task, token)
    s.release(task, token)
    (_, token), = claim()
    s.fail(task, token, backoff=0)
    s.tick()
    s.update(task, priority="7")
    s.register("a", "i1")
    s.assign(task, "a")
    s.reassign(task)
    s.claim("v")  # who has failed it is denied it
    s.age(60)
    s.tick()
    s.cancel(task)
    s.retry(task)
    (_, token), = claim()
    s.complete(task, token)
    equal(s.get(task)["result"]["partition"], "p.1")
    equal(s.listing(status="completed")["result"]["tasks"][0]["partition"], "p.1")
    s.delete(task)
    equal([kind for kind, _ in told("p.1")],
          ["created", "claimed", "progress", "released", "claimed", "failed", "due", "updated", "assigned", "reassigned", "claimed",
           "lease_expired", "cancelled", "retried", "claimed", "completed", "deleted"])
    check(all(ids == [task] for _, ids in told("p.1")), told("p.1"))
    everything = dict(entries("stream:events"))
    for event, fields in entries("partition:p.1"):
        equal(everything[event], {**fields, "partition": "p.1"}, "the same event under the same id")


@case("an event about tasks of several partitions comes to each with its own; tasks without one come to none")
def several():
    fresh()
    a, b, none, a2 = create("a"), create("b"), s.create("t")["result"]["id"], create("a")
    equal(len(claim(count=10)), 4)
    equal([told("a")[-1], told("b")[-1]], [("claimed", [a, a2]), ("claimed", [b])])
    claimed = s.events("task.claimed")[-1]
    equal([claimed["ids"].split(), "partition" in claimed], [[a, b, none, a2], False])
    s.age(60)
    s.tick()
    equal(told("a")[-1], ("lease_expired", [a, a2]))
    batch = s.create_batch({"partition": "b"}, {}, {"partition": "b", "after_index": [0]})["result"]["ids"]
    equal(told("b")[-1], ("created", [batch[0], batch[2]]))
    s.cancel(batch[0])
    equal(told("b")[-2:], [("cancelled", [batch[0]]), ("failed", [batch[2]])])
    equal(s.redis.scan(s.key("partition:*")), {b"cb:partition:a", b"cb:partition:b"})
    s.redis.call("FLUSHALL")
    s.create("t")
    equal(s.redis.scan(s.key("partition*")), set())
    equal("partitions" in s.redis.hash(s.key("meta")), False, "nobody looks for names")


@case("tasks that are pushed are told in their partitions")
def pushed():
    fresh()
    s.register("a", "i-a", capacity=9)
    tasks = [create("x"), create("y"), create("x")]
    equal(s.assign_pending()["assigned"], 3)
    equal([sorted(told("x")[-1][1]), told("y")[-1]], [[tasks[0], tasks[2]], ("assigned", [tasks[1]])])


@case("a random walk: each partition has exactly the events of its tasks, in the order of the stream of all")
def walk():
    fresh()
    draw = rng("walk")
    held, partition_of = {}, {}
    for _ in range(600):
        what = draw.choice(["create", "batch", "claim", "claim", "complete", "complete", "fail", "release", "cancel", "tick", "update"])
        if what == "create":
            name = draw.choice(["a", "b", "c", ""])
            task = (create(name) if name else s.create("t")["result"]["id"])
            partition_of[task] = name
        elif what == "batch":
            names = [draw.choice(["a", "b", ""]) for _ in range(3)]
            ids = s.create_batch(*[{"partition": n} if n else {} for n in names])["result"]["ids"]
            partition_of.update(zip(ids, names))
        elif what == "claim":
            held.update(claim(count=draw.randint(1, 4)))
        elif what == "tick":
            s.tick()
        elif what == "cancel" and partition_of:
            task = draw.choice(sorted(partition_of))
            s.cancel(task)
            held.pop(task, None)
        elif what == "update" and partition_of:
            s.update(draw.choice(sorted(partition_of)), priority=str(draw.randint(0, 100)))
        elif held:
            task = draw.choice(sorted(held))
            {"complete": s.complete, "fail": s.fail, "release": s.release}.get(what, s.release)(task, held.pop(task))
    want = collections.defaultdict(list)
    for event, fields in entries("stream:events"):
        ids = (fields.get("id") or fields.get("ids") or "").split() if fields["type"].startswith("task.") else []
        for name in dict.fromkeys(partition_of[i] for i in ids if partition_of[i]):
            want[name].append((event, fields["type"], [i for i in ids if partition_of[i] == name]))
    for name in "abc":
        got = [(event, f["type"], (f.get("id") or f.get("ids")).split()) for event, f in entries(f"partition:{name}")]
        equal(got, want[name], f"partition {name}")
        check(got, f"nothing happened in partition {name}")


@case("a partition keeps about its last 1000 events for an hour, and there are no more than 10000 of them")
def caps():
    fresh()
    for _ in range(13):
        s.create_batch(*[{"partition": "many"}] * 100)
        for task, token in claim(count=100):
            s.progress(task, token)
    length = s.redis.call("XLEN", s.key("partition:many"))
    check(1000 <= length <= 1200, length)
    ttl = s.redis.call("TTL", s.key("partition:many"))
    check(3500 < ttl <= 3600, ttl)
    now = s.wall()
    names = [x for i in range(9999) for x in (now - 3000000 + i, f"n{i}")]
    s.redis.call("ZADD", s.key("partitions"), *names)
    for i in range(20):
        s.redis.call("XADD", s.key(f"partition:n{i}"), "*", "type", "x")
    create("one.more")
    equal([s.redis.call("ZCARD", s.key("partitions")), s.redis.call("EXISTS", s.key("partition:n0"))], [10000, 0])
    create("n5")
    equal(s.redis.call("ZCARD", s.key("partitions")), 10000, "no new name")
    equal(s.redis.call("EXISTS", *[s.key(f"partition:n{i}") for i in range(20)]), 19)
    s.redis.call("ZADD", s.key("partitions"), now - 4000000, "n7")
    create("another")
    equal(s.redis.call("ZSCORE", s.key("partitions"), "n7"), None, "what has had no event for an hour")


@case("a key of a wrong type: the task is not created; one that gets in the way later stops nothing")
def wrong_types():
    for rest in ("partition:p", "partitions"):
        fresh()
        s.redis.call("SET", s.key(rest), "x")
        before = s.dump()
        doc = s.create("t", partition="p")
        equal([doc["error"]["code"], s.dump() == before], [-32603, True], rest)
        check("WRONGTYPE" in doc["internal"][0], doc["internal"])
        s.redis.call("DEL", s.key(rest))
        task = create("p")
        s.redis.call("DEL", s.key(rest))
        s.redis.call("SET", s.key(rest), "x")
        (_, token), = claim()
        equal(s.complete(task, token)["result"]["status"], "completed", rest)
    fresh()
    task = create("p")
    s.redis.call("XADD", s.key("partition:p"), "9999999999999-1", "type", "later")
    (_, token), = claim()
    equal([kind for _, e in entries("partition:p") for kind in [e["type"]]], ["task.created", "later", "task.claimed"])


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
