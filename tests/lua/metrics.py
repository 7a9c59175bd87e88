#!/usr/bin/env python3
"""metrics.py: what daemons publish and the leader sums up, as the tick does it."""

import json

from cbtest import *
from scripts import Scripts

s = None
COUNTERS = ["requests", "errors", "refused", "commits", "duplicates", "reconnects", "restarts", "decisions",
            "denied", "fallbacks"]


def fresh():
    s.redis.call("FLUSHALL")


def values(*counters, workers=2, wanted=2, rate="1.5", hist=""):
    counters = list(counters) + [0] * (len(COUNTERS) - len(counters))
    return [*counters, workers, wanted, rate, hist]


def beat(name, *counters, inc=None, register=0, **kw):
    t = s.tick(name, inc or f"i{name}", f"s{name}", register=register, metrics=values(*counters, **kw))
    equal(t["problem"], "")
    return t


def got(name):
    return {k: v.decode() for k, v in s.redis.hash(s.key(f"metrics:{name}")).items()}


def counted():
    return [int(got("global").get(n, 0)) for n in COUNTERS]


def metrics():
    doc = s.ask("system_metrics", "{\"x\":0", domain="system")
    equal(doc["internal"], [])
    return doc["result"]


@case("before anything was published: null")
def nothing():
    fresh()
    equal([metrics()["global"], metrics()["scaling"]], [None, None])


@case("counters add up over daemons; one that is published twice counts once; a restart goes on from there")
def counters():
    fresh()
    beat("a", 10, 1, 2, 3, register=1)
    beat("b", 5, 0, 1, register=1)
    equal(counted(), [15, 1, 3, 3, 0, 0, 0, 0, 0, 0])
    beat("a", 10, 1, 2, 3)
    beat("a", 12, 1, 2, 4)
    equal(counted(), [17, 1, 3, 4, 0, 0, 0, 0, 0, 0])
    beat("a", 4, 1, inc="again", register=1)
    equal(counted(), [21, 2, 3, 4, 0, 0, 0, 0, 0, 0])
    beat("a", 2, 1, inc="again")
    beat("a", 4, 1, inc="again")
    equal(counted(), [21, 2, 3, 4, 0, 0, 0, 0, 0, 0], "one that dips is not counted twice")


@case("a daemon that is gone stays counted, and is not present any more")
def gone():
    fresh()
    beat("a", 10, register=1, rate="2.5")
    beat("b", 5, register=1, rate="4")
    s.age(1)
    beat("a", 10, rate="2.5")
    equal([metrics()["global"][k] for k in ("requests", "hosts", "workers", "requests_per_s")], [15, 2, 4, 6.5])
    for _ in range(6):
        s.age(1)
        beat("a", 11, rate="2.5")
    equal([metrics()["global"][k] for k in ("requests", "hosts", "workers", "requests_per_s")], [16, 1, 2, 2.5])


@case("latencies are percentiles of the merged histograms: the same as one histogram's")
def latencies():
    fresh()
    beat("a", register=1, hist="40:90 60:5")
    beat("b", register=1, hist="40:4 80:1")
    s.age(1)
    beat("a", hist="40:90 60:5")
    g = metrics()["global"]

    def inside(ms, bucket):
        return 2 ** (bucket / 4) / 1000 <= ms <= 2 ** ((bucket + 1) / 4) / 1000 + 0.001

    check(inside(g["p50_ms"], 40), g)
    check(inside(g["p95_ms"], 60) and inside(g["p99_ms"], 60), g)
    equal([got("global")["p50_us"], got("global")["leader"]], [str(round(2 ** 10 + (2 ** 10.25 - 2 ** 10) * 50 / 94)), "a"])


@case("only the leader sums up, at most once a second, and says in which epoch")
def leader_only():
    fresh()
    a = beat("a", 1, register=1)
    first = got("global")
    equal([first["leader"], first["epoch"]], ["a", a["epoch"]])
    beat("b", 1, register=1)
    s.age(0.4)
    beat("a", 1)
    equal(got("global")["eff"], first["eff"], "too soon")
    s.age(0.7)
    beat("b", 1)
    equal(got("global")["eff"], first["eff"], "not the leader")
    beat("a", 1)
    check(int(got("global")["eff"]) >= int(first["eff"]) + 1000, "now")
    s.age(3)
    b = beat("b", 1)
    equal([got("global")["leader"], got("global")["epoch"]], ["b", b["epoch"]])
    before = got("global")
    s.age(1.5)
    s.redis.call("HSET", s.key("leader:current"), "deadline", 10 ** 15)
    beat("a", 1)
    equal(got("global")["eff"], before["eff"], "the old leader")


