#!/usr/bin/env python3
"""redis_data.py: what Redis holds is at stake, under load: it is killed, its power is cut, it comes back empty, its memory or its
disk is full (rows F13, F14, F21, F24 of tests/results/faults.md). Single steps of these are in tests/t2/weather.py and tests/t1/embedded.py."""

import os
import re
import subprocess
import threading
import time

from cbtest import *
from powercut import PowerCut

CONFIG = {
    "domains": {"task": {"workers": 4}, "system": {"workers": 2}, "hook": {"workers": 0}},
    "supervisor": {"restart_min_ms": 20, "restart_max_ms": 500},
    "task": {"backoff_ms": 100, "max_attempts": 20},
}
SLOTS = 6
LEASE = 3000
KILLS = 10 if FAULTS else 2
EVERY_S = 5.0 if FAULTS else 1.5
RATE = 190


def healthy(d):
    return d.client("status").returncode == 0


def pause(load, seconds):
    until = time.monotonic() + seconds
    wait_until(lambda: load.check() or time.monotonic() >= until, seconds + 5, "time", step=0.02)


def wall_ms():
    return int(time.time() * 1000)


# ---- F13 ----


def answers(d):
    try:
        with d.connect(timeout=1) as r:
            return r.call("PING") == b"PONG"
    except RespError:  # LOADING
        return False


def back_again(d, since_ms):
    """Redis answers again, then all is well again: s of the second after the first."""
    wait_until(lambda: answers(d), 15, "Redis is up", step=0.002)
    began = time.monotonic()
    wait_until(lambda: healthy(d), 15, lambda: f"healthy; {d.log_tail()}", step=0.01)
    took = time.monotonic() - began
    figure("redis_back_s", took)
    note(f"up {(wall_ms() - since_ms) / 1000 - took:.2f} s after the kill, healthy {took:.2f} s after that")
    check(took <= 4, "all is well again")  # 2 s on a quiet machine: the campaign looks at the median


def killed(fsync):
    with Daemon(config=merge(CONFIG, {"redis": {"appendfsync": fsync}})) as d:
        losses = []
        with Load(d, tasks=int(KILLS * EVERY_S * RATE), agents=5, producers=3, rate=RATE, lease_ms=LEASE,
                  is_lossy=fsync == "everysec") as load:
            for _ in range(KILLS):
                pause(load, EVERY_S)
                pid = wait_until(d.redis_pid, 10, "a redis-server")
                losses.append(wall_ms())
                procs.kill(pid)
                wait_until(lambda p=pid: d.redis_pid() not in (None, p), 10, "the next one")
                back_again(d, losses[-1])
            load.finish(60)
        equal(d.events("child_died"), [], "no worker dies of it")
        load.verdict(60, slots=SLOTS, losses=losses if fsync == "everysec" else ())


@case("kill -9 of Redis again and again, appendfsync always: nothing acknowledged is lost, nothing twice", faults="F13")
def always():
    killed("always")


@case("kill -9 of Redis again and again, appendfsync everysec: at most the last two seconds before a kill, no number twice",
      faults="F13")
def everysec():
    killed("everysec")


def power_cuts(fsync):
    """Everything stops at once, again and again, at a random moment; half of the cuts at the last fsynced byte, half at any."""
    dice, cut, losses, cut_off = rng(f"power-{fsync}"), PowerCut(fsync), [], 0
    rounds = 8 if FAULTS else 2
    with cut.redis as redis, Daemon(redis, config=CONFIG) as d:
        with Load(d, tasks=int(rounds * 3.5 * RATE) if FAULTS else 400, agents=4, producers=3, rate=RATE, lease_ms=LEASE,
                  is_lossy=fsync == "everysec") as load:
            for turn in range(rounds):
                pause(load, dice.uniform(2.5, 5.0) if FAULTS else 1.0)
                losses.append(wall_ms())
                d.orphans.clear()
                redis.sigstop()  # so that nobody is told anything between the kills
                d.kill_tree()
                redis.kill9()
                kept, lost = cut.cut(0 if turn % 2 == 0 else dice.random())
                note(f"{kept} bytes kept, {lost} cut off")
                cut_off += lost
                redis.start()
                d.start(ready=False)
                wait_until(lambda: healthy(d), 20, lambda: f"ready again; {d.log_tail()}")
            load.finish(90)
        if fsync == "everysec":
            check(cut_off > 0, "something was not on disk")
        load.verdict(90, slots=SLOTS, losses=losses if fsync == "everysec" else ())
        d.fds_at_start = None


