#!/usr/bin/env python3
"""dead_host.py: a whole host dies with requests in its workers' hands: another one hands them on, once it is given up
(rows F03, F04, F08 of tests/results/faults.md)."""

import signal
import time

from cbtest import *

ONE = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}}, "supervisor": {"watchdog_ms": 60000}}


def consumers(redis, stream="task"):
    with redis.client() as r:
        return [row[1].decode() for row in r.call("XINFO", "CONSUMERS", f"cb:requests:{stream}", "workers")]


def signal_tree(d, signum, workers_only=False):
    for pid in d.workers() + ([] if workers_only else [d.pid]):
        procs.kill(pid, signum)


def hosts(redis, **kw):
    """host-b lives; host-a's task worker stops itself at a request that says poison."""
    need_failpoints(procs.binary("claudebench-worker"))
    b = Daemon(redis, config=ONE, instance="host-b")
    env = failpoints_env(failpoint("prepare", "stop", match="poison"))
    return Daemon(redis, config=ONE, instance="host-a", env=env, **kw), b


def feed(a, b, redis):
    """Requests of which some are in the hands of host-a's stopped worker: their ids."""
    c = b.caller()
    signal_tree(b, signal.SIGSTOP, workers_only=True)
    try:
        ids = c.send_many([("task.create", {"text": "poison" if i == 7 else f"t{i}"}, {"idem": token()}) for i in range(40)])
        wait_until(lambda: any(row[1].startswith("host-a/") for row in a.pending()), 5, "host-a has some")
        pid = a.workers("task")[0]
        wait_until(lambda: procs.stat(pid) and procs.stat(pid)[0] == "T", 5, "and is stopped")
    finally:
        signal_tree(b, signal.SIGCONT, workers_only=True)
    return c, ids


def created_once(b, ids, replies):
    check(all(r.ok for r in replies), [r.error for r in replies if not r.ok][:3])
    equal(len({r.result["id"] for r in replies}), len(ids))
    equal(sorted(b.told("task.created")), sorted(r.result["id"] for r in replies), "each task is created once")


@case("host killed with its workers: its requests are answered by the other one, its consumers go, nobody is charged",
      faults="F04")
def killed():
    with PrivateRedis() as redis:
        a, b = hosts(redis)
        with b:
            c, ids = feed(a, b, redis)
            taken = [row for row in a.pending() if row[1].startswith("host-a/")]
            note(f"{len(taken)} requests in the hands of host-a")
            check(taken, "some")
            began = time.monotonic()
            a.kill_tree()
            replies = c.wait_all(ids, 15)
            note(f"all answered {time.monotonic() - began:.2f} s after the death")
            check(time.monotonic() - began < 8, "too late")
            created_once(b, ids, replies)
            handed = b.logged("requests_handed_on", where=lambda e: e["consumer"].startswith("host-a/task"))
            equal([(e["how"], e["charged"], e["dead"]) for e in handed], [('"supervisor gone"', '""', "0")])
            equal(int(handed[0]["moved"]), len(taken))
            wait_until(lambda: not [n for n in consumers(redis) + consumers(redis, "system") if n.startswith("host-a/")], 5,
                       "no consumer of host-a is left")
            with redis.client() as r:
                wait_until(lambda: r.call("ZCARD", "cb:instances:orphaned") == 0, 15, "looked after to the end")
                equal(r.call("XLEN", "cb:stream:dead"), 0)
        a.stop(check=False)


@case("only its supervisor is killed, the worker stays stopped: its connection is closed, its late commit changes nothing",
      faults="F03")
def zombie():
    with PrivateRedis() as redis:
        a, b = hosts(redis)
        with b:
            c, ids = feed(a, b, redis)
            worker = a.workers("task")[0]
            a.kill9()
            replies = c.wait_all(ids, 15)
            created_once(b, ids, replies)
            b.logged("leftover_killed", where=lambda e: e["consumer"].startswith("host-a/task"))  # its connection
            procs.kill(worker, signal.SIGCONT)
            wait_until(lambda: not procs.alive(worker), 10, "the worker leaves: its supervisor is gone")
            created_once(b, ids, replies)
        a.stop(check=False)


