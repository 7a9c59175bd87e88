#!/usr/bin/env python3
"""check_health.py: system.check_health as a script: one bounded sweep on demand, by the tick's own rules."""

from cbtest import *
from scripts import Request, Scripts

s = None


def fresh(*agents, lease="5000"):
    s.redis.call("FLUSHALL")
    s.tick(register=1)
    for name in agents:
        s.register(name, f"i-{name}", lease=lease)


def looked(**kw):
    doc = s.check_health(**kw)
    equal(doc["internal"], [])
    return doc["result"]


def hold(name, n):
    for i in range(n):
        s.create(f"{name}{i}")
    for _ in range(0, n, 100):
        s.claim(name, 100, incarnation=f"i-{name}")


@case("all are well: nothing happens")
def well():
    fresh("a", "b")
    before = s.dump()
    got = looked()
    equal([sorted(got["healthy"]), got["failed"], got["reassigned"], got["postponed"], got["isPartial"]],
          [["a", "b", "host-a"], [], {}, False, False])
    equal(s.dump(), before)


@case("who is silent is given up once, its tasks move at once, as many as one step allows")
def silent():
    fresh("a", "b")
    hold("a", 150)
    s.age(4)
    s.heartbeat("b", "i-b")
    s.age(1.5)
    got = looked()
    check("a" in got["failed"] and "b" in got["healthy"], got)
    first = got["reassigned"]["a"]
    check(90 <= first <= 100, got)
    equal(looked()["reassigned"], {"a": 150 - first})
    equal([looked()["failed"], looked()["healthy"]], [[], ["b"]])
    equal(sorted(e["instance"] for e in s.events("instance.failed")), ["a", "host-a"])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 150)
    equal(sum(len(e["ids"].split()) for e in s.events("task.reassigned")), 150)


@case("a timeout shorter than the lease gives up sooner; one that is longer changes nothing")
def timeout():
    fresh("quick", "slow", lease="60000")
    s.age(10)
    s.heartbeat("quick", "i-quick")
    s.tick()
    equal(looked(timeout=20000)["failed"], [])
    equal(looked(timeout=600000)["failed"], [])
    equal(looked()["failed"], [])
    equal(looked(timeout=9000)["failed"], ["slow"])
    equal(s.heartbeat("slow", "i-slow")["result"]["alive"], False, "and is told so")
    s.age(2)
    equal(looked(timeout=500)["failed"], [], "never sooner than a daemon's")


@case("beats that wait: postponed, nobody is given up")
def postponed():
    fresh("a")
    s.age(60)
    old = s.wall() - 5000
    s.redis.call("DEL", s.stream("system"))
    s.redis.call("XADD", s.stream("system"), f"{old}-0", "method", "system.heartbeat")
    s.redis.call("XADD", s.stream("system"), f"{old}-1", "method", "system.heartbeat")
    s.redis.call("XGROUP", "CREATE", s.stream("system"), "workers", "0")
    s.redis.call("XREADGROUP", "GROUP", "workers", "host-b/system/0.1", "COUNT", 1, "STREAMS", s.stream("system"), ">")
    got = s.commit("system_check_health", [first_entry()], op_args=[1500, 2500], domain="system", deliver=False)
    equal(got.codes, [0])
    doc = s.replies("reply-token-for-me")[0]["result"]
    equal([doc["postponed"], doc["failed"], doc["isPartial"]], [True, [], True])
    equal(s.events("instance.failed"), [])


def first_entry():
    """One whose entry is the first of the stream, as the worker has read it."""
    rows = s.redis.call("XRANGE", s.stream("system"), "-", "+", "COUNT", 1)
    return Request("", reply="reply-token-for-me", entry=rows[0][0].decode())


@case("a stall of Redis: nobody is silent")
def stall():
    fresh("a")
    eff, at = [int(s.redis.hash(s.key("clock"))[f]) for f in ("eff", "at")]
    s.redis.call("HSET", s.key("clock"), "eff", eff, "at", at - 3600000)
    equal(looked()["failed"], [])


@case("many instances: at most 100 looked at, 10 given up")
def many():
    fresh(*[f"a{i:03}" for i in range(130)])
    got = looked()
    equal([len(got["healthy"]), got["isPartial"]], [100, True])
    s.age(6)
    got = looked()
    equal([len(got["failed"]), got["isPartial"]], [10, True])


@case("a damaged instance does not keep the others")
def damaged():
    fresh("a", "b")
    s.age(6)
    s.redis.call("SET", s.key("queue:instance:a"), "damaged")
    check({"a", "b"} <= set(looked()["failed"]), "both are told")
    equal(s.redis.hash(s.key("instance:b"))["st"], b"OFFLINE")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
