#!/usr/bin/env python3
"""rolling.py: workers, daemons and agents that are told to leave under load, and replaced (rows F11, F12 of
tests/results/faults.md). What each signal means to
one process is in tests/t1/stopping.py, reload.py, upgrade.py and tests/t3/client_work_ends.py."""

import os
import signal
import time

from cbtest import *

CONFIG = {
    "domains": {"task": {"workers": 4}, "system": {"workers": 2}, "hook": {"workers": 0}},
    "task": {"backoff_ms": 100, "max_attempts": 20},
}
SLOTS = 6
RATE = 120


def healthy(d):
    return d.client("status").returncode == 0


def pause(load, seconds):
    until = time.monotonic() + seconds
    wait_until(lambda: load.check() or time.monotonic() >= until, seconds + 5, "time", step=0.02)


# ---- F12 ----


def by_term(d, load, turn):
    """One after the other: each is replaced before the next is told to leave."""
    del turn
    for pid in sorted(d.workers()):
        procs.kill(pid, signal.SIGTERM)
        wait_until(lambda p=pid: not procs.alive(p) and len(d.workers()) == SLOTS and healthy(d), 15, f"{pid} is replaced")
        pause(load, 0.2)


def by_reload(d, load, turn):
    d.config = merge(d.config, {"domains": {name: {"batch": 40 + turn} for name in ("task", "system")}})
    d.write_config()
    done = d.client("ctl", "reload")
    equal(done.returncode, 0, done.stderr)
    pause(load, 0.5)


def by_upgrade(d, load, turn):
    del turn
    procs.kill(d.pid, signal.SIGUSR2)
    wait_until(lambda: len(d.events("upgraded")) > 0, 10, "the new program")
    pause(load, 0.5)


def longest_gap_s(load, began_ms, ended_ms):
    """Of completions, as Redis had them."""
    stamps = [int(entry.split("-")[0]) for entry, f in load.collector.rows if f.get("type") == "task.completed"]
    stamps = [began_ms, *[ms for ms in stamps if began_ms < ms < ended_ms], ended_ms]
    return max(b - a for a, b in zip(stamps, stamps[1:])) / 1000


@case("all workers are replaced three times under load: by TERM one by one, by a reload, by an upgrade; work never stands still for 2 s",
      faults="F12")
def rolling():
    with Daemon(config=CONFIG) as d:
        with Load(d, tasks=(12 if FAULTS else 8) * RATE, agents=4, producers=2, batch=5, rate=RATE, lease_ms=3000) as load:
            pause(load, 1)
            began = time.time() * 1000
            for turn, roll in enumerate((by_term, by_reload, by_upgrade)):
                before = set(d.workers())
                roll(d, load, turn)
                wait_until(lambda b=before: not b.intersection(d.workers()) and len(d.workers()) == SLOTS and healthy(d), 20,
                           lambda: f"all are new; {d.log_tail()}")
            ended = time.time() * 1000
            check(not load.created(), "there was load until the end")
            load.finish(60)
        gap = longest_gap_s(load, began, ended)
        figure("longest_gap_s", gap)
        check(gap <= 2, f"no completion for {gap:.2f} s")
        equal(d.events("child_killed"), [])
        load.verdict(60, slots=SLOTS)


# ---- F11 ----

GRACE_S = 1.0
JOB = """#!/bin/sh
sleep "$(sed -n 's/.*"payload":\\([0-9.]*\\).*/\\1/p')"
"""


class Work:
    """`claudebench work`, which is told to leave and replaced by the next."""

    def __init__(self, d, number):
        self.d, self.number, self.lives = d, number, 0
        self.job = f"{procs.folder()}/job"
        self.log = f"{procs.subfolder('w')}/log"
        self.start()

    def start(self):
        self.lives += 1
        with open(self.log, "ab") as log:
            self.process = procs.start([procs.binary("claudebench"), "work", "--id", f"w{self.number}.{self.lives}", "--jobs", "4",
                                        "--grace", f"{int(GRACE_S * 1000)}ms", "--", self.job],
                                       env={"CLAUDEBENCH_CONFIG": self.d.config_path}, stdout=log, stderr=log)
        wait_until(lambda: self.said(f"w{self.number}.{self.lives}"), 10, "it is registered")

    def said(self, instance):
        with self.d.connect() as r:
            return r.call("EXISTS", f"cb:instance:{instance}")

    def leave(self, again=False):
        began = time.monotonic()
        self.process.terminate()
        if again:
            time.sleep(0.1)  # the second one comes later
            self.process.terminate()
        with open(self.log, encoding="utf-8", errors="replace") as f:
            equal(self.process.wait(20), 0, f.read()[-2000:])
        took = time.monotonic() - began
        check(took <= GRACE_S + 2, f"{took:.2f} s")
        return took


