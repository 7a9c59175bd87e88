#!/usr/bin/env python3
"""wire.py: connections that are cut and torn, scripts that Redis forgets, a Redis that is busy or loading, under load, with the
oracle (F15, F20, F23, F25).

The short forms, each fault at a chosen moment, are in tests/t2/weather.py.
"""

import glob
import json
import os
import re
import subprocess
import threading
import time

from cbtest import *
from proxy import Proxy

CONFIG = {
    "domains": {"task": {"workers": 3}, "system": {"workers": 2}},
    "task": {"backoff_ms": 100, "max_attempts": 20},
}
SLOTS = 5
LEASE = 3000
AOF_BYTES = 1 << 30
LOADING_S = 5  # so long at least, else the file was too small
CPU_BOUND = 0.5  # of a second's CPU time that a daemon with its workers may use in a second in which Redis answers nobody


def is_healthy(d):
    return d.client("status").returncode == 0


def log_rate(d, since):
    """Most log lines in any one second after the line number `since`."""
    seconds = {}
    for line in d.log().splitlines()[since:]:
        stamp = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line)
        seconds[stamp and stamp.group()] = seconds.get(stamp and stamp.group(), 0) + 1
    return max(seconds.values(), default=0)


def quiet_log(d, since):
    check(log_rate(d, since) <= 40, f"{log_rate(d, since)} log lines in one second:\n{d.log_tail(60)}")


def lines(d):
    return len(d.log().splitlines())


def cpu_s(pids):
    total = 0.0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            words = f.read().rpartition(")")[2].split()
        total += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return total


def kinds(d):
    return [e["type"].decode() for _, e in d.stream("stream:events")]


def again_and_again(load, seconds, every, hit):
    """hit() every so many seconds while the load runs; how often it was."""
    until, hits = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        hit(hits)
        hits += 1
        due = time.monotonic() + every
        wait_until(lambda t=due: load.check() or time.monotonic() >= t, every + 5, "time")
    return hits


# ---- F15 ----


class Follower:
    """A `claudebench events --follow` from the beginning, its lines in a file."""

    def __init__(self, d):
        self.path = f"{procs.subfolder('f')}/events"
        with open(self.path, "wb") as out, open(f"{self.path}.said", "wb") as said:
            self.process = procs.start([procs.binary("claudebench"), "events", "--json", "--follow", "--since", "0"],
                                       env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=out, stderr=said)

    def ids(self):
        with open(self.path, encoding="utf-8") as f:
            return [json.loads(line)["event"] for line in f.read().rpartition("\n")[0].splitlines()]

    def state(self):
        with open(f"{self.path}.said", encoding="utf-8", errors="replace") as f:
            return f"exit status {self.process.poll()}, {len(self.ids())} events, it said:\n{f.read()[-3000:]}"

    def end(self):
        self.process.terminate()
        self.process.wait(10)


@case("connections are killed by Redis, cut, and torn in the middle of requests and replies, every 200 ms: one task for each idem",
      faults="F15")
def resets():
    with PrivateRedis(tcp=True) as redis, redis.client() as admin:
        proxy = Proxy(("127.0.0.1", redis.port), tcp=True, draw=rng("tears"))
        with Daemon(redis, config=merge(CONFIG, {"redis": {"url": proxy.url}}), start=False) as d:
            # Producers and agents as well: it is they who must repeat what they do not know the end of.
            direct, d.connect = d.connect, lambda timeout=10.0: Resp(proxy.where, timeout=timeout)
            d.start()
            pids, mark = d.workers(), lines(d)
            follower = Follower(d)
            # One whose first connection is cut says that there is no Redis, and ends.
            wait_until(follower.ids, 10, lambda: f"the follower follows: {follower.state()}")

            def hit(n):
                # What was torn last time has long met its request or reply.
                kind = n % 5
                if kind < 2:
                    admin.call("CLIENT", "KILL", "TYPE", ("normal", "pubsub")[kind], "SKIPME", "yes")
                elif kind < 4:
                    proxy.tear(("request", "reply")[kind - 2])
                else:
                    proxy.reset()

            with Load(d, tasks=1500, agents=4, producers=3, rate=110, lease_ms=LEASE) as load:
                hits = again_and_again(load, 12, 0.2, hit)
                torn = proxy.torn
                load.finish(60)
            d.connect = direct
            load.verdict(60, slots=SLOTS)
            note(f"{hits} faults, {torn} connections torn in the middle, {d.duplicates()} repeats recognized")
            check(torn >= 20, f"only {torn} torn in the middle")
            wait_until(lambda: is_healthy(d), 15, "healthy again")
            want = [i for i, _ in d.stream("stream:events")]
            wait_until(lambda: len(follower.ids()) >= len(want), 20, lambda: f"the follower has all: {follower.state()}")
            equal(follower.ids()[: len(want)], want, "each event once, in order, to who follows")
            follower.end()
            equal(d.workers(), pids, "no worker died")
            check(lines(d) - mark < 12 * 40, f"{lines(d) - mark} log lines:\n{d.log_tail(60)}")
        proxy.end()


