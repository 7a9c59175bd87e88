#!/usr/bin/env python3
"""shortages.py: forks, threads, descriptors and memory that run out, under load, and are there again (rows F09, F10 of tests/results/faults.md).

Forks and allocations fail by failshim.c, the rest by limits of the kernel that are set on running processes.
"""

import os
import resource
import subprocess
import time

from cbtest import *
from shortage import Shortage

CONFIG = {
    "domains": {"task": {"workers": 4}, "system": {"workers": 2}, "hook": {"workers": 0}},
    # The pauses of a production system: what a shortage leaves behind must not last as long.
    "supervisor": {"restart_min_ms": 100, "restart_max_ms": 60000},
    "task": {"backoff_ms": 100, "max_attempts": 20},
    "redis": {"appendfsync": "always"},
}
SLOTS = 6
LONG_S = 20 if FAULTS else 6


def healthy(d):
    return d.client("status").returncode == 0


def pause(load, seconds):
    until = time.monotonic() + seconds
    wait_until(lambda: load.check() or time.monotonic() >= until, seconds + 5, "time", step=0.02)


def all_live_well(d):
    """Nobody is young, so that only what fails from now on brakes anybody."""
    wait_until(lambda: healthy(d) and len(d.workers()) == SLOTS, 70, "all are back")
    time.sleep(5.2)  # CHILD_HEALTHY_MS


def recovers(d, what):
    began = time.monotonic()
    wait_until(lambda: healthy(d) and len(d.workers()) == SLOTS, 30, lambda: f"healthy again; {d.log_tail()}")
    took = time.monotonic() - began
    figure(f"{what}_cured_s", took)
    check(took < 5, f"{took:.1f} s after the cure\n{d.log_tail()}")


def check_lines(d, mark, seconds, what):
    """One line for each try of each slot, and their pauses double; Redis, status and the rest say a few words, too."""
    lines = d.log().splitlines()[mark:]
    failed = [s for s in lines if "event=child_start_failed" in s]
    allowed = (SLOTS + 1) * (6 + seconds / 2)
    note(f"{what}: {len(failed)} failed starts in {seconds:.0f} s, {len(lines)} lines")
    check(failed, "they are told")
    check(len(failed) <= allowed, f"{len(failed)} lines of failed starts, {allowed:.0f} allowed:\n" + "\n".join(failed[-30:]))
    check(len(lines) <= 3 * allowed + 40, f"{len(lines)} lines:\n" + "\n".join(lines[-60:]))


# ---- F09 ----


@case("every second fork fails while workers and Redis are killed, then every one: told once a try, no exit, cured within 5 s",
      faults="F09")
def forks():
    dice, few = rng("forks"), Shortage()
    with Daemon(env=few.env, config=CONFIG) as d:
        with Load(d, tasks=4000, agents=4, producers=2, rate=60, lease_ms=3000) as load:
            pause(load, 1)
            few.set(forks=500)
            for turn in range(12):
                pause(load, dice.uniform(0.3, 1.0))
                if turn % 6 == 5:
                    procs.kill(d.redis_pid() or 0x7FFFFFF)
                elif d.workers():
                    procs.kill(dice.choice(sorted(d.workers())))
            check(few.failed > 0, "forks failed")
            few.set()
            all_live_well(d)
            mark = len(d.log().splitlines())
            few.set(forks=1000)
            for pid in d.workers():
                procs.kill(pid)
            procs.kill(d.redis_pid())
            wait_until(lambda: not healthy(d), 10, "status says so")
            pause(load, LONG_S)
            equal(d.workers(), [])
            check_lines(d, mark, LONG_S, "no fork succeeds")
            few.set()
            recovers(d, "forks")
            load.producing = False  # it has seen enough
            load.tasks = load.acked
            load.finish(60)
        figure("failed_forks", few.failed)
        load.verdict(60, slots=SLOTS)


def another_user():
    """What runs a command as somebody who has no other processes; his folder is to be handed to him."""
    if os.geteuid() != 0:
        raise Skip("not root: no user without processes to be")
    words = ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"]
    if subprocess.run([*words, procs.binary("claudebenchd"), "--version"], capture_output=True, check=False).returncode:
        raise Skip("setpriv is missing, or another user may not run what was built here")
    os.chmod(procs.folder(), 0o711)
    return words


