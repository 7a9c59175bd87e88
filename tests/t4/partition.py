#!/usr/bin/env python3
"""partition.py: five daemons on one Redis; some fall silent and come back (rows F45, F16, F08 of tests/results/faults.md). Detection and recovery are
timed: at most 3 s and 5 s."""

import json
import signal
import time

from cbtest import *

HOSTS = 5
SMALL = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}}, "supervisor": {"watchdog_ms": 60000}}

redis = None
hosts = []


def start():
    global redis
    redis = PrivateRedis()
    at_exit(redis.stop)
    for i in range(HOSTS):
        d = Daemon(redis, config=SMALL, instance=f"host-{i}")
        at_exit(d.stop)
        hosts.append(d)


def freeze(d, signum=signal.SIGSTOP):
    for pid in [d.pid, *d.workers()]:
        procs.kill(pid, signum)


def flag(name="detected"):
    with redis.client() as r:
        text = r.call("GET", f"cb:partition:{name}")
    return text and json.loads(text)


def events():
    return [e["type"].decode() for _, e in hosts[0].stream("stream:events") if e["type"].startswith(b"partition.")]


def wall():
    with redis.client() as r:
        s, us = r.call("TIME")
    return int(s) * 1000 + int(us) // 1000


def told(kind, since):
    """Wall ms of the first such event behind a moment."""
    return next(int(entry.split("-")[0]) for entry, e in hosts[0].stream("stream:events")
                if e["type"].decode() == kind and int(entry.split("-")[0]) >= since)


def agreement(of, n):
    """Seconds, of effective time, from the first of these that reports that it sees n to the last."""
    first = {}
    with redis.client() as r:
        def all_report():
            for name, text in r.hash("cb:gossip:health").items():
                report = json.loads(text)
                if report["seen"] == n:
                    first.setdefault(name, report["at"])
            return {d.config["instance"]["id"] for d in of} <= set(first)

        wait_until(all_report, 10, f"all report that they see {n}")
    return (max(first.values()) - min(first.values())) / 1000


def took(condition, limit, what):
    """Seconds until it is so; at most `limit`."""
    began = time.monotonic()
    wait_until(condition, limit + 5, what, step=0.02)
    seconds = time.monotonic() - began
    note(f"{what}: {seconds:.2f} s")
    check(seconds <= limit, f"{what}: {seconds:.2f} s, wanted at most {limit}")
    return seconds


def all_see(n, of=hosts):
    return [d.status()["hosts"]["seen"] for d in of] == [n] * len(of)


@case("everybody sees everybody; system.health says so")
def well():
    wait_until(lambda: all_see(HOSTS), 5, "all see all")
    got = hosts[0].caller().call("system.health")
    equal([got["status"], got["services"]["hosts"], got["reasons"]], ["healthy", "ok", []])


@case("one is silent: degraded, with its name and since when, no partition; well again when it is back")
def one():
    others = hosts[:4]
    for n in range(5 if FAULTS else 1):
        if n:
            freeze(hosts[4], signal.SIGCONT)
            wait_until(lambda: all_see(HOSTS), 5, "all see all again")
        freeze(hosts[4])
        figure("gossip_agreed_s", agreement(others, 4))
    took(lambda: all_see(4, others), 4, "all others see that it is silent")
    for d in others:
        got = d.status()
        equal([got["status"], got["hosts"]["silent"], "partition_since" in got["hosts"]], ["degraded", "host-4", False])
        check(any("host-4" in text for text in got["reasons"]), got["reasons"])
    health = hosts[0].caller().call("system.health")
    equal([health["status"], health["services"]["hosts"], health["reasons"]], ["degraded", "degraded", ["4 of 5 daemons are seen"]])
    freeze(hosts[4], signal.SIGCONT)
    took(lambda: all_see(HOSTS), 5, "all see all again")
    wait_until(lambda: hosts[0].status()["status"] == "healthy", 2, "healthy")
    # Any of the five daemons may answer, one that has not seen it yet as well.
    wait_until(lambda: hosts[0].caller().call("system.health")["since"] > health["since"], 5, "since", step=0.1)
    equal(events(), [])


@case("three are silent: a partition within 3 s, unhealthy with the reason, over within 5 s of their return; again and again")
def three():
    for n in range(1, 6 if FAULTS else 3):
        began = wall()
        for d in hosts[2:]:
            freeze(d)
        took(flag, 3, "the partition is detected")
        figure("partition_found_s", (told("partition.detected", began) - began) / 1000)
        took(lambda: hosts[0].status()["status"] == hosts[1].status()["status"] == "unhealthy", 1, "and both know it")
        equal(hosts[0].status()["hosts"]["known"], HOSTS)
        health = hosts[0].caller().call("system.health")
        equal([health["status"], health["services"]["hosts"]], ["unhealthy", "down"])
        check("partition" in health["reasons"][0], health)
        healed = wall()
        for d in hosts[2:]:
            freeze(d, signal.SIGCONT)
        took(lambda: not flag(), 5, "the partition is over")
        figure("partition_over_s", (told("partition.recovered", healed) - healed) / 1000)
        took(lambda: all_see(HOSTS), 2, "and all see all")
        check(flag("recovery"), "the recovery is told")
        equal(events(), ["partition.detected", "partition.recovered"] * n)
        wait_until(lambda: all(d.status()["status"] == "healthy" for d in hosts), 10, "all are healthy")


@case("a Redis that stands still for 6 s makes nobody silent", faults="F16")
def stall():
    before = events()
    with redis.client() as r:
        failed = len([1 for _, e in hosts[0].stream("stream:events") if e["type"] == b"instance.failed"])
        procs.kill(redis.pid, signal.SIGSTOP)
        holds_for(lambda: True, 6, "time")
        procs.kill(redis.pid, signal.SIGCONT)
        wait_until(lambda: all_see(HOSTS), 10, "all see all")
        holds_for(lambda: all_see(HOSTS), 2, "and go on to")
        equal(r.call("ZCARD", "cb:instances:active"), HOSTS)
    equal(events(), before)
    equal(len([1 for _, e in hosts[0].stream("stream:events") if e["type"] == b"instance.failed"]), failed)


@case("one is killed: a new daemon becomes ready all the same, and is told that one is silent")
def newcomer():
    hosts[4].kill_tree()
    wait_until(lambda: all_see(4, hosts[:4]), 5, "silent")
    with Daemon(redis, config=SMALL, instance="host-new", ready=False) as d:
        wait_until(lambda: d.events("daemon_ready"), 10, "ready")
        wait_until(lambda: d.status()["hosts"] == {"seen": 5, "known": 6, "silent": "host-4"}, 5, "and sees who is missing")
        equal(d.client("status").returncode, 1)
    hosts[4].start(ready=False)
    wait_until(lambda: all_see(HOSTS), 10, "the killed one is back, the new one has left")


if __name__ == "__main__":
    arguments()
    start()
    main()