# ---- F20 ----


def stalled(d, redis, proxy, load, what, *command):
    """Redis runs a command of somebody else, which takes seconds: nobody is given up for it, nobody storms."""
    with redis.client(timeout=30) as other, redis.client() as r:
        wait_until(lambda: load.acked > 100, 10, "under load")
        since = int(r.call("TIME")[0])
        mark, pids, connections = lines(d), d.workers(), proxy.accepted
        tree = [d.pid, *pids]
        cpu, began = cpu_s(tree), time.monotonic()
        other.send(*command)
        other.read()
        took = time.monotonic() - began
        used = cpu_s(tree) - cpu
        check(d.caller(schemas=False).insist("system.get_state", timeout=30, each=0.5).ok, "served")
        wait_until(lambda: is_healthy(d), 10, "healthy again")
        back = time.monotonic() - began - took
        made = proxy.accepted - connections
    note(f"{what} for {took:.1f} s: back after {back:.2f} s, {used:.2f} s of CPU meanwhile, {made} new connections")
    figure("busy_over_s", back)
    equal([e["type"] for i, e in d.stream("stream:events") if int(i.split("-")[0]) >= since * 1000 and e["type"] in
           (b"task.lease_expired", b"instance.failed", b"task.reassigned")], [], "for a stall nobody is given up")
    equal(d.workers(), pids, "the same workers")
    check(used < CPU_BOUND * took, f"{used:.2f} s of CPU in {took:.1f} s without an answer")
    # Each process has two connections at most, and pauses that grow up to seconds.
    check(made <= len(tree) * 2 * (took + back), f"{made} new connections")
    quiet_log(d, mark)


def stall_under_load(what, *command):
    with PrivateRedis() as redis:
        proxy = Proxy(redis.socket)  # counts the daemon's connections; the load has its own way
        with Daemon(redis, config=merge(CONFIG, {"redis": {"url": proxy.url}})) as d:
            with Load(d, tasks=700, agents=4, producers=2, rate=80, lease_ms=LEASE) as load:
                stalled(d, redis, proxy, load, what, *command)
                load.finish(60)
            load.verdict(60, slots=SLOTS)
        proxy.end()


@case("Redis sleeps for 5 s: leases do not expire for it, no storm, back within 2 s", faults="F20")
def asleep():
    stall_under_load("DEBUG SLEEP", "DEBUG", "SLEEP", "5")


@case("a stranger's script keeps Redis busy for 10 s: leases do not expire for it, no storm, back within 2 s", faults="F20")
def busy():
    stall_under_load("a script", "EVAL", "local a = redis.call('TIME') repeat local b = redis.call('TIME') "
                     "until (b[1] - a[1]) * 1000000 + b[2] - a[2] > 10000000 return 1", 0)


# ---- F23 ----