@case("a host that was frozen for long and comes back: its requests had been handed on, it registers again and works",
      faults="F08")
def frozen():
    with PrivateRedis() as redis:
        a, b = hosts(redis, start=True)
        with b:
            c, ids = feed(a, b, redis)
            signal_tree(a, signal.SIGSTOP)
            replies = c.wait_all(ids, 15)
            created_once(b, ids, replies)
            with redis.client() as r:
                equal(r.call("HGET", "cb:instance:host-a", "st"), b"OFFLINE")
                signal_tree(a, signal.SIGCONT)
                wait_until(lambda: r.call("HGET", "cb:instance:host-a", "st") == b"ACTIVE", 5, "host-a is back")
                wait_until(lambda: r.call("ZCARD", "cb:instances:orphaned") == 0, 15, "it looks after its own")
            created_once(b, ids, replies)
            wait_until(lambda: a.client("status").returncode == 0, 10, "host-a is healthy")
            equal([r.ok for r in c.wait_all(c.send_many([("task.create", {"text": f"n{i}"}, {}) for i in range(50)]))],
                  [True] * 50)
        a.stop()


def wait_for_command(redis, words, n=1, timeout=60):
    """Until clients have sent a command that begins so, n times from now on."""
    wanted, until = b" ".join(b'"%s"' % w.encode() for w in words), time.monotonic() + timeout
    with redis.client() as r:
        r.call("MONITOR")
        while n > 0:
            check(time.monotonic() < until, f"waited {timeout} s for {words}")
            n -= wanted in r.read(until - time.monotonic())


def how(d):
    """status, and system.health: what each calls it, and why."""
    shown, health = d.status(), d.caller().call("system.health")
    return shown["status"], shown["reasons"], health["status"], health["reasons"], health["services"]["requests"]


@case("a domain that nobody serves: degraded when a request waits, on each host without workers for it; none the worse without")
def unserved():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 1}, "system": {"workers": 1}}}) as d:
        equal(d.client("ctl", "scale", "task", "0", "--wait").returncode, 0)
        equal(how(d), ("healthy", [], "healthy", [], "ok"))
        c = d.caller()
        request = c.send("task.create", {"text": "x"})
        why = "task: requests wait, and no worker of any host serves them"
        wait_until(lambda: how(d) == ("degraded", [why], "degraded", [why], "degraded"), 60, lambda: f"told: {how(d)}", step=0.2)
        equal(d.client("ctl", "scale", "task", "1", "--wait").returncode, 0)
        check(c.wait_all([request], 10)[0].ok, "handled")
        wait_until(lambda: how(d) == ("healthy", [], "healthy", [], "ok"), 15, lambda: f"over: {how(d)}", step=0.2)


@case("a domain that another host serves, slowly: a host without workers for it is healthy, however long a request waits there")
def served_by_another():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"test": {"workers": 1}}}, instance="a") as a, \
            Daemon(redis, config={"domains": {"test": {"workers": 1}}}, instance="b") as b:
        c = a.caller()
        equal(b.client("ctl", "scale", "test", "0", "--wait").returncode, 0)  # it looks at it at once
        requests = [c.send("test.circuit", {"delay": 20000})]
        wait_until(lambda: a.pending("test"), 5, "in hand")
        requests.append(c.send("test.circuit", {}))
        wait_for_command(redis, ("XINFO", "GROUPS", "cb:requests:test"), n=2)  # host b has asked who serves it, and acted upon the first answer
        equal([d.status()["status"] for d in (a, b)], ["healthy", "healthy"])
        check(all(reply.ok for reply in c.wait_all(requests, 60)), "handled")


if __name__ == "__main__":
    main()
