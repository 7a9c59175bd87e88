#!/usr/bin/env python3
"""kills.py: supervisors, whole hosts and agents that are killed or stopped under load, with the oracle (F02, F03, F04, F05, F06, F08).

The deterministic halves, each at a chosen moment, are in tests/t1, t2 and t4.
"""

import os
import signal
import time

from agent import STEPS
from cbtest import *
from load import AgentProcess

CONFIG = {
    "domains": {"task": {"workers": 4}, "system": {"workers": 2}},
    "supervisor": {"restart_min_ms": 20, "restart_max_ms": 200},
    "task": {"backoff_ms": 100, "max_attempts": 20},
}
SLOTS = 6
LEASE = 2000


def at(d, kind, instance, after):
    """Wall ms of the first event of a kind about an instance, behind a stream entry."""
    for entry, e in d.stream("stream:events"):
        ms = int(entry.split("-")[0])
        if ms >= after and e["type"].decode() == kind and e.get("instance", e.get("id", b"")).decode() == instance:
            return ms
    return None


def wall(d):
    with d.connect() as r:
        s, us = r.call("TIME")
    return int(s) * 1000 + int(us) // 1000


def pause(load, seconds):
    """Lets the load run."""
    until = time.monotonic() + seconds
    wait_until(lambda: load.check() or time.monotonic() >= until, seconds + 5, "time")


def gone(pids, seconds, what):
    began = time.monotonic()
    wait_until(lambda: not [p for p in pids if procs.alive(p)], seconds, what)
    note(f"{what}: {time.monotonic() - began:.2f} s")


def two_hosts(redis):
    return [Daemon(redis, config=CONFIG, instance=f"host-{n}") for n in "ab"]


def leader_of(d):
    with d.connect() as r:
        return r.text("HGET", "cb:leader:current", "id")


def note_leader(b, was, killed_at):
    """The time until b leads, if a did."""
    if was == "host-a":
        elected = wait_until(lambda: at(b, "leader.elected", "host-b", killed_at), 10, "the next leader")
        figure("leader_moved_s", (elected - killed_at) / 1000)


@case("a supervisor is killed again and again: its workers leave, its requests are handed on, it takes over its own id",
      faults="F03")
def supervisor():
    with PrivateRedis() as redis:
        a, b = two_hosts(redis)
        with Load(b, tasks=4000, agents=4, producers=2, rate=90, lease_ms=LEASE) as load:
            for turn in range(6):
                pause(load, 2)
                orphans, leader, began = a.workers(), leader_of(b), wall(b)
                a.kill9()
                gone(orphans, 5, "its workers leave")
                if turn % 2:
                    failed = wait_until(lambda t=began: at(b, "instance.failed", "host-a", t), 10, "given up")
                    figure("host_noticed_s", (failed - began) / 1000)
                    note_leader(b, leader, began)
                a.start(ready=False)
                wait_until(lambda: a.client("status").returncode == 0, 10, "ready again")
            load.finish(60)
        load.verdict(60, slots=2 * SLOTS)
        for d in (a, b):
            d.stop(check=d is b)


@case("a host is killed with its workers, and one with its embedded Redis, again and again", faults="F04")
def whole_hosts():
    with Daemon(config=merge(CONFIG, {"redis": {"appendfsync": "always"}})) as d:
        with Load(d, tasks=2500, agents=4, producers=2, rate=100, lease_ms=LEASE) as load:
            for _ in range(5):
                pause(load, 3)
                d.kill_tree()
                d.start(ready=False)
                began = time.monotonic()
                wait_until(lambda: d.client("status").returncode == 0, 15, "ready again")
                note(f"ready again after {time.monotonic() - began:.2f} s")
            load.finish(60)
        load.verdict(60, slots=SLOTS)
    with PrivateRedis() as redis:
        a, b = two_hosts(redis)
        with Load(b, tasks=3000, agents=4, producers=2, rate=90, lease_ms=LEASE) as load:
            for _ in range(4):
                pause(load, 2)
                leader, began = leader_of(b), wall(b)
                a.kill_tree()
                failed = wait_until(lambda t=began: at(b, "instance.failed", "host-a", t), 10, "given up")
                figure("host_noticed_s", (failed - began) / 1000)
                note_leader(b, leader, began)
                a.start(ready=False)
                wait_until(lambda: a.client("status").returncode == 0, 10, "ready again")
            load.finish(60)
        load.verdict(60, slots=2 * SLOTS)
        for d in (a, b):
            d.stop(check=d is b)


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        words = f.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@case("one request in a thousand kills its worker: a dead letter after three, the others are answered, the respawn is braked",
      faults="F05")