def limit_processes(words, d, most):
    """As that user: root in a container need not have the right to."""
    done = procs.run([*words, "prlimit", f"--pid={d.pid}", f"--nproc={'unlimited' if most == resource.RLIM_INFINITY else most}:"])
    equal(done.returncode, 0, done.stderr)


@case("RLIMIT_NPROC is used up: told, no exit, what there is works on; cured within 5 s", faults="F09")
def process_limit():
    words = another_user()
    d = Daemon(start=False, config=CONFIG)
    os.chown(d.dir, 61234, 61234)
    d.inside = words
    os.makedirs(d.redis_dir)
    os.chown(d.redis_dir, 61234, 61234)
    with d.start():
        all_live_well(d)
        c = d.caller()
        mark = len(d.log().splitlines())
        before = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        limit_processes(words, d, 1)
        for pid in d.workers("task"):
            procs.kill(pid)
        # What is bound to Redis works on: a task waits for the workers, the others are served.
        rid = c.send("task.create", {"text": "x"})
        until = time.monotonic() + LONG_S
        while time.monotonic() < until:
            check(c.call("system.get_state") is not None, "system is served")
            equal(d.workers("task"), [])
            time.sleep(0.2)  # paces the questions
        check_lines(d, mark, LONG_S, "no process is allowed")
        limit_processes(words, d, before)
        recovers(d, "processes")
        check(c.wait(rid).ok, "the task")


@case("a start without forks and threads: it stays, says so, and is ready within 5 s once there are some", faults="F09")
def forkless_start():
    few = Shortage()
    few.set(forks=1000)
    with Daemon(env=few.env, config=CONFIG, ready=False) as d:
        wait_until(lambda: len(d.events("child_start_failed")) >= 2 * SLOTS, 20, "tried again")
        check(d.running(), d.log_tail())
        check("no thread" in d.status()["audit"]["error"], d.status()["audit"])
        few.set()
        recovers(d, "start")
        wait_until(lambda: d.status()["audit"]["state"] == "ok", 5, "the audit file is written")
        check(d.caller().ask("task.create", {"text": "x"}).ok, "served")


# ---- F10 ----

NOMEM = 71


def respawn(d):
    """As a service manager would."""
    if not d.running():
        d.orphans.clear()
        d.start(ready=False)


def check_deaths(d):
    """Whoever has no memory says so and leaves; nobody crashes."""
    for death in d.events("child_died"):
        check(death["how"] in (f'"exit {NOMEM}"', '"signal 9"'), f"{death}\n{d.log_tail()}")


@case("allocations fail at random in workers under load: they end with 71 and are replaced, nothing is lost or doubled", faults="F10")
def workers_without_memory():
    few = Shortage(only="claudebench-worker")
    # Young deaths are the point: they must not be braked for long.
    with Daemon(env=few.env, config=merge(CONFIG, {"supervisor": {"restart_max_ms": 500}})) as d:
        with Load(d, tasks=150 * LONG_S, agents=4, producers=2, rate=150, lease_ms=3000) as load:
            few.set(allocations=60)
            pause(load, LONG_S)
            few.set()
            load.finish(60)
        deaths = len(d.events("child_died"))
        figure("deaths", deaths)
        check(deaths > 0 and few.failed > 0, f"{deaths} deaths, {few.failed} failed allocations")
        load.verdict(60, slots=SLOTS)
        check_deaths(d)
        wait_until(lambda: healthy(d), 20, "healthy")


@case("a request for which there is never enough memory: a dead letter in the end, those beside it are served", faults="F10")
def too_large():
    few = Shortage(only="claudebench-worker")
    with Daemon(env=few.env, config=merge(CONFIG, {"supervisor": {"restart_max_ms": 500}})) as d:
        c = d.caller()
        few.set(above=150000)
        requests = [("task.create", {"text": f"t{i}", "payload": "x" * (200000 if i == 50 else 100)}, {}) for i in range(100)]
        replies = c.wait_all(c.send_many(requests), 30)
        equal([i for i, r in enumerate(replies) if not r.ok], [50])
        equal(replies[50].code, -32603)
        equal(len(d.stream("stream:dead")), 1)
        deaths = len(d.events("child_died"))
        figure("deaths", deaths)
        check(deaths <= 12, f"{deaths} deaths: ten redeliveries, and those who had it in hand first")
        check_deaths(d)


