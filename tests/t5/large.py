#!/usr/bin/env python3
"""large.py: requests at the limit, above it and far above it, in one piece and in drops, on the stream and on the client's stdin
(F31): taken or refused before anything is written, and nobody grows for it.

What exactly the limits are, and what is byte for byte the same below them: tests/contract/json_rules.py, tests/t2/requests.py.
"""

import re
import subprocess

from cbtest import *
from proxy import Proxy

MAX = 256 << 10  # of params
HUGE = 64 << 20
GROWTH_KIB = 200 << 10  # a reply of 64 MiB is read and copied once; larger ones are dropped at their announcement
DROP = 512  # bytes of a reply at a time; it must be whole within redis.timeout_ms


def params_of(size):
    head, tail = b'{"text":"big","payload":"', b'"}'
    return head + b"p" * (size - len(head) - len(tail)) + tail


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))


def written(redis):
    """What a task would have left."""
    with redis.client() as r:
        return [k for k in r.scan("cb:*") if re.match(rb"cb:(task|queue|unique|idem)", k)], r.call("XLEN", "cb:stream:events")


@case("params at the limit are taken, a byte more and 64 MB are refused before anything is written; workers do not keep what they read",
      faults="F31")
def stream():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 1}}}) as d:
        c = d.caller()
        pids = [d.pid, *d.workers()]
        check(c.ask("task.create", params_of(MAX)).ok, "at the limit")
        before, peaks = written(redis), {p: peak_kib(p) for p in pids}
        for size in (MAX + 1, 2 * MAX, HUGE // 4, HUGE // 2):
            reply = c.ask("task.create", params_of(size), timeout=30)
            check(reply.code in (-32600, -32602), f"{size}: {short(reply.raw)}")
        c.send("task.create", params_of(HUGE))  # with its entry more than one reply takes: a dead letter
        wait_until(lambda: d.stream("stream:dead") and not d.backlog(), 60, "a dead letter")
        equal(written(redis), before, "nothing is written")
        equal([d.pid, *d.workers()], pids, "nobody died")
        growth = max(peak_kib(p) - peaks[p] for p in pids)
        note(f"{growth} KiB more at most")
        check(growth <= GROWTH_KIB, f"{growth} KiB more")
        check(c.ask("task.create", {"text": "x"}).ok, "served")


@case("a request at the limit, and one above it, that reach the worker in drops", faults="F31")
def drops():
    with PrivateRedis() as redis:
        proxy = Proxy(redis.socket)
        with Daemon(redis, config={"domains": {"task": {"workers": 1}}, "redis": {"url": proxy.url}}) as d:
            c = d.caller()
            proxy.drip = DROP
            rids = [c.send("task.create", params_of(size)) for size in (8192, MAX // 4)]
            for rid in rids:
                check(c.wait(rid, 60).ok, "in drops")
            check(c.ask("task.create", params_of(MAX + 1), timeout=120).code in (-32600, -32602), "above the limit")
            proxy.drip = 0
            equal(d.events("child_died"), [])
            wait_until(lambda: d.client("status").returncode == 0, 30, "healthy")
        proxy.end()


@case("replies that come byte by byte: a large payload and result, many ids and fields: what the client shows is the same", faults="F31")
def byte_by_byte():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 1}}}) as d:
        c = d.caller()
        check(c.ask("task.create", params_of(MAX // 4)).ok, "created")
        task = c.ask("task.claim", {"workerId": "w"}).result["tasks"][0]
        done = {"id": task["id"], "lease_token": task["lease_token"], "result": {"r" * 120: ["é" * 20000, [], 2**53 + 1]}}
        check(c.ask("task.complete", done).ok, "completed")
        created = [("task.create", {"text": f"t{i}", "metadata": {f"k{n}": n for n in range(20)}}, {}) for i in range(20)]
        check(all(r.ok for r in c.wait_all(c.send_many(created), 30)), "created")
        proxy = Proxy(redis.socket)
        proxy.drip, proxy.drip_s = 1, 0
        slow = f"{procs.subfolder('c')}/claudebench.yaml"
        with open(slow, "w", encoding="utf-8") as f:
            f.write(yaml(merge(d.config, {"redis": {"url": proxy.url, "timeout_ms": 60000}})) + "\n")
        for words in (["task", "show", "--json", task["id"]], ["task", "list", "--all", "--json"], ["doctor", "--json"]):
            quick, dripped = (d.client(*words, "-c", config, timeout=100) for config in (d.config_path, slow))
            equal(quick.returncode in (0, 1), True, quick.stderr[-300:])
            if words[0] == "task":
                check(len(quick.stdout) > 4000, "there is something to show")
                equal(dripped.stdout, quick.stdout, " ".join(words))
            equal(dripped.returncode, quick.returncode, dripped.stderr[-300:])
        proxy.end()


@case("the client's stdin: at the limit, a byte more, 64 MB, byte by byte", faults="F31")
def stdin():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 1}}}) as d:
        equal(d.client("call", "task.create", "-", input=params_of(MAX)).returncode, 0)
        before = written(redis)
        for size in (MAX + 1, HUGE):
            done = d.client("call", "task.create", "-", input=params_of(size), timeout=60)
            equal((done.returncode, done.stdout), (65, b""), done.stderr[-300:])
        equal(written(redis), before, "nothing is written")
        drip = procs.start([procs.binary("claudebench"), "call", "task.create", "-"], env={"CLAUDEBENCH_CONFIG": d.config_path},
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for byte in params_of(MAX):
            drip.stdin.write(bytes([byte]))
            drip.stdin.flush()
        out = drip.communicate(timeout=30)[0]
        equal(drip.returncode, 0, out[-300:])


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=600)
