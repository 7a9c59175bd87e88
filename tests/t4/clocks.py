#!/usr/bin/env python3
"""clocks.py: clocks that are wrong and clocks that jump, on the hosts and under Redis (ARCHITECTURE.md, "Time and numbers";
rows F28, F29 of tests/results/faults.md):
nobody is given up, no lease ends early, the leader stays."""

import os
import time

from cbtest import *

SMALL = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}}}
HOUR = 3600000
SHIM = os.path.join(procs.top_builddir(), "tests/lib/clockshim.so")


def need_shim():
    with open(procs.binary("claudebenchd"), "rb") as f:
        if b"__asan_init" in f.read():
            raise Skip("the sanitizer's library must be the first one")
    check(os.path.exists(SHIM), f"{SHIM} is not built")


class Clock:
    """The wall clock of one host's processes."""

    def __init__(self, ms=0):
        self.path = f"{procs.subfolder('k')}/shift"
        self.set(ms)
        self.env = {"LD_PRELOAD": SHIM, "CBTEST_CLOCK": self.path}

    def set(self, ms):
        with open(f"{self.path}.new", "w", encoding="ascii") as f:
            f.write(str(ms))
        os.rename(f"{self.path}.new", self.path)


def kinds(d):
    return [e["type"].decode() for _, e in d.stream("stream:events")]


def trouble(d):
    wrong = ("instance.failed", "task.lease_expired", "task.reassigned", "task.failed", "partition.detected")
    return [k for k in kinds(d) if k in wrong]


class Agent:
    """Holds one task by a short lease, which it renews, and works others off meanwhile."""

    def __init__(self, d, name):
        self.c, self.name = d.caller(), name
        self.inc = self.c.call("system.register", {"id": name, "lease_ms": 2000})["incarnation"]
        self.c.call("task.create", {"text": "kept", "queue": name})
        self.kept = self.claim(1, lease_ms=2000)[0]

    def claim(self, n, **more):
        return self.c.call("task.claim", {"workerId": self.name, "incarnation": self.inc, "maxTasks": n, "queue": self.name,
                                          **more})["tasks"]

    def work(self):
        beat = self.c.call("system.heartbeat", {"instanceId": self.name, "incarnation": self.inc, "renew": [
            {"id": self.kept["id"], "lease_token": self.kept["lease_token"]}]})
        equal([beat["alive"], beat["cancel"]], [True, []])
        made = self.c.call("task.create_batch", {"tasks": [{"text": "t", "queue": self.name}] * 5})["ids"]
        got = self.claim(10)
        equal([t["id"] for t in got], made, "in the order of their creation")
        for t in got:
            self.c.call("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})

    def end(self):
        self.c.call("task.complete", {"id": self.kept["id"], "lease_token": self.kept["lease_token"]})


def work_for(agents, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for a in agents:
            a.work()
        holds_for(lambda: True, 0.1, "time")


@case("constant skew: hosts that are 5 minutes fast and slow work together; times are Redis's", faults="F29")
def skew():
    need_shim()
    with PrivateRedis() as redis:
        daemons = [Daemon(redis, config=SMALL, instance=f"host-{i}", env=Clock(ms).env)
                   for i, ms in enumerate((300000, -300000, 0))]
        epoch = daemons[0].status()["leader"]["epoch"]
        started = daemons[0].status()["since"]
        check(started > daemons[0].caller().call("system.get_state")["recentEvents"][-1]["at"], f"the shim works: {started}")
        agents = [Agent(d, f"a{i}") for i, d in enumerate(daemons)]
        work_for(agents, 5)
        equal([trouble(daemons[0]), {d.status()["leader"]["epoch"] for d in daemons}], [[], {epoch}])
        with redis.client() as r:
            s, us = r.call("TIME")
        ages = [int(s) * 1000 + int(us) // 1000 - int(e["at"]) for _, e in daemons[0].stream("stream:events")]
        check(all(0 <= age < 60000 for age in ages), f"{min(ages)} to {max(ages)} ms old")
        for a in agents:
            a.end()
        for d in daemons:
            d.stop()


@case("hosts whose clocks jump an hour forth and back while they work: no lease, no beat and no worker is lost", faults="F28")
def host_jumps():
    need_shim()
    with PrivateRedis() as redis:
        clocks = [Clock(), Clock()]
        daemons = [Daemon(redis, config=SMALL, instance=f"host-{i}", env=k.env) for i, k in enumerate(clocks)]
        workers = [d.workers() for d in daemons]
        epoch = daemons[0].status()["leader"]["epoch"]
        agents = [Agent(d, f"a{i}") for i, d in enumerate(daemons)]
        for first, second in ((HOUR, 0), (HOUR, -HOUR), (-HOUR, HOUR), (0, 0)):
            clocks[0].set(first)
            clocks[1].set(second)
            work_for(agents, 2.5)
        equal([trouble(daemons[0]), {d.status()["leader"]["epoch"] for d in daemons}], [[], {epoch}])
        equal([d.workers() for d in daemons], workers, "no worker was killed for it")
        for a in agents:
            a.end()
        for d in daemons:
            d.stop()


@case("Redis's clock jumps an hour forth and back (seen by the tick): nobody expires; a lease that is over still ends",
      faults="F28")
def redis_jumps():
    with PrivateRedis() as redis:
        daemons = [Daemon(redis, config=SMALL, instance=f"host-{i}") for i in range(2)]
        epoch = daemons[0].status()["leader"]["epoch"]
        agents = [Agent(d, f"a{i}") for i, d in enumerate(daemons)]
        with redis.client() as r:
            for ms in (-HOUR, HOUR, -HOUR, -HOUR, HOUR):
                r.call("HINCRBY", "cb:clock", "at", ms)  # the time since the last tick is an hour more, or less
                work_for(agents, 1.2)
            equal([trouble(daemons[0]), {d.status()["leader"]["epoch"] for d in daemons}], [[], {epoch}])
            began = time.monotonic()
            wait_until(lambda: "task.lease_expired" in kinds(daemons[0]) or "task.reassigned" in kinds(daemons[0]), 6,
                       "without renewals the leases end")
            note(f"after {time.monotonic() - began:.1f} s")
            check(time.monotonic() - began > 1.5, "and not before their time")
        for d in daemons:
            d.stop()


if __name__ == "__main__":
    main()