@case("power cuts, appendfsync always: nothing acknowledged is lost, nothing is done twice", faults="F13")
def power_always():
    power_cuts("always")


@case("power cuts, appendfsync everysec: the loss is at most two seconds of acknowledgements; no id, fence or epoch comes twice",
      faults="F13")
def power_everysec():
    power_cuts("everysec")


# ---- F14 ----


class Numbers:
    """What must never be handed out twice, collected while tasks are made, claimed and lost."""

    def __init__(self, d):
        self.d, self.ids, self.fences, self.stop, self.problems = d, [], [], threading.Event(), []
        self.threads = [threading.Thread(target=self.guarded, args=(i,), daemon=True) for i in range(3)]
        for t in self.threads:
            t.start()

    def guarded(self, i):
        try:
            self.work(i)
        except BaseException as problem:  # pylint: disable=broad-except
            self.problems.append(problem)

    def work(self, i):
        c = self.d.caller(schemas=False, actor=f"n{i}")
        while not self.stop.is_set():
            reply = c.insist("task.create", {"text": "x"}, each=0.5)
            check(reply.ok, short(reply.raw))
            self.ids.append(reply.result["id"])
            for task in c.insist("task.claim", {"workerId": f"n{i}", "maxTasks": 3}, each=0.5).result["tasks"]:
                self.fences.append(re.match(r"\d+", task["lease_token"]).group())
                reply = c.insist("task.complete", {"id": task["id"], "lease_token": task["lease_token"]}, each=0.5)
                check(reply.ok or reply.code in (-32004, -32005), short(reply.raw))
        c.close()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(20)
        if self.problems:
            raise self.problems[0]


def most_in_a_second(lines):
    seconds = {}
    for line in lines:
        stamp = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line)
        seconds[stamp and stamp.group()] = seconds.get(stamp and stamp.group(), 0) + 1
    return max(seconds.values(), default=0)


def groups_are_back(redis):
    with redis.client() as r:
        for domain in ("task", "system", "hook"):
            key = f"cb:requests:{domain}"
            if not r.call("EXISTS", key) or not r.call("XINFO", "GROUPS", key):
                return False
        return r.call("EXISTS", "cb:instance:test-host") and r.hash("cb:leader:current").get("epoch")


@case("Redis comes back empty, and is emptied, under load: back within 5 s, quiet, and no id, fence or epoch comes twice", faults="F14")
def emptied():
    with PrivateRedis() as redis, Daemon(redis, config=merge(CONFIG, {"domains": {"hook": {"workers": 1}}})) as d:
        numbers, epochs = Numbers(d), [int(groups_are_back(redis))]
        for turn in range(8 if FAULTS else 2):
            seen = len(numbers.ids)
            wait_until(lambda n=seen: numbers.problems or len(numbers.ids) > n + 100, 20, "work goes on")
            if turn % 2 == 0:
                redis.restart()
            else:
                with redis.client() as r:
                    r.call("FLUSHALL")
                    r.call("SCRIPT", "FLUSH")
                    r.call("FUNCTION", "FLUSH")
            began = time.monotonic()
            epochs.append(int(wait_until(lambda: groups_are_back(redis), 5, "groups, registration and leader are back")))
            wait_until(lambda: healthy(d), 5, lambda: f"healthy; {d.log_tail()}")
            figure("emptied_back_s", time.monotonic() - began)
        numbers.end()
        for name in ("ids", "fences"):
            given = getattr(numbers, name)
            equal(len(set(given)), len(given), name)
        equal(epochs, sorted(set(epochs)), "epochs")
        errors = most_in_a_second(line for line in d.log().splitlines() if re.search(r"Z error ", line))
        note(f"{len(numbers.ids)} ids, {len(numbers.fences)} fences, {len(epochs)} epochs; {errors} error lines in the worst second")
        check(errors < 10, f"{errors} error lines in a second")
        equal(d.events("child_died"), [])