@case("queues: pending, delayed and in progress of each, gone when it is empty")
def queues():
    fresh()
    s.create("x")
    s.create("y", queue="q1")
    s.create("z", queue="q1", roles="gpu")
    s.claim(count=1)
    beat("a", register=1)
    equal({k: json.loads(v) for k, v in got("queues").items()},
          {"default": {"pending": 0, "delayed": 0, "in_progress": 1}, "q1": {"pending": 2, "delayed": 0, "in_progress": 0}})
    s.claim(queue="q1", roles="gpu", count=2)
    s.redis.call("FLUSHALL")
    beat("a", register=1)
    equal(got("queues"), {})


@case("scaling: agents, what they hold by their capacity, and how that differs")
def scaling():
    fresh()
    for name, capacity in (("one", 4), ("two", 2), ("idle", 5)):
        s.register(name, f"i-{name}", capacity=capacity)
    for i in range(4):
        s.create(f"t{i}")
    s.claim("one", 1, incarnation="i-one")
    s.claim("two", 2, incarnation="i-two")
    beat("a", register=1)
    got_ = metrics()["scaling"]
    equal([got_[k] for k in ("daemons", "agents", "capacity", "held", "load_min", "load_max", "load_spread")],
          [1, 3, 11, 3, 0, 1, 1])
    equal(got("scaling")["pending"], "1")


@case("tasks per second over a window of 30 s that slides; a stall or a flush of Redis makes no nonsense")
def throughput():
    fresh()
    beat("a", register=1)
    for i in range(20):
        s.age(1)
        s.create("x")
        s.create("y")
        t = s.claim()["result"]["tasks"][0]
        s.complete(t["id"], t["lease_token"])
        beat("a")
    rates = metrics()["scaling"]
    check(1.8 <= rates["created_per_s"] <= 2.1 and 0.9 <= rates["completed_per_s"] <= 1.05, rates)
    for _ in range(31):
        s.age(1)
        beat("a")
    rates = metrics()["scaling"]
    equal([rates["created_per_s"], rates["completed_per_s"]], [0, 0])
    check(len(got("scaling")["window"].split()) <= 31, "bounded")
    s.redis.call("DEL", s.key("counts"))
    s.age(1)
    beat("a")
    check(metrics()["scaling"]["created_per_s"] >= 0, "not negative")


@case("how many tasks were ever created, completed, failed and cancelled: exact, and never less")
def ever():
    fresh()
    for i in range(6):
        s.create(f"t{i}")
    a, b, c = s.claim(count=3)["result"]["tasks"]
    s.complete(a["id"], a["lease_token"])
    s.fail(b["id"], b["lease_token"], retry=0)
    s.fail(c["id"], c["lease_token"])
    pending = s.listing(status="pending")["result"]["tasks"]
    s.update(pending[0]["id"], status="cancelled")
    s.delete(pending[1]["id"])
    s.delete(a["id"])
    ever_ = {k[5:]: int(v) for k, v in s.redis.hash(s.key("counts")).items() if k.startswith("ever:")}
    equal(ever_, {"created": 6, "completed": 1, "failed": 1, "cancelled": 1})


@case("TTLs, and keys of wrong types: beats and leader go on, and the trouble is told")
def ttl():
    fresh()
    s.create("x")
    beat("a", 1, register=1)
    for name in ("global", "queues", "scaling", "instance:a"):
        check(3590000 < s.redis.call("PTTL", s.key(f"metrics:{name}")) <= 3600000, name)
    for name in ("global", "scaling", "instance:a", "queues"):
        fresh()
        s.redis.call("LPUSH", s.key(f"metrics:{name}"), "damaged")
        t = s.tick("a", "ia", "sa", register=1, metrics=values(1))
        equal([t["state"], t["leads"]], ["ok", 1])
        check("WRONGTYPE" in t["problem"] or name == "queues", t)


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
