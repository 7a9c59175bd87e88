#!/usr/bin/env python3
"""soak.py: 2 000 tasks a second are made, claimed and completed while workers are killed and connections are cut, for long: each task
once, and nothing grows (row F36 of tests/results/faults.md).

For CB_SOAK_S seconds: an hour in check-long, ten minutes in check-faults, 20 s by hand. Judged without the oracle's files, which
would grow themselves: each task has a number, and a byte for how often its completion was accepted.
"""

import os
import statistics
import threading
import time

from cbtest import *

SECONDS = float(os.environ.get("CB_SOAK_S") or (3600 if LONG else 600 if FAULTS else 20))
RATE = 2000
BATCH = 25
CLAIM = 50
CONFIG = {
    "domains": {"task": {"workers": 4}, "system": {"workers": 2}, "hook": {"workers": 0}},
    "supervisor": {"restart_min_ms": 20, "restart_max_ms": 500},
    "task": {"backoff_ms": 100, "max_attempts": 100, "max_crashes": 100, "keep_finished": 20000, "keep_finished_min_ms": 0},
    # Plateaus that are reached early in the run, so that anything that grows beyond them shows.
    "events": {"maxlen": 2000},
    "limits": {"idempotency_ttl_ms": min(20000, int(SECONDS * 100))},
}
SLOTS = 6
NOISE_KIB = 128


class Traffic:
    """Producers at a pace, and agents that take what there is."""

    def __init__(self, d, producers=2, agents=3):
        self.d = d
        self.accepted = bytearray(int(SECONDS * RATE * 1.5))  # by the task's number
        self.made = 0
        self.late, self.ended = 0, 0
        self.lock = threading.Lock()
        self.until = time.monotonic() + SECONDS
        self.problems = []
        self.is_draining = False
        self.threads = [self.thread(self.produce, i, producers) for i in range(producers)]
        self.agents = [self.thread(self.consume, i) for i in range(agents)]

    def thread(self, function, *args):
        def guarded():
            try:
                function(*args)
            except BaseException as problem:  # pylint: disable=broad-except
                self.problems.append(problem)

        made = threading.Thread(target=guarded, daemon=True)
        made.start()
        return made

    def produce(self, i, of):
        c = self.d.caller(schemas=False, actor=f"p{i}")
        due = time.monotonic()
        while time.monotonic() < self.until:
            with self.lock:
                first, self.made = self.made, self.made + 2 * BATCH
            if first + 2 * BATCH > len(self.accepted):
                break
            batches = [[{"text": "soak", "payload": n} for n in range(start, start + BATCH)] for start in (first, first + BATCH)]
            for reply in c.insist_all([("task.create_batch", {"tasks": tasks}, token()) for tasks in batches], 60, 1.0):
                check(reply.ok, short(reply.raw))
            due = max(due + 2 * BATCH * of / RATE, time.monotonic() - 1)  # what a fault has cost is caught up, a second of it
            time.sleep(max(0, due - time.monotonic()))
        c.close()

    def consume(self, i):
        c = self.d.caller(schemas=False, actor=f"a{i}")
        while not self.is_draining:
            tasks = c.insist("task.claim", {"workerId": f"a{i}", "maxTasks": CLAIM, "lease_ms": 5000, "wait_ms": 500}, 60, 2.0).result["tasks"]
            if not tasks:
                continue
            items = [{"id": t["id"], "lease_token": t["lease_token"]} for t in tasks]
            done = c.insist("task.complete_batch", {"items": items}, 60, 1.0).result["items"]
            with self.lock:
                for task, item in zip(tasks, done):
                    if item.get("status") == "completed":
                        self.accepted[task["payload"]] += 1
                        self.ended += 1
                    else:
                        equal(item["error"]["code"], -32005, short(item))
                        self.late += 1
        c.close()

    def check(self):
        if self.problems:
            raise self.problems[0]

    def end(self, live):
        for t in self.threads:
            t.join(90)
        wait_until(lambda: self.check() or live() == 0, 90, lambda: f"drained; {live()} live", step=0.05)
        self.is_draining = True
        for t in self.agents:
            t.join(20)
        self.check()