@case("allocations fail at random in the supervisor: it ends with 71, and the next one goes on", faults="F10")
def supervisor_without_memory():
    few = Shortage(only="claudebenchd")
    codes = []
    with PrivateRedis() as redis, Daemon(redis, env=few.env, config=CONFIG) as d:
        with Load(d, tasks=60 * LONG_S, agents=3, producers=2, rate=60, lease_ms=3000) as load:
            # json-c 0.16 itself does not survive that the name of a member of what it parses ("cmd") cannot be copied.
            few.set(allocations=200, least=16)
            until = time.monotonic() + LONG_S
            while time.monotonic() < until:
                load.check()
                if not d.running():
                    codes.append(d.process.returncode)
                    respawn(d)
                procs.run([procs.binary("claudebench"), "status"], env={"CLAUDEBENCH_CONFIG": d.config_path})
                time.sleep(0.02)  # paces the questions
            few.set()
            if not d.running():
                codes.append(d.process.returncode)
            respawn(d)
            wait_until(lambda: healthy(d), 30, "healthy")
            load.finish(60)
        note(f"ends: {codes}; {few.failed} failed allocations")
        figure("supervisor_ends", len(codes))
        said = [line for line in d.log().splitlines() if "ssertion" in line or "corrupted" in line]
        check(codes and set(codes) == {NOMEM}, f"{codes} {said}")
        load.verdict(60, slots=SLOTS)


@case("descriptors run out in the supervisor and in workers under load: no crash, no hot loop, what is open works on", faults="F10")
def descriptors():
    with PrivateRedis() as redis, Daemon(redis, config=CONFIG) as d:
        with Load(d, tasks=100 * LONG_S, agents=4, producers=2, rate=100, lease_ms=3000) as load:
            all_live_well(d)
            mark, before = len(d.log().splitlines()), resource.getrlimit(resource.RLIMIT_NOFILE)
            for pid in [d.pid, *d.workers()]:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
            for pid in d.workers("task")[:2]:
                procs.kill(pid)
            done, cpu = load.completed, cpu_s(d.pid)
            pause(load, LONG_S / 2)
            check(load.completed > done, "what is connected works on")
            with redis.client() as r:  # nobody of ours comes back
                r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            pause(load, LONG_S / 2)
            share = (cpu_s(d.pid) - cpu) / LONG_S
            check(d.running(), d.log_tail())
            check(share < 0.2, f"{100 * share:.0f} % CPU")
            check_lines(d, mark, LONG_S, "no descriptor is to be had")
            for pid in [d.pid, *d.workers()]:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            recovers(d, "descriptors")
            load.finish(60)
        load.verdict(60, slots=SLOTS)
        check_deaths(d)


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        words = f.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def vm_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[0]) * resource.getpagesize()


@case("RLIMIT_AS is reached in supervisor and workers under large requests: whoever cannot go on ends with 71, nothing is lost",
      faults="F10")
def address_space():
    with PrivateRedis() as redis, Daemon(redis, config=CONFIG) as d:
        with Load(d, tasks=60 * LONG_S, agents=3, producers=2, rate=60, lease_ms=3000) as load:
            pause(load, 1)
            before = resource.getrlimit(resource.RLIMIT_AS)
            for pid in [d.pid, *d.workers()]:
                resource.prlimit(pid, resource.RLIMIT_AS, (vm_bytes(pid) + 65536, before[1]))
            c, until, n = d.caller(schemas=False), time.monotonic() + LONG_S, 0
            while time.monotonic() < until:
                large = []
                for _ in range(3):
                    n += 4
                    large.append([{"text": f"large-{n + i}", "queue": "aside", "payload": "x" * 200000} for i in range(4)])
                # Each is answered, whatever with.
                c.wait_all(c.send_many([("task.create_batch", {"tasks": tasks}, {}) for tasks in large]), 30)
                load.check()
                if not d.running():
                    equal(d.process.returncode, NOMEM, d.log_tail())
                    respawn(d)
            for pid in [d.pid, *d.workers()]:
                resource.prlimit(pid, resource.RLIMIT_AS, before)
            wait_until(lambda: healthy(d), 30, "healthy")
            load.finish(60)
        figure("deaths", len(d.events("child_died")))
        load.verdict(60, slots=SLOTS)
        check_deaths(d)


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=900)
