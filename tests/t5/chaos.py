#!/usr/bin/env python3
"""chaos.py: 8 workers, kill -9 of a random worker every second and of redis-server every five (F01, F13).

Short form (make check): 1500 tasks. Long form (CB_FAULTS=1, as make check-faults says, or CB_LONG=1): 10 000
tasks each with the embedded and with an external redis-server, and workers that are stopped. Agents
are killed and stopped, too. The schedule of faults comes from the seed: --seed N repeats it.
"""

import signal
import time

from cbtest import *
from load import AgentProcess

FULL = LONG or FAULTS
CONFIG = {
    "domains": {"task": {"workers": 8}, "system": {"workers": 2}, "hook": {"workers": 0}},
    "supervisor": {"restart_min_ms": 20, "restart_max_ms": 200},
    "task": {"backoff_ms": 100, "max_attempts": 20},
}


def slots(d):
    return d.config["domains"]["task"]["workers"] + d.config["domains"]["system"]["workers"]


class Chaos:
    """Draws the whole schedule from the seed, then carries it out while the load runs."""

    def __init__(self, name, seconds, worker_every=1.0, redis_every=5.0, stop_every=None, agent_every=3.0):
        draw = rng(name)
        self.plan = []
        for what, every in (("worker", worker_every), ("redis", redis_every), ("stop", stop_every), ("agent", agent_every)):
            at = 0.0
            while every:
                at += draw.uniform(0.6, 1.4) * every
                if at > seconds:
                    break
                self.plan.append((at, what, draw.random()))
        self.plan.sort()
        self.done = {"worker": 0, "redis": 0, "stop": 0, "agent": 0}

    def run(self, d, redis, load, agents=()):
        began = time.monotonic()
        for at, what, pick in self.plan:
            wait_until(lambda t=at: load.check() or time.monotonic() - began >= t, at + 5, "time")
            for agent in agents:
                agent.wake_if_due()
            if what == "redis":
                self.kill_redis(d, redis)
            elif what == "agent":
                if agents:
                    agents[int(pick * len(agents))].hit()
                    self.done["agent"] += 1
            else:
                self.hit_worker(d, pick, signal.SIGSTOP if what == "stop" else signal.SIGKILL, what)

    def hit_worker(self, d, pick, signum, what):
        pids = sorted(d.workers())
        if pids and procs.kill(pids[int(pick * len(pids))], signum):
            self.done[what] += 1

    def kill_redis(self, d, redis):
        if redis is None:
            pid = d.redis_pid()
            if pid and procs.kill(pid):
                self.done["redis"] += 1
        else:
            redis.restart(wait=False)
            self.done["redis"] += 1


def run(name, tasks, seconds, external, bound, agents=4, processes=0, stop_every=None, redis_every=5.0):
    # With everysec an acknowledged write may be lost by kill -9 while an fsync runs (README, promise 1).
    redis = PrivateRedis(aof=True, fsync="always") if external else None
    config = merge(CONFIG, {"supervisor": {"watchdog_ms": 700}}) if stop_every else CONFIG
    if not external:
        config = merge(config, {"redis": {"appendfsync": "always"}})
    d = Daemon(redis, config=config)
    try:
        before = {"workers": len(d.workers()), "fds": procs.fd_count(d.pid)}
        chaos = Chaos(name, seconds, stop_every=stop_every, redis_every=redis_every)
        with Load(d, tasks=tasks, agents=agents, producers=4, rate=tasks / seconds, lease_ms=2000) as load:
            running = [AgentProcess(d, load.ledger.path, i) for i in range(processes)]
            chaos.run(d, redis, load, running)
            for agent in running:
                wait_until(lambda a=agent: a.wake_if_due() or a.wake_at is None, 5, "its time to wake", step=0.02)
            load.finish(bound)
            figure("refused", sum(agent.stop() for agent in running))
        wait_until(lambda: len(d.workers()) == before["workers"], 10, "all workers are back")
        wait_until(lambda: d.client("status").returncode == 0, 10, "healthy")
        note(f"faults: {chaos.done}; restarts of workers logged: {len(d.events('child_died'))}")
        check(chaos.done["worker"] >= len([p for p in chaos.plan if p[1] == "worker"]) * 0.7, "workers were killed")
        check(chaos.done["redis"] >= len([p for p in chaos.plan if p[1] == "redis"]) * 0.7, "Redis was killed")
        left = problems_of(d, before)
        load.verdict(bound, slots=slots(d), workers_left=left, table=True)
        d.stop()
    finally:
        if d.running():
            note(d.log_tail(30))
            d.stop(check=False)
        if redis is not None and redis.running():
            redis.kill9()


def problems_of(d, before):
    """I8: zombies, descriptors, sanitizer reports."""
    found = []
    try:
        d.check_no_zombies()
        wait_until(lambda: procs.fd_count(d.pid) <= before["fds"], 5, "descriptors of the supervisor")
        d.check_log()
    except Failure as problem:
        found.append(str(problem))
    return "; ".join(found)


if FULL:

    @case("10 000 tasks, 8 workers, embedded Redis: workers and Redis are killed, the oracle agrees")
    def long_embedded():
        run("long-embedded", 10000, 60, False, 60, processes=2)

    @case("10 000 tasks, 8 workers, external Redis: workers, Redis and agents are killed, workers are stopped")
    def long_external():
        run("long-external", 10000, 60, True, 60, processes=3, stop_every=7.0)

else:

    @case("1500 tasks, 8 workers: workers and the embedded Redis are killed, the oracle agrees")
    def short():
        run("short", 1500, 11, False, 30, processes=2, redis_every=4.0)


if __name__ == "__main__":
    main(timeout=1700 if FULL else 250)