@case("TERM, once and twice, to agents with jobs shorter and longer than their grace: the short are completed, the long go back uncharged, 0",
      faults="F11")
def drain_agents():
    dice = rng("drain")
    with open(f"{procs.folder()}/job", "w", encoding="ascii") as f:
        f.write(JOB)
        os.fchmod(f.fileno(), 0o755)
    with Daemon(config=CONFIG) as d:
        c = d.caller()
        lengths = [0.1] * (120 if FAULTS else 30) + [GRACE_S + 1.5] * (12 if FAULTS else 4)
        dice.shuffle(lengths)
        ids = c.insist("task.create_batch", {"tasks": [{"text": "job", "payload": s} for s in lengths[:100]]}).result["ids"]
        if lengths[100:]:
            ids += c.insist("task.create_batch", {"tasks": [{"text": "job", "payload": s} for s in lengths[100:]]}).result["ids"]
        agents = [Work(d, n) for n in range(3)]
        slowest = 0
        for turn in range(9 if FAULTS else 3):
            time.sleep(dice.uniform(0.2, 0.8))  # a moment of its work
            agent = agents[turn % 3]
            slowest = max(slowest, agent.leave(again=turn % 3 == 2))
            agent.start()
        figure("slowest_leave_s", slowest)

        def ended():
            return d.client("status").returncode == 0 and c.call("system.get_state")["tasks"]["completed"] == len(ids)

        wait_until(ended, 60, lambda: f"all are completed: {c.call('system.get_state')['tasks']}", step=0.05)
        for agent in agents:
            agent.leave()
        kinds = {}
        for _, f in d.stream("stream:events"):
            kind = f["type"].decode()
            for task in (f.get("id") or f.get("ids", b"")).decode().split():
                kinds.setdefault(kind, []).append(task)
        released = kinds.get("task.released", [])
        figure("released", len(released))
        check(released, "long jobs went back")
        equal(sorted(kinds["task.completed"]), sorted(ids), "each is completed once")
        charged = [i for i in ids if c.call("task.get", {"id": i})["attempt"] != 1]
        equal(charged, [], "attempts that were charged")


@case("TERM to a daemon under load, HUP before it: it exits with 0 in time, requests in hand are done, and another one goes on", faults="F11")
def drain_daemons():
    with PrivateRedis() as redis:
        a, b = (Daemon(redis, config=CONFIG, instance=f"host-{n}") for n in "ab")
        with Load(b, tasks=(12 if FAULTS else 5) * RATE, agents=4, producers=2, rate=RATE, lease_ms=3000) as load:
            for turn in range(5 if FAULTS else 2):
                pause(load, 0.7)
                a.config = merge(a.config, {"domains": {"task": {"batch": 30 + turn}}})
                a.write_config()
                procs.kill(a.pid, signal.SIGHUP)
                pause(load, 0.1 * turn)
                began = time.monotonic()
                procs.kill(a.pid, signal.SIGTERM)
                equal(a.process.wait(20), 0, a.log_tail())
                took = time.monotonic() - began
                figure("daemon_leave_s", took)
                check(took <= 5 + 2, f"{took:.2f} s")
                equal(b.status()["status"], "healthy")
                a.start(ready=False)
                wait_until(lambda: healthy(a), 10, "ready again")
            load.finish(60)
        load.verdict(60, slots=2 * SLOTS)
        equal([e for d in (a, b) for e in d.events("requests_handed_on")], [], "nobody left requests behind")
        for d in (a, b):
            d.stop()


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=900)