@case("SCRIPT FLUSH and FUNCTION FLUSH every 100 ms: nothing lost, nothing twice, nobody restarted", faults="F23")
def flushes():
    with PrivateRedis() as redis, redis.client() as admin, Daemon(redis, config=CONFIG) as d:
        pids, mark = d.workers(), lines(d)

        def hit(n):
            admin.call(*(("SCRIPT", "FLUSH", ("SYNC", "ASYNC")[n % 4 // 2]) if n % 2 else ("FUNCTION", "FLUSH")))

        with Load(d, tasks=2000, agents=4, producers=3, rate=150, lease_ms=LEASE) as load:
            note(f"{again_and_again(load, 12, 0.1, hit)} flushes")
            load.finish(60)
        load.verdict(60, slots=SLOTS)
        equal(d.workers(), pids, "no worker died")
        wait_until(lambda: is_healthy(d), 5, "healthy")
        check(lines(d) - mark < 12 * 40, f"{lines(d) - mark} log lines:\n{d.log_tail(60)}")


# ---- F25 ----


def lengthen(folder, size):
    """Makes the append-only file of a server that does not run so long that it takes seconds to load: the same foreign keys again
    and again, so that it needs no more memory. How many MB it is."""
    path = sorted(glob.glob(f"{folder}/appendonlydir/*.incr.aof"))[-1]
    block = b"".join(encode(["SET", f"stranger:{n}", "x" * 40]) for n in range(2000))
    with open(path, "ab") as f:
        f.write(encode(["SELECT", "0"]))
        while f.tell() < size:
            f.write(block * 20)
        return f.tell() >> 20


def while_loading(d, began):
    """Until it is served again: (seconds of LOADING as the status told, seconds from the end of that to healthy)."""
    saw = threading.Event()
    first = last = None
    while not saw.is_set():
        check(time.monotonic() - began < 110, f"still not healthy:\n{d.log_tail()}")
        done = d.client("status", "--json")
        now = json.loads(done.stdout) if done.stdout else {}
        if now.get("redis", {}).get("state") == "loading":
            first, last = first or time.monotonic(), time.monotonic()
            check("loading" in " ".join(now["reasons"]), f"the reason is told: {now['reasons']}")
        if now.get("status") == "healthy":
            saw.set()
    check(first is not None, "loading was seen")
    note(f"loading for {last - first:.1f} s, healthy {time.monotonic() - last:.2f} s after it")
    back = time.monotonic() - last
    check(last - first >= LOADING_S, f"only {last - first:.1f} s of LOADING: AOF_BYTES is too small for this machine")
    figure("redis_back_s", back)
    check(back <= 5, f"healthy {back:.2f} s after it was loaded")


@case("an external Redis that is away and then loads 1 GB: waited for, quietly, by daemons that run and by one that starts", faults="F25")
def loading():
    with PrivateRedis(aof=True) as redis:
        a = Daemon(redis, config=CONFIG, instance="host-a")
        c = a.caller()
        rids = c.send_many([("task.create", {"text": f"t{i}"}, {}) for i in range(300)])
        ids = [r.result["id"] for r in c.wait_all(rids, 20)]
        pids, mark = a.workers(), lines(a)
        redis.stop()
        megabytes = lengthen(redis.dir, AOF_BYTES)
        wait_until(lambda: a.status()["redis"]["state"] == "down", 12, "noticed")
        b = Daemon(redis, config=CONFIG, instance="host-b", ready=False)
        tree = [a.pid, *pids]
        cpu, began = cpu_s(tree), time.monotonic()
        redis.start(wait=False)
        while_loading(a, began)
        spent = time.monotonic() - began
        used = cpu_s(tree) - cpu
        note(f"{megabytes} MB; {used:.2f} s of CPU in {spent:.1f} s")
        check(used < CPU_BOUND * spent, "no hot loop")
        equal(a.workers(), pids, "the same workers")
        b.wait_ready(10)
        quiet_log(a, mark)
        quiet_log(b, 0)
        c.drop()
        for i in ids:
            equal(c.call("task.get", {"id": i})["status"], "pending")
        check(c.ask("task.create", {"text": "after"}).ok, "served")
        a.stop()
        b.stop()


@case("the embedded Redis has half a GB to load: the daemon waits for it, says so, and starts no second one", faults="F25")
def embedded_loading():
    d = Daemon(config=CONFIG)
    c = d.caller()
    made = c.call("task.create", {"text": "before"})["id"]
    d.stop()
    lengthen(d.redis_dir, AOF_BYTES // 2)
    mark = lines(d)
    d.start(ready=False)
    began = time.monotonic()
    d.wait_runs(10)
    first = wait_until(d.redis_pid, 10, "a server")
    while_loading(d, began)
    equal(d.redis_pid(), first, "the same server")
    equal(d.caller().call("task.get", {"id": made})["status"], "pending")
    quiet_log(d, mark)
    d.stop()


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=600)
