#!/usr/bin/env python3
"""sentinel.py: Redis found through Redis Sentinel, by the daemon, its workers, claudebench and the hook: at the start, after a
failover, and while no sentinel knows an answer. Under load and twenty times: t5/failover.py (row F18 of tests/results/faults.md)."""

import json
import os
import time

from backups import HeldBackup, HeldRestore
from cbtest import *
from sentinels import FakeSentinel, Watched, free_port, sentinel_daemon

CONFIG = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}, "hook": {"workers": 1}}, "redis": {"timeout_ms": 1000}}


@case("the master dies: its replica, which the sentinels promote, is found within 5 s by daemon, workers and clients")
def failover():
    with Watched(password="of-sentinels", down_ms=300) as redis:
        # The first of them is away, which nobody notices.
        d = sentinel_daemon(redis, CONFIG, nodes=[f"127.0.0.1:{free_port()}", *redis.nodes])
        with d.start():
            equal(d.status()["redis"]["url"], f"redis://127.0.0.1:{redis.master.port} (master mymaster)")
            before = d.client("call", "task.create", '{"text":"before"}', "--ack", "replica:1")
            equal(before.returncode, 0, "claudebench finds the master")
            call = {"session_id": "s", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}}
            equal(d.client("hook", input=json.dumps(call).encode()).returncode, 0, "the hook")
            wait_until(lambda: "1 decisions" in d.client("status").stdout.decode(), 5, "a hook worker decided, not the hook by itself")
            redis.master.kill9()
            redis.wait_promoted()
            began = time.monotonic()
            wait_until(lambda: d.client("task", "add", "after", timeout=30).returncode == 0, 5, "served again")
            figure("promoted_s", time.monotonic() - began)
            wait_until(lambda: d.client("status").returncode == 0, 5, "healthy")
            equal(d.status()["redis"]["url"], f"redis://127.0.0.1:{redis.master.port} (master mymaster)")
            equal(len(d.client("task", "list", "--json").stdout.splitlines()), 2, "what the replica had is there")
            equal(d.events("child_died"), [])


@case("sentinels that are away, know no such master or lead to a replica: said in so many words, asked gently, and left for a better one")
def wrong_answers():
    with PrivateRedis(tcp=True) as main_, PrivateRedis(tcp=True, lines=[f"replicaof 127.0.0.1 {main_.port}"]) as replica:
        fake = FakeSentinel()
        away = f"127.0.0.1:{free_port()}"
        d = sentinel_daemon(main_, CONFIG, nodes=[away, fake.node])
        with d.start(ready=False):
            def reason(*parts):
                reasons = wait_until(lambda: d.running() and (d.status()["reasons"] or [""]), 5, "a reason")
                return all(p in reasons[0] for p in parts)

            wait_until(lambda: d.client("status").returncode == 1, 5, "degraded")
            wait_until(lambda: reason(f"sentinel {away}: cannot connect: Connection refused",
                                      f"sentinel {fake.node}: knows no master named mymaster"), 5, lambda: d.status()["reasons"])
            done = d.client("task", "add", "x")
            equal(done.returncode, 69, done.stderr)
            check(b"sentinel master mymaster: sentinel " in done.stderr and b"knows no master named" in done.stderr, done.stderr)
            fake.answer = ("127.0.0.1", str(replica.port))
            wait_until(lambda: reason("ROLE: it is no master, although a sentinel says so"), 8, lambda: d.status()["reasons"])
            fake.answer = ("127.0.0.1", str(main_.port))
            d.wait_ready(10)
            check(d.client("task", "add", "x").returncode == 0, "served")
            check(fake.asked < 60, f"it was asked {fake.asked} times")
            check(len(d.events("redis_lost")) <= 3, d.log_tail())


@case("the master dies while a backup is taken, which is refused, and before a restore writes, which finds the new one")
def backed_up():
    path = f"{procs.subfolder('b')}/backup"
    with Watched() as redis:
        d = sentinel_daemon(redis, {**CONFIG, "redis": {"timeout_ms": 30000}})
        with d.start():
            equal(d.client("call", "task.create", '{"text":"kept"}', "--ack", "replica:1").returncode, 0)
            equal(d.client("backup", path).returncode, 0)
            held = HeldBackup(d, path + "-2")
        with redis.client() as r:
            equal(d.client("restore", path).returncode, 73, "there are data")
            r.call("FLUSHALL")
            equal(r.call("WAIT", 1, 10000), 1, "the replica is empty, too")
            restore = HeldRestore(d, r)
        redis.wait_told()
        redis.master.kill9()
        redis.wait_promoted()
        wait_until(lambda: redis.sentinels[0].master_port() == redis.master.port, 20, "the sentinel tells of the new one")
        code, said = held.go_on()
        check(code == 75 and "another server has the data now" in said and "run backup again" in said, f"{code} {said}")
        equal(os.listdir(os.path.dirname(path)), ["backup"], "nothing is left of what was refused")
        code, said = restore.go_on(path)
        equal(code, 0, said)
        with d.start():
            check(b"kept" in d.client("task", "list").stdout, "the task is back")


if __name__ == "__main__":
    main()
