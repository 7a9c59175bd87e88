#!/usr/bin/env python3
"""herd.py: 500 clients that lose the same Redis at the same moment (row F37 of tests/results/faults.md): they come back spread out, and all of them.

What a client does first after a loss, and after each attempt that failed, is a pause with full jitter: common/connect.c. So
there are two questions: how many come at once when Redis is there again at once, and how many try at once while it is away."""

import json
import os
import socket
import subprocess
import threading
import time

from cbtest import *

COUNT = 500
MOST = 100  # connections in any WINDOW
WINDOW = 0.1
SPREAD_S = 5.0  # what the first pause of clients that only wait is drawn from, and later ones of all
CONFIG = {"domains": {"task": {"workers": 2}, "system": {"workers": 1}}, "redis": {"timeout_ms": 3000}}


def most_in_a_window(times):
    """The most of these moments that lie within WINDOW."""
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] < moment - WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


class Accepts(threading.Thread):
    """The moments at which Redis has accepted a connection, by its own count, which is looked at a hundred times a second. What
    came between two looks counts as come at the second; looks that were late are late by no more than they say."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.link, self.times, self.is_over = redis.client(), [], False
        self.late = 0.0
        self.start()

    def run(self):
        last, then = self._count(), time.monotonic()
        while not self.is_over:
            time.sleep(0.01)
            count, now = self._count(), time.monotonic()
            self.times += [now] * (count - last)
            self.late = max(self.late, now - then) if count > last else self.late
            last, then = count, now
        self.link.close()

    def _count(self):
        return int(self.link.info("stats")["total_connections_received"])

    def end(self):
        self.is_over = True
        self.join(10)
        return self.times


class Door(threading.Thread):
    """Stands where Redis was, and lets nobody in."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listener.settimeout(0.1)
        self.times, self.is_over = [], False
        self.start()

    def run(self):
        while not self.is_over:
            try:
                s, _ = self.listener.accept()
            except TimeoutError:
                continue
            self.times.append(time.monotonic())
            s.close()
        self.listener.close()

    def end(self):
        self.is_over = True
        self.join(10)
        return self.times


class Herd:
    """tests/t5/herd.c, all of whom only wait: each second one has a claim that waits, the others follow events. `redis`: one with a port."""

    def __init__(self, redis):
        self.redis = redis
        self.process = procs.start([os.path.join(procs.top_builddir(), "tests/t5/herd"), str(COUNT)], stdin=subprocess.PIPE,
                                   env={"HERD_URL": f"redis://127.0.0.1:{redis.port}"})
        self.wait_there()

    def there(self):
        with self.redis.client() as r:
            names = [dict(w.split("=", 1) for w in row.split() if "=" in w).get("name") for row in r.text("CLIENT", "LIST").splitlines()]
        return names.count("herd")

    def wait_there(self, timeout=60):
        """All are connected, and the claims wait."""
        wait_until(lambda: self.there() >= COUNT and waiting(self.redis) == COUNT // 2, timeout,
                   lambda: f"{COUNT} are there: {self.there()}, {waiting(self.redis)} wait", step=0.05)

    def end(self):
        self.process.stdin.close()
        equal(self.process.wait(20), 0, "nobody of them has given up")


def waiting(redis):
    with redis.client() as r:
        return r.call("HLEN", "cb:waiters")


def all_are_served(d, redis):
    """Each claim gets its task."""
    tasks = [{"text": f"for {i}"} for i in range(COUNT // 2)]
    for start in range(0, len(tasks), 50):
        d.caller(schemas=False).call("task.create_batch", {"tasks": tasks[start : start + 50]}, timeout=30)

    def claimed():
        with redis.client() as r:
            return r.call("ZCARD", "cb:queue:tasks:pending") == 0

    wait_until(claimed, 60, "each has its task", step=0.05)


def judge(times, began, name):
    times = sorted(times)
    check(times, "nobody came")
    most, last = most_in_a_window(times), times[-1] - began
    note(f"{name}: {len(times)} connections from {times[0] - began:.2f} s to {last:.2f} s, at most {most} in {WINDOW} s")
    tenths = [0] * (int(last) + 1)
    for t in times:
        tenths[int(t - began)] += 1
    note(f"  by second: {tenths}")
    figure("connects_in_100_ms", most)
    check(most < MOST, f"{most} connections in {WINDOW} s")
    return times


@case("500 clients lose their connections and Redis is there: they are all back soon, and never 100 in 100 ms")
def lost_for_a_moment():
    with PrivateRedis(tcp=True) as redis, Daemon(redis, config=CONFIG) as d:
        herd = Herd(redis)
        accepts = Accepts(redis)
        with redis.client() as r:
            began = time.monotonic()
            victims = [row.split()[0].split("=")[1] for row in r.text("CLIENT", "LIST").splitlines() if " name=herd " in row]
            r.pipeline([["CLIENT", "KILL", "ID", v] for v in victims])
            note(f"{len(victims)} connections killed in {time.monotonic() - began:.3f} s")
        herd.wait_there()
        times = judge(accepts.end(), began, "a moment")
        note(f"  the latest look was {accepts.late:.3f} s after the one before")
        check(times[-1] - times[0] > 0.9 * SPREAD_S, "spread over the time that the first pause is drawn from")
        all_are_served(d, redis)
        herd.end()


@case("Redis is away for ten seconds: attempts are spread over five, never 100 in 100 ms, and all come back")
def lost_for_a_while():
    with PrivateRedis(tcp=True, aof=True) as redis, Daemon(redis, config=CONFIG) as d:
        herd = Herd(redis)
        began = time.monotonic()
        redis.kill9()
        door = Door(redis.port)
        wait_until(lambda: time.monotonic() - began > 10, 15, "ten seconds", step=0.05)
        times = judge(door.end(), began, "away")
        check(len(times) >= COUNT, "each has tried")
        # From when each has drawn from the longest time they go on evenly: no second without its share.
        later = [t - began for t in times if 5 < t - began <= 10]
        share = [sum(5 + s < t <= 6 + s for t in later) for s in range(5)]
        check(min(share) > max(share) / 3, f"evenly, over five seconds: {share}")
        redis.start()
        back = time.monotonic()
        herd.wait_there()
        figure("herd_back_s", time.monotonic() - back)
        wait_until(lambda: d.client("status").returncode == 0, 20, lambda: f"healthy: {json.loads(d.client('status', '--json').stdout)['reasons']}")
        all_are_served(d, redis)
        herd.end()


if __name__ == "__main__":
    main(timeout=300 if FAULTS else None)