# ---- F21 ----


class Work:
    """`claudebench work`: what real workers do about a Redis that takes no plain writes."""

    def __init__(self, d, jobs=4):
        self.log = f"{procs.subfolder('w')}/log"
        with open(self.log, "wb") as log:
            self.process = procs.start([procs.binary("claudebench"), "work", "--jobs", str(jobs), "--", "true"],
                                       env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=log, stderr=log)

    def end(self):
        self.process.terminate()
        with open(self.log, encoding="utf-8", errors="replace") as f:
            equal(self.process.wait(20), 0, f.read()[-2000:])


def fill(c, size, most=4000):
    """Creates tasks until one is refused: (ids, what refused)."""
    ids = []
    for _ in range(most):
        try:
            reply = c.ask("task.create", {"text": "ballast", "payload": "x" * size}, timeout=20)
        except RespError as problem:
            return ids, problem.text
        except OSError as problem:  # Redis ends when it cannot write and appendfsync is always
            c.drop()
            return ids, repr(problem)
        if not reply.ok:
            equal(reply.code, -32007, short(reply.raw))
            check(reply.data["retry_after_ms"] > 0, reply.data)
            return ids, reply.error["message"]
        ids.append(reply.result["id"])
    fail(f"{most} tasks of {size} bytes, and no refusal")


@case("memory is filled by tasks: creating is refused in words, work is claimed and finished all the same, and frees it", faults="F21")
def full_memory():
    with PrivateRedis(maxmemory="48mb") as redis, Daemon(redis, config=merge(CONFIG, {"task": {"keep_finished": 10, "keep_finished_min_ms": 0}})) as d:
        c = d.caller()
        ids, why = fill(c, 200000)
        note(f"full after {len(ids)} tasks: {why}")
        check("memory" in why, why)
        wait_until(lambda: not healthy(d), 10, "status says so")
        with redis.client() as r:  # to the brim: now not even an XADD is taken
            r.call("CONFIG", "SET", "maxmemory", int(r.info("memory")["used_memory"]) - 100000)
            try:
                c.send("task.create", {"text": "y"})
                fail("a plain XADD was taken")
            except RespError as problem:
                equal(problem.code, "OOM")
        done = d.client("task", "add", "no room")
        note(f"claudebench task add: {done.returncode} {done.stderr.decode().strip()}")
        equal(done.returncode, 75, done.stderr)
        work = Work(d)

        def finished():
            with redis.client() as r:
                return r.call("ZCARD", "cb:queue:tasks:pending") + r.call("ZCARD", "cb:leases") == 0

        wait_until(finished, 60, lambda: f"all is worked off: {d.client('task', 'list').stdout[-800:]}", step=0.05)
        work.end()
        began = time.monotonic()
        check(c.insist("task.create", {"text": "freed"}, timeout=15).ok, "taken again")
        wait_until(lambda: healthy(d), 10, "healthy again")
        figure("memory_freed_s", time.monotonic() - began)
        equal(d.events("child_died"), [])


# ---- F24 ----


