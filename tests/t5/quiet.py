#!/usr/bin/env python3
"""quiet.py: three daemons under load for ten minutes in which nothing happens, and nothing is said to happen (F45)."""

import os
import time

from cbtest import *

SECONDS = float(os.environ.get("CB_QUIET_S", "600"))
CONFIG = {"domains": {"task": {"workers": 2}, "system": {"workers": 2}}}
RATE = 100
BEAT_LEASE = 3000
WRONG = {"instance.failed", "instance.unregistered", "task.lease_expired", "task.reassigned", "task.failed", "partition.detected",
         "partition.recovered", "leader.left"}
LOGGED = ("child_hung", "child_died", "leader_lost", "redis_lost", "daemon_degraded", "instance_lost", "requests_handed_on")


def slowest(beats):
    return max(b - a for a, b in zip(beats, beats[1:]))


@case("under load nobody is given up, no lease ends early, no partition is seen, one leader stays, no worker is taken for hung")
def quiet():
    with PrivateRedis(aof=True) as redis:
        daemons = [Daemon(redis, config=CONFIG, instance=f"host-{i}") for i in range(3)]
        c = daemons[0].caller()
        inc = c.call("system.register", {"id": "beating", "lease_ms": BEAT_LEASE})["incarnation"]
        beats = [time.monotonic()]  # when each was answered
        count = int(SECONDS * RATE)
        with Load(daemons[0], tasks=count, agents=4, producers=2, rate=RATE, lease_ms=5000) as load:
            until, beat_at = time.monotonic() + SECONDS, 0
            while time.monotonic() < until or not load.created() or load.live() != 0:
                load.check()
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + 1
                    beat = c.call("system.heartbeat", {"instanceId": "beating", "incarnation": inc})
                    beats.append(time.monotonic())
                    check(beat["alive"], f"an agent that beats is alive; {slowest(beats):.2f} s between two answers")
                time.sleep(0.05)  # paces the beats
            load.finish(SECONDS)
        figure("slowest_beat_s", slowest(beats))
        found = [e for _, e in load.collector.rows if e["type"] in WRONG]
        equal(found, [], "events of what did not happen")
        equal(len([1 for _, e in load.collector.rows if e["type"] == "leader.elected"]), 1, "the first leader stays")
        for d in daemons:
            equal([e for name in LOGGED for e in d.events(name)], [], "log lines of what did not happen")
        load.verdict(SECONDS, slots=12)
        for d in daemons:
            d.stop()


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=3 * SECONDS + 120)