class Gauges:
    """What must not grow: sampled, and compared between the second quarter and the last."""

    def __init__(self, d, spared):
        self.d, self.spared, self.rows = d, spared, {}

    def sample(self):
        self.add("supervisor_rss_kib", procs.rss_kib(self.d.pid))
        self.add("worker_rss_kib", procs.rss_kib(self.spared))
        self.add("supervisor_fds", procs.fd_count(self.d.pid))
        with self.d.connect() as r:
            self.add("keys", r.call("DBSIZE"))
            self.add("redis_kib", int(r.info("memory")["used_memory_dataset"]) // 1024)

    def add(self, name, value):
        self.rows.setdefault(name, []).append(value)

    def quarters(self, name):
        rows = self.rows[name]
        n = len(rows) // 4
        return statistics.median(rows[n : 2 * n]), statistics.median(rows[-n:])

    def judge(self):
        hours = SECONDS / 2 / 3600  # between the middles of the two quarters
        for name in self.rows:
            first, last = self.quarters(name)
            note(f"{name}: {first:.0f} in the second quarter, {last:.0f} in the last, {max(self.rows[name])} at most")
        for name in ("supervisor_rss_kib", "worker_rss_kib"):
            first, last = self.quarters(name)
            figure(name.replace("kib", "slope_kib_h"), round((last - first) / hours))
            check(last - first <= NOISE_KIB + 1024 * hours, f"{name} grows: {self.rows[name]}")
        first, last = self.quarters("keys")
        check(last <= first * 1.02 + 50, f"keys: {self.rows['keys']}")
        first, last = self.quarters("redis_kib")
        check(last <= first * 1.05 + 2048, f"Redis' memory: {self.rows['redis_kib']}")
        check(self.rows["supervisor_fds"][-1] <= min(self.rows["supervisor_fds"]) + 2, f"descriptors: {self.rows['supervisor_fds']}")


class Faults:
    """A worker is killed about every 3 s, all connections are cut about every 5 s (F01, F15)."""

    def __init__(self, d, redis, spared):
        self.d, self.redis, self.spared, self.dice = d, redis, spared, rng("soak")
        self.kills, self.cuts = 0, 0
        self.next_kill = self.next_cut = time.monotonic() + 2

    def step(self):
        now = time.monotonic()
        if now >= self.next_kill:
            self.next_kill = now + self.dice.uniform(1.5, 4.5)
            victims = sorted(set(self.d.workers()) - {self.spared})
            self.kills += bool(victims) and procs.kill(self.dice.choice(victims))
        if now >= self.next_cut:
            self.next_cut = now + self.dice.uniform(3, 7)
            with self.redis.client() as r:
                self.cuts += r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@case(f"{SECONDS:g} s of {RATE} tasks a second, workers killed, connections cut: each task once, and nothing grows", faults="F36")
def soak():
    with PrivateRedis(aof=True, fsync="no", lines=["auto-aof-rewrite-percentage 100"]) as redis, Daemon(redis, config=CONFIG) as d:

        def live():
            with redis.client() as r:
                return sum(r.pipeline([["ZCARD", "cb:queue:tasks:pending"], ["ZCARD", "cb:leases"], ["ZCARD", "cb:queue:delayed"],
                                       ["XLEN", "cb:requests:task"]]))

        spared = d.workers("task")[0]
        traffic, gauges, faults = Traffic(d), Gauges(d, spared), Faults(d, redis, spared)
        began, sample_at = time.monotonic(), 0.0
        while time.monotonic() < traffic.until:
            traffic.check()
            faults.step()
            if time.monotonic() >= sample_at:
                sample_at = time.monotonic() + SECONDS / 80
                gauges.sample()
            time.sleep(0.05)  # paces the faults
        traffic.end(live)
        spent = time.monotonic() - began
        figure("tasks", traffic.made)
        figure("refused", traffic.late)
        note(f"{traffic.made} tasks in {spent:.0f} s, {traffic.made / spent:.0f} a second; {faults.kills} workers killed, {faults.cuts} connections cut")
        wrong = [(n, traffic.accepted[n]) for n in range(traffic.made) if traffic.accepted[n] != 1]
        figure("lost", sum(1 for _, times in wrong if times == 0))
        figure("doubled", sum(1 for _, times in wrong if times > 1))
        equal(wrong[:20], [], f"{len(wrong)} tasks that were not completed once (number, times)")
        check(traffic.made / spent >= RATE * 0.6, "the machine is too slow for this load")
        equal(d.pending(), [])
        with redis.client() as r:
            consumers = r.call("XINFO", "CONSUMERS", "cb:requests:task", "workers")
        check(len(consumers) <= SLOTS, f"{len(consumers)} consumers")
        check(procs.alive(spared), "the worker that was spared is the same")
        gauges.judge()


if __name__ == "__main__":
    main(timeout=3 * SECONDS + 300)