class SmallDisk:
    """A file system of so many bytes."""

    def __init__(self, size):
        if os.geteuid() != 0:
            raise Skip("not root: no tmpfs")
        self.path = procs.subfolder("t")
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", self.path]
        if subprocess.run(words, check=False, capture_output=True).returncode:
            raise Skip("no tmpfs may be mounted here")

    def grow(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True)

    def fill(self):
        with open(f"{self.path}/filler", "wb", buffering=0) as f:
            try:
                while f.write(b"x" * 4096):
                    pass
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=False)


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        words = f.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def disk_full(fsync):
    seconds = 8 if FAULTS else 2
    with SmallDisk("20m") as disk:
        with Daemon(start=False, config=merge(CONFIG, {"redis": {"appendfsync": fsync, "dir": f"{disk.path}/redis"},
                                                       "supervisor": {"restart_max_ms": 2000}})) as d:
            d.redis_dir = f"{disk.path}/redis"
            d.start()
            c = d.caller()
            ids, why = fill(c, 100000)
            note(f"full after {len(ids)} tasks: {why}")
            disk.fill()  # to the last byte
            wait_until(lambda: not healthy(d), 10, "status says so")
            shown = d.client("status").stdout.decode()
            note(f"status: {shown.splitlines()[0:3]}")
            lines, before = len(d.log().splitlines()), {p: cpu_s(p) for p in [d.pid, *d.workers()]}
            created = d.client("task", "add", "no room", timeout=60)
            note(f"claudebench task add: {created.returncode} {created.stderr.decode().strip()}")
            check(created.returncode in (69, 75), created.stderr)
            until = time.monotonic() + seconds
            wait_until(lambda: time.monotonic() >= until, seconds + 5, "time", step=0.1)
            for pid, was in before.items():
                check(procs.alive(pid), f"{pid} is gone\n{d.log_tail()}")
                check(cpu_s(pid) - was < 0.2 * seconds + 0.3, f"{procs.describe(pid)}: {cpu_s(pid) - was:.2f} s of CPU in {seconds} s")
            grown = len(d.log().splitlines()) - lines
            check(grown < 10 * seconds + 20, f"{grown} lines\n{d.log_tail(40)}")
            disk.grow("200m")
            began = time.monotonic()
            wait_until(lambda: healthy(d), 20, lambda: f"healthy again; {d.log_tail()}")
            c.drop()
            check(c.insist("task.create", {"text": "room"}, timeout=20).ok, "taken again")
            figure("disk_freed_s", time.monotonic() - began)
            equal([i for i in ids if not c.insist("task.get", {"id": i}).ok], [], "all that was acknowledged is there")
            equal(d.events("child_died"), [])
            d.stop()


@case("the disk of Redis is full, appendfsync everysec: creating is refused, no crash, no busy loop, and all of it goes on with room",
      faults="F24")
def disk_everysec():
    disk_full("everysec")


@case("the disk of Redis is full, appendfsync always: the same, though Redis itself ends for it", faults="F24")
def disk_always():
    disk_full("always")


@case("the disk of the log is full: service goes on; with room again lines are whole", faults="F24")
def log_disk():
    with SmallDisk("256k") as disk:
        path = f"{disk.path}/log"
        with Daemon(config=merge(CONFIG, {"log": {"destination": path, "level": "debug"}})) as d:
            c = d.caller()
            disk.fill()
            for _ in range(3):
                procs.kill(d.workers("task")[0])
                wait_until(lambda: len(d.workers()) == SLOTS, 10, "replaced")
            for i in range(200):
                check(c.ask("task.create", {"text": f"t{i}"}).ok, "served")
            equal(os.statvfs(disk.path).f_bavail, 0, "it is full")
            os.remove(f"{disk.path}/filler")
            disk.grow("4m")
            size = os.path.getsize(path)
            procs.kill(d.workers("task")[0])
            wait_until(lambda: os.path.getsize(path) > size + 200, 10, "it is written again")
            wait_until(lambda: healthy(d), 10, "healthy")
            d.stop()
        with open(path, encoding="utf-8") as f:
            text = f.read()
        broken = [line for line in text.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (error|warn|info|debug) claudebench", line)
                  or line.count(" event=") != 1]
        check(len(broken) <= 1, f"{len(broken)} broken lines: {broken[:5]}")
        check(text.endswith("\n"), "whole")


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=900)
