#!/usr/bin/env python3
"""schedule_leader.py: schedules across changes of the leader: each due time fired once, none left out, and nothing that a
leader of yesterday sends."""

import os
import signal

from cbtest import *

CLUSTER = {"cluster": {"tick_ms": 200, "leader_lease_ms": 1000, "suspect_ms": 600, "offline_ms": 1200}}
EACH = 6


def pair(redis, env=None):
    """Two daemons; the first one leads."""
    first = Daemon(redis, config=CLUSTER, instance="one", env=env)
    wait_until(lambda: first.events("leader_elected"), 5, "it leads")
    second = Daemon(redis, config=CLUSTER, instance="two")
    return first, second


def add_all(d):
    c = d.caller()
    for i in range(EACH):
        c.call("schedule.add", {"id": f"s{i}", "every_ms": 1000, "missed": "all", "template": {"text": "x", "queue": "q"}})
    return c


def fired(d):
    return [(f["schedule"].decode(), int(f["due"]), f["id"].decode()) for _, f in d.stream("stream:events")
            if f["type"] == b"schedule.fired"]


def check_each_once(d, c, least):
    """Every due time of every schedule from the first to the last: one event, one task."""
    rows = fired(d)
    for i in range(EACH):
        dues = [due for sid, due, _ in rows if sid == f"s{i}"]
        check(len(dues) >= least, f"s{i}: {len(dues)} due times")
        equal(dues, [dues[0] + 1000 * n for n in range(len(dues))], f"s{i}")
    found, cursor = [], None
    while True:
        page = c.call("task.list", {"queue": "q", "limit": 500, **({"cursor": cursor} if cursor else {})})
        found += page["tasks"]
        cursor = page.get("next")
        if not cursor:
            break
    equal(sorted(t["id"] for t in found), sorted(task for _, _, task in rows), "tasks and events")


def goes_on(d, seconds=15):
    n = len(fired(d))
    wait_until(lambda: len(fired(d)) >= n + 2 * EACH, seconds, "it goes on")


@case("the leader is killed: the other one goes on, and nothing is left out or doubled", faults="F03")
def killed():
    with PrivateRedis() as redis:
        first, second = pair(redis)
        try:
            c = add_all(second)
            goes_on(second)
            first.kill9()
            goes_on(second)
            equal(len(second.logged("leader_elected")), 1)
            check_each_once(second, c, 4)
        finally:
            first.stop(check=False)
            second.stop()


@case("the leader stops gracefully: handed over")
def handed_over():
    with PrivateRedis() as redis:
        first, second = pair(redis)
        c = add_all(second)
        goes_on(second)
        first.stop()
        goes_on(second, 6)
        check_each_once(second, c, 4)
        second.stop()


@case("the leader is stopped past its lease, at any time: what it does afterwards is refused", faults="F07")
def stopped():
    with PrivateRedis() as redis:
        first, second = pair(redis)
        c = add_all(second)
        goes_on(second)
        daemons = [first, second]
        for _ in range(2):
            zombie = daemons[0]
            os.kill(zombie.pid, signal.SIGSTOP)
            n = len(daemons[1].events("leader_elected"))
            wait_until(lambda n=n: len(daemons[1].events("leader_elected")) > n, 8, "another one leads")
            goes_on(daemons[1])
            os.kill(zombie.pid, signal.SIGCONT)
            goes_on(daemons[1])
            daemons.reverse()
        check_each_once(second, c, 6)
        first.stop()
        second.stop()


@case("the leader is stopped with its fire in hand: its epoch is over when it sends it", faults="F07")
def in_hand():
    need_failpoints(procs.binary("claudebenchd"))
    with PrivateRedis() as redis:
        once = procs.subfolder("once") + "/once"
        first, second = pair(redis, failpoints_env(failpoint("schedule_fire", "stop", once=once)))
        c = add_all(second)
        wait_until(lambda: os.path.exists(once), 5, "it stopped before it sent")
        wait_until(lambda: second.events("leader_elected"), 8, "the other one leads")
        goes_on(second)
        os.kill(first.pid, signal.SIGCONT)
        wait_until(lambda: first.events("leader_lost"), 5, "it knows")
        goes_on(second)
        check_each_once(second, c, 4)
        first.stop()
        second.stop()


@case("the leader is killed with its fire in hand, and the whole of Redis with it: the due times come again, once",
      faults="F04")
def in_hand_killed():
    need_failpoints(procs.binary("claudebenchd"))
    with PrivateRedis(aof=True, fsync="always") as redis:
        once = procs.subfolder("once") + "/once"
        first, second = pair(redis, failpoints_env(failpoint("schedule_fire", "kill", once=once)))
        add_all(second)
        wait_until(lambda: not first.running(), 5, "killed before it sent")
        redis.kill9()
        redis.restart()
        goes_on(second)
        check_each_once(second, second.caller(), 2)
        first.stop(check=False)
        second.stop()


if __name__ == "__main__":
    main()
