#!/usr/bin/env python3
"""redis_cluster.py: the slot of the namespace is moved under load, to and fro, and its master fails over (row F27 of tests/results/faults.md).

While the slot is moved nothing is accepted, so nobody may be told that something was done, and nothing may be done twice. A
move loses nothing. A master that dies loses what its replica did not have, so that load waits for the replica.
"""

import re
import subprocess
import threading
import time

from cbtest import *
from cluster import Cluster, call, in_step, node_id
from task_hash import unpacked

CONFIG = {"domains": {"task": {"workers": 3}, "system": {"workers": 2}, "hook": {"workers": 0}},
          "task": {"backoff_ms": 100, "max_attempts": 20}, "redis": {"timeout_ms": 2000}}
SLOTS = 5
CANARY = "{cb}:requests:canary"


def pause(check_load, seconds):
    until = time.monotonic() + seconds
    wait_until(lambda: check_load() or time.monotonic() >= until, seconds + 5, "time")


class OwnClients:
    """`claudebench task import`, line by line, and `claudebench work`, on a queue of their own, beside the load."""

    def __init__(self, d, tasks, rate):
        self.d, self.tasks, folder = d, tasks, procs.subfolder("w")
        self.done = f"{folder}/done"
        env = {"CLAUDEBENCH_CONFIG": d.config_path}
        self.errors = open(f"{folder}/errors", "wb")  # pylint: disable=consider-using-with
        self.producer = procs.start([procs.binary("claudebench"), "task", "import", "-"], env=env, stdin=subprocess.PIPE,
                                    stdout=self.errors, stderr=self.errors)
        self.feeder = threading.Thread(target=self.feed, args=(1 / rate,), daemon=True)
        self.feeder.start()
        command = f'echo "$CLAUDEBENCH_TASK_ID" >>{self.done}'
        self.workers = [procs.start([procs.binary("claudebench"), "work", "--queue", "own", "--jobs", "2", "--id", f"own-{i}", "--",
                                     "sh", "-c", command], env=env, stdout=self.errors, stderr=self.errors) for i in range(2)]

    def feed(self, pause_s):
        with self.producer.stdin as lines:
            for n in range(self.tasks):
                lines.write(b'{"text":"own %d","queue":"own"}\n' % n)
                lines.flush()
                time.sleep(pause_s)  # the pace of whoever writes the file

    def said(self):
        with open(self.errors.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def finish(self):
        """All of them were made once, and are completed; how many commands ran beyond one for each."""
        equal(self.producer.wait(60), 0, self.said())

        def all_ended():
            with self.d.connect() as link:
                counts = link.hash("{cb}:counts")
            return not any(int(n) for name, n in counts.items() if re.fullmatch(r"q:own:(pending|in_progress|blocked|delayed)", name))

        wait_until(all_ended, 60, "all tasks of the own clients have ended")
        for w in self.workers:
            w.terminate()
        for w in self.workers:
            equal(w.wait(30), 0, self.said())
        with self.d.connect() as link:
            keys = [k for k in link.scan("{cb}:task:t-*") if k.count(b":") == 2]
            rows = [unpacked(link.hash(k)) for k in keys]
        mine = [r for r in rows if r["q"] == b"own"]
        equal(sorted(r["text"] for r in mine), sorted(f'"own {n}"'.encode() for n in range(self.tasks)), "each task once")
        equal({r["st"] for r in mine}, {b"completed"})
        with open(self.done, encoding="ascii") as f:
            ran = f.read().split()
        equal(len(set(ran)), self.tasks, "every command ran")
        figure("own_repeats", len(ran) - self.tasks)


def to_and_fro(c, d, turns, check_load, salt):
    """Moves the slot `turns` times; some moves take long enough for everybody to notice: keys leave a few at a time."""
    dice = rng(salt)
    for turn in range(turns):
        pause(check_load, dice.uniform(0.2, 0.8))
        slow = turn % 2 == 0
        _, keys, seconds = c.move(pause=(lambda: pause(check_load, dice.uniform(0.0, 0.05))) if slow else None)
        figure("keys_moved", keys)
        figure("move_s", seconds)
        began = time.monotonic()
        done = d.client("call", "system.health", "{}", "--timeout", "20s", timeout=30)
        equal(done.returncode, 0, done)
        figure("served_again_s", time.monotonic() - began)


def ends_well(c, d):
    wait_until(lambda: d.client("status").returncode == 0, 15, "healthy")
    check("event=script_error" not in d.log(), d.log_tail())
    with c.client() as r:
        equal(r.call("EXISTS", CANARY), 0, "the canary never exists")


def moves(tasks, turns, rate):
    with Cluster() as c, Daemon(c, config=CONFIG, prefix="{cb}") as d:
        with Load(d, tasks=tasks, agents=4, producers=2, rate=rate, lease_ms=5000) as load:
            to_and_fro(c, d, turns, load.check, "moves")
            load.finish(60)
        load.verdict(60, slots=SLOTS, table=True)
        ends_well(c, d)


def own_clients(tasks, turns, rate):
    with Cluster() as c, Daemon(c, config=CONFIG, prefix="{cb}") as d:
        own = OwnClients(d, tasks, rate)
        to_and_fro(c, d, turns, lambda: None, "own clients")
        own.finish()
        ends_well(c, d)


def reshard(tasks, rate):
    """As an administrator does it: the slot is one of thousands that go."""
    with Cluster() as c, Daemon(c, config=CONFIG, prefix="{cb}") as d:
        source, target = c.owner(), c.other()
        with Load(d, tasks=tasks, agents=4, producers=2, rate=rate, lease_ms=5000) as load:
            done = procs.run(["redis-cli", "--cluster", "reshard", f"127.0.0.1:{source.port}", "--cluster-from", node_id(source),
                              "--cluster-to", node_id(target), "--cluster-slots", "5000", "--cluster-yes"], timeout=120)
            equal(done.returncode, 0, done.stderr)
            check(c.owner() is target, "the slot has moved")
            load.finish(60)
        load.verdict(60, slots=SLOTS, table=True)
        ends_well(c, d)


def failovers(tasks, turns, rate):
    dice = rng("failovers")
    with Cluster(replicas=1, lines=["min-replicas-max-lag 10"]) as c, Daemon(c, config=CONFIG, prefix="{cb}") as d:
        with Load(d, tasks=tasks, agents=4, producers=2, rate=rate, lease_ms=5000, replicas=1) as load:
            for turn in range(turns):
                pause(load.check, dice.uniform(0.3, 1.0))
                old = c.owner()
                replica = next(n for n in c.nodes if n not in c.masters())
                if turn % 2:
                    call(replica, "CLUSTER", "FAILOVER")
                else:
                    old.kill9()
                wait_until(lambda: c.owner() is replica, 30, "the replica has taken over")
                began = time.monotonic()
                done = d.client("call", "system.health", "{}", "--timeout", "20s", timeout=30)
                equal(done.returncode, 0, done)
                figure("promoted_s", time.monotonic() - began)
                if not old.running():
                    old.start()
                wait_until(lambda: in_step(old), 30, "the old master follows")
            load.finish(60)
        load.verdict(60, slots=SLOTS, table=True)
        ends_well(c, d)


if FAULTS or LONG:  # the short form of the failover is in t2/redis_cluster.py
    add_case("the slot is moved to and fro under load, key by key: nothing is lost, nothing is done twice",
             lambda: moves(6000, 20, 300), faults="F27")
    add_case("… with `claudebench task import` and `claudebench work`", lambda: own_clients(1000, 12, 100), faults="F27")
    add_case("redis-cli --cluster reshard under load: nothing is lost, nothing is done twice", lambda: reshard(1500, 100), faults="F27")
    add_case("its master is killed or hands over, and its replica is followed: nothing is lost that the replica had",
             lambda: failovers(3000, 6, 100), faults="F27")
else:
    add_case("the slot is moved under load, key by key: nothing is lost, nothing is done twice", lambda: moves(300, 3, 200), faults="F27")

if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=900 if FAULTS else None)