def poison():
    need_failpoints(procs.binary("claudebench-worker"))
    env = failpoints_env(failpoint("prepare", "segv", match="POISON"))
    env["ASAN_OPTIONS"] = "handle_segv=0"
    config = {"supervisor": {"restart_min_ms": 1000, "restart_max_ms": 60000}, "domains": {"task": {"workers": 2}}}
    with Daemon(env=env, config=config) as d:
        c = d.caller()
        bad = rng("poison").randrange(1000)
        began, cpu = time.monotonic(), cpu_s(d.pid)
        ids = c.send_many([("task.create", {"text": "POISON" if i == bad else f"good {i}"}, {}) for i in range(1001)])
        replies = c.wait_all(ids, 60)
        equal([r.code for i, r in enumerate(replies) if i != bad], [0] * 1000)
        equal(replies[bad].code, -32603)
        letters = d.stream("stream:dead")
        equal([letters[0][1]["crashes"], len(letters)], [b"3", 1])
        check(b"signal 11" in letters[0][1]["reason"], letters)
        wait_until(lambda: len(d.workers("task")) == 2, 20, "all workers are back")
        spent = time.monotonic() - began
        share = (cpu_s(d.pid) - cpu) / spent
        deaths = len(d.events("child_died"))
        note(f"{deaths} deaths in {spent:.1f} s, supervisor {100 * share:.1f} % CPU")
        equal(deaths, 3)
        check(share < 0.05, f"{100 * share:.1f} % CPU")


@case("agents die at each step of a task's life, a hundred times each: before the claim's reply, after it, in the run, after the effect, "
      "before and after the completion's reply", faults="F02")
def agent_steps():
    deaths = 100
    with Daemon(config=merge(CONFIG, {"task": {"max_attempts": 100, "max_crashes": 100}})) as d:
        with Load(d, tasks=deaths * len(STEPS), agents=0, producers=2, lease_ms=LEASE) as load:
            dying = [AgentProcess(d, load.ledger.path, step, more=["--die-at", step, "--deaths", str(deaths), "--lease-ms", "1000"])
                     for step in STEPS]
            ends = []
            for agent in dying:
                wait_until(lambda a=agent: load.check() or a.process.poll() is not None, 100, f"{deaths} have died at {agent.number}")
                ends.append(int(agent.process.communicate()[0]))
            equal(ends, [deaths] * len(STEPS))
            healthy = [AgentProcess(d, load.ledger.path, n, work_ms=0) for n in range(3)]
            load.finish(60)
            figure("refused", sum(a.stop() for a in healthy))
        figure("deaths", sum(ends))
        load.verdict(60, slots=SLOTS)


@case("agents are stopped for longer than their leases, ten times: their old completions are refused, nothing is done twice",
      faults="F06")
def agents():
    dice = rng("zombies")
    with Daemon(config=CONFIG) as d:
        # Runs take so long that many a zombie wakes while the next holder is still at work.
        with Load(d, tasks=900, agents=0, producers=2, rate=24, lease_ms=LEASE) as load:
            running = [AgentProcess(d, load.ledger.path, i, work_ms=200) for i in range(6)]
            for _ in range(10):
                pause(load, dice.uniform(0.2, 1.5))
                victim = dice.choice([a for a in running if a.wake_at is None])
                victim.freeze(LEASE / 1000 + dice.uniform(0.1, 1.2))
                for a in running:
                    a.wake_if_due()
                if len([a for a in running if a.wake_at]) == len(running):
                    wait_until(lambda: [a.wake_if_due() for a in running] and not running[0].wake_at, 6, "one wakes")
            wait_until(lambda: [a.wake_if_due() for a in running] and not [a for a in running if a.wake_at], 8, "all are awake")
            load.finish(60)
            late = sum(a.stop() for a in running)
        verdict = load.verdict(60, slots=SLOTS)
        figure("refused", late)
        check(late > 0 and verdict.figures["repeats"] > 0, f"{late} late completions, {verdict.figures['repeats']} repeats")


@case("a system worker hangs for three leases: nobody is given up for the beats that are in its hands", faults="F06")
def hung():
    config = merge(CONFIG, {"supervisor": {"watchdog_ms": 60000}})
    with Daemon(config=config) as d:
        c = d.caller()
        agents_ = {f"a{i}": c.call("system.register", {"id": f"a{i}", "lease_ms": LEASE})["incarnation"] for i in range(10)}

        def beat():
            c.send_many([("system.heartbeat", {"instanceId": n, "incarnation": i}, {"notify": True}) for n, i in agents_.items()])

        victim = d.workers("system")[0]
        procs.kill(victim, signal.SIGSTOP)
        until = time.monotonic() + 3 * LEASE / 1000
        while time.monotonic() < until:
            beat()
            time.sleep(0.3)
        check(d.pending("system"), "it has beats in its hands")
        procs.kill(victim, signal.SIGCONT)
        wait_until(lambda: not d.pending("system"), 5, "it goes on")
        equal([e for _, e in d.stream("stream:events") if e["type"] == b"instance.failed"], [])


@case("the supervisor alone is stopped for three leases, its workers go on: done by them or by others, once", faults="F08")
def supervisor_stopped():
    with PrivateRedis() as redis:
        a, b = two_hosts(redis)
        with Load(b, tasks=3000, agents=4, producers=2, rate=90, lease_ms=LEASE) as load:
            for _ in range(3):
                pause(load, 1)
                leader, began = leader_of(b), wall(b)
                procs.kill(a.pid, signal.SIGSTOP)
                note_leader(b, leader, began)
                failed = wait_until(lambda t=began: at(b, "instance.failed", "host-a", t), 10, "given up")
                figure("host_noticed_s", (failed - began) / 1000)
                pause(load, 3 * LEASE / 1000 - 3)
                procs.kill(a.pid, signal.SIGCONT)
                wait_until(lambda: a.client("status").returncode == 0, 15, "healthy again")
            load.finish(60)
        load.verdict(60, slots=2 * SLOTS)
        for d in (a, b):
            d.stop()


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=900)
