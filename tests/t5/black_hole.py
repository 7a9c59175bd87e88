#!/usr/bin/env python3
"""black_hole.py: connections that swallow everything without a word, and a Redis that is stopped for 30 s, under load (F16)."""

import time

from cbtest import *
from proxy import Proxy

CONFIG = {
    "domains": {"task": {"workers": 3}, "system": {"workers": 2}},
    "task": {"backoff_ms": 100, "max_attempts": 20},
    "redis": {"timeout_ms": 5000},
}
SLOTS = 5
LEASE = 3000


def kinds(d):
    return [e["type"].decode() for _, e in d.stream("stream:events")]


def pause(load, seconds):
    until = time.monotonic() + seconds
    wait_until(lambda: load.check() or time.monotonic() >= until, seconds + 5, "time")


def wall(redis):
    with redis.client() as r:
        s, us = r.call("TIME")
    return int(s) * 1000 + int(us) // 1000


def after(d, since, *wanted):
    """Types of the events behind a moment."""
    found = [e["type"].decode() for entry, e in d.stream("stream:events") if int(entry.split("-")[0]) >= since]
    return [k for k in found if k in wanted]


@case("one host's connections become a black hole: noticed within redis.timeout_ms, the other goes on, no worker is stuck after it")
def black_hole():
    with PrivateRedis() as redis:
        proxy = Proxy(redis.socket)
        a = Daemon(redis, config=merge(CONFIG, {"redis": {"url": proxy.url}}), instance="host-a")
        b = Daemon(redis, config=CONFIG, instance="host-b")
        with Load(b, tasks=3500, agents=4, producers=2, rate=70, lease_ms=LEASE) as load:
            for _ in range(2):
                pause(load, 3)
                pids, began = a.workers(), time.monotonic()
                proxy.black_hole()
                wait_until(lambda: a.status()["redis"]["state"] == "down", 12, "noticed")
                noticed = time.monotonic() - began
                note(f"noticed after {noticed:.2f} s")
                check(noticed <= 6.5, "redis.timeout_ms and a beat")
                pause(load, 5)
                equal(b.status()["leader"]["id"], "host-b")
                proxy.heal()
                healed = time.monotonic()
                wait_until(lambda: a.status()["status"] == "healthy", 15, "healthy again")
                note(f"healthy {time.monotonic() - healed:.2f} s after the heal")
                equal(a.workers(), pids, "no worker was taken for hung")
            load.finish(60)
        load.verdict(60, slots=2 * SLOTS)
        equal(kinds(b).count("instance.failed"), 2, "given up once each time")
        for d in (a, b):
            d.stop()
        proxy.end()


@case("Redis is stopped for 30 s under load: noticed, waited for, nobody is given up and nothing taken over for it")
def stopped():
    with PrivateRedis() as redis:
        daemons = [Daemon(redis, config=CONFIG, instance=f"host-{n}") for n in "ab"]
        pids = [d.workers() for d in daemons]
        with Load(daemons[0], tasks=2500, agents=4, producers=2, rate=70, lease_ms=LEASE) as load:
            pause(load, 3)
            since, began = wall(redis), time.monotonic()
            redis.sigstop()
            for d in daemons:
                wait_until(lambda d=d: d.status()["redis"]["state"] == "down", 12, "noticed")
            noticed = time.monotonic() - began
            note(f"noticed after {noticed:.2f} s")
            check(noticed <= 7.5, "redis.timeout_ms and a beat")
            pause(load, 30 - (time.monotonic() - began))
            redis.cont()
            back = time.monotonic()
            wait_until(lambda: all(d.status()["status"] == "healthy" for d in daemons), 15, "healthy again")
            figure("redis_back_s", time.monotonic() - back)
            load.finish(60)
        load.verdict(60, slots=2 * SLOTS)
        equal(after(daemons[0], since, "instance.failed", "partition.detected", "task.reassigned", "task.lease_expired"), [])
        equal([d.workers() for d in daemons], pids, "the same workers")
        for d in daemons:
            d.stop()


@case("connections are reset every 200 ms, in the middle of requests and replies: each request has its effect once")
def reset():
    with PrivateRedis() as redis:
        proxy = Proxy(redis.socket)
        with Daemon(redis, config=merge(CONFIG, {"redis": {"url": proxy.url}})) as d:
            with Load(d, tasks=600, agents=3, producers=2, rate=100, lease_ms=LEASE) as load:
                until = time.monotonic() + 6
                while time.monotonic() < until:
                    proxy.reset()
                    pause(load, 0.2)
                load.finish(40)
            load.verdict(40)
            wait_until(lambda: d.status()["status"] == "healthy", 15, "healthy again")
        proxy.end()


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=600)
