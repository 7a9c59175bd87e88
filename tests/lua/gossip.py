#!/usr/bin/env python3
"""gossip.py: which daemons are seen, and the partition flag, as the tick keeps them (row F45 of tests/results/faults.md)."""

import json

from cbtest import *
from scripts import Scripts

s = None


def fresh(n=5):
    s.redis.call("FLUSHALL")
    everybody(n, register=1)


def everybody(n=5, but=(), **kw):
    return {i: s.tick(f"h{i}", f"i{i}", **kw) for i in range(n) if i not in but}


def flag(name="detected"):
    text = s.redis.call("GET", s.key(f"partition:{name}"))
    return text and json.loads(text)


def kinds():
    return [e["type"] for e in s.events() if e["type"].startswith("partition.")]


def pass_time(seconds, but=(), n=5, step=0.5):
    """Ticks of everybody but some, each half second of effective time; the last of each."""
    for _ in range(round(seconds / step)):
        s.age(step)
        last = everybody(n, but)
    return last


@case("all beat: all are seen by all, with the ages of their beats; no flag")
def well():
    fresh()
    last = pass_time(3)
    for t in last.values():
        equal(t["hosts"], (5, 5, 0, []))
    reports = {k: json.loads(v) for k, v in s.redis.hash(s.key("gossip:health")).items()}
    equal(sorted(reports), [f"h{i}" for i in range(5)])
    for name, report in reports.items():
        equal([report["seen"], report["known"], sorted(report["ages"])], [5, 5, sorted(set(reports) - {name})])
        check(all(0 <= age <= 600 for age in report["ages"].values()), report)
    for shown in s.state()["result"]["instances"]:
        equal(shown["seen"], reports[shown["id"]]["ages"], "what system.get_state shows")
    equal([flag(), kinds()], [None, []])


@case("1 of 5 silent: all others agree within a tick, its age grows, no partition; it comes back")
def one():
    fresh()
    pass_time(1)
    last = pass_time(1.5, but=[3])
    equal({t["hosts"][0] for t in last.values()}, {5}, "not yet")
    last = pass_time(1, but=[3])
    equal({(t["hosts"][0], tuple(t["hosts"][3])) for t in last.values()}, {(4, ("h3",))})
    report = json.loads(s.redis.hash(s.key("gossip:health"))["h0"])
    check(2000 <= report["ages"]["h3"] <= 3200, report)
    equal([flag(), kinds()], [None, []])
    everybody()
    equal({t["hosts"][:2] for t in everybody().values()}, {(5, 5)})


@case("3 of 5 silent: the flag is set before they are given up, and cleared when they are back, with events")
def three():
    fresh()
    pass_time(1)
    last, took = None, 0
    while not flag():
        last = pass_time(0.5, but=[2, 3, 4])
        took += 0.5
        check(took <= 3, "detected in 3 s")
    equal(kinds(), ["partition.detected"])
    found = flag()
    equal([found["seen"], found["known"], s.events("instance.failed")], [2, 5, []])
    last = pass_time(10, but=[2, 3, 4])
    equal({(t["hosts"][0], t["hosts"][1], t["hosts"][2]) for t in last.values()}, {(2, 5, found["since_ms"])})
    equal([len(s.events("instance.failed")), kinds()], [3, ["partition.detected"]], "once; those given up are still known")
    everybody()
    equal(flag(), None)
    over = flag("recovery")
    equal([over["since_ms"], over["known"]], [found["since_ms"], 5])
    check(over["at_ms"] >= over["since_ms"], over)
    equal(kinds(), ["partition.detected", "partition.recovered"])


@case("half is not fewer than half: 2 of 4, 1 of 2; a lone one is all there is")
def half():
    for n, silent in ((4, [2, 3]), (2, [1]), (1, [])):
        fresh(n)
        pass_time(4, but=silent, n=n)
        equal([flag(), kinds()], [None, []], n)


@case("flapping: each partition is told once when it comes and once when it goes")
def flapping():
    fresh()
    for _ in range(4):
        pass_time(3, but=[2, 3, 4])
        pass_time(1)
    equal(kinds(), ["partition.detected", "partition.recovered"] * 4)


@case("a Redis that stood still for an hour, and ticks that come late together: nobody is unseen")
def stall():
    fresh()
    pass_time(1)
    for _ in range(10):
        c = s.redis.hash(s.key("clock"))
        s.redis.call("HSET", s.key("clock"), "at", int(c["at"]) - 3600000)
        for t in everybody().values():
            equal(t["hosts"], (5, 5, 0, []))
    equal(kinds(), [])


@case("who leaves is not missed; who stays away for 300 s is forgotten, and with them the partition")
def known():
    fresh()
    for i in (2, 3, 4):
        s.tick(f"h{i}", f"i{i}", leave=1)
    equal({t["hosts"][:3] for t in pass_time(3, but=[2, 3, 4]).values()}, {(2, 2, 0)})
    fresh()
    pass_time(3, but=[2, 3, 4])
    check(flag(), "a partition")
    pass_time(298, but=[2, 3, 4], step=2)
    everybody(2)
    equal([flag(), kinds()], [None, ["partition.detected", "partition.recovered"]])
    equal(sorted(s.redis.hash(s.key("gossip:health"))), ["h0", "h1"])


@case("keys of wrong types: beats and leader go on, and the trouble is told")
def wrong_types():
    for key in ("gossip:beats", "gossip:health", "partition:detected"):
        fresh()
        s.redis.call("DEL", s.key(key))
        s.redis.call("LPUSH", s.key(key), "damaged")
        t = s.tick("h0", "i0")
        equal([t["state"], t["leads"]], ["ok", 1])
        check("WRONGTYPE" in t["problem"], t)


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
