#!/usr/bin/env python3
"""gate.py: rate limits and circuit breakers of a whole daemon: configured per method, shared by all workers and hosts, told by
status, health and metrics, and as the drill in claudebenchd(8) says."""

import json
import os
import re
import time

from cbtest import *

BREAKER = {"threshold": 3, "open_ms": 1000, "half_open": 2, "close_after": 2, "permit_ms": 1000}
TEST = {"domains": {"test": {"workers": 1}}, "cluster": {"tick_ms": 100, "suspect_ms": 1000, "offline_ms": 2000}}


def config(**methods):
    return merge(TEST, {"methods": {k.replace("__", "."): v for k, v in methods.items()}})


def code(c, method="test.circuit", params=None, **kw):
    reply = c.ask(method, params or {}, **kw)
    return 0 if reply.ok else reply.error["code"]


def fail(c, **kw):
    return code(c, params={"shouldFail": True}, **kw)


@case("a daemon's own words: 75 for both refusals, with when to come again; -T prints what it was given")
def words():
    with Daemon(config=config(test__circuit={"rate_limit": 2, "rate_window_ms": 600000},
                              system__health={"breaker": {"threshold": 2, "depends_on": ["task.create", "task.get"]}})) as d:
        got = [d.client("call", "test.circuit") for _ in range(3)]
        equal([g.returncode for g in got], [0, 0, 75])
        check(b"rate limited" in got[2].stderr and b"retry_after_ms" in got[2].stderr, got[2].stderr)
        equal(code(d.caller(actor="other")), 0)
        printed = procs.run([procs.binary("claudebenchd"), "-c", d.config_path, "-T"]).stdout.decode()
        part = printed[printed.index("\nmethods:"):]
        equal(part.split(), ["methods:", '"system.health":', "breaker:", "threshold:", "2", "depends_on:", '"task.create',
                             'task.get"', '"test.circuit":', "rate_limit:", "2", "rate_window_ms:", "600000"])
        with open(d.config_path, "a", encoding="utf-8") as f:
            f.write('  "task.creat": {rate_limit: 1}\n')
        done = procs.run([procs.binary("claudebenchd"), "-c", d.config_path, "-t"])
        equal(done.returncode, 78)
        check(b'unknown method (did you mean "task.create"?)' in done.stderr, done.stderr)


@case("a circuit opens on every worker and host at once; status, health, metrics and log tell, and it closes")
def everywhere():
    with PrivateRedis() as redis:
        breaker = {"threshold": 4, "open_ms": 1500, "half_open": 2, "close_after": 2}
        over = merge(config(test__circuit={"breaker": breaker}), {"domains": {"test": {"workers": 2}}})
        with Daemon(redis, over, instance="a") as a, Daemon(redis, over, instance="b") as b:
            c = a.caller()
            equal([fail(c) for _ in range(4)], [-32603] * 4)
            equal([code(c) for _ in range(12)], [-32001] * 12)
            health = b.caller().call("system.health")
            equal(health["status"], "degraded")
            [circuit] = health["circuits"]
            equal([circuit[k] for k in ("method", "state", "attempt", "errors", "timeouts", "rejections")],
                  ["test.circuit", "open", 1, 4, 0, 12])
            check(0 < circuit["retry_after_ms"] <= 1500 and "4 failures within" in circuit["reason"], circuit)
            check(any("the circuit of test.circuit is open" in r for r in health["reasons"]), health)
            for d in (a, b):
                wait_until(lambda: d.client("status").returncode == 1, 5, "status says so")
                shown = d.client("status").stdout.decode()
                check(re.search(r"the circuit of test.circuit is (open|half_open) since 20\S+Z: ", shown), shown)
                wait_until(lambda: d.events("circuit_opened"), 5, "the log says so")
            wait_until(lambda: code(c) == 0, 10, "a probe", step=0.05)
            wait_until(lambda: code(c) == 0, 10, "another", step=0.05)
            for d in (a, b):
                wait_until(lambda: d.client("status").returncode == 0, 5, "healthy again")
                wait_until(lambda: d.events("circuit_closed"), 5, "the log says so")
            kinds = [e["type"].decode() for _, e in a.stream("stream:events") if e["type"].startswith(b"circuit.")]
            equal(kinds, ["circuit.opened", "circuit.half_open", "circuit.closed"])
            found = c.call("system.metrics")
            [row] = [m for m in found["circuits"] if m["method"] == "test.circuit"]
            equal([row["state"], row["errors"], row["opened"]], ["closed", 4, 1])
            refused = sum(m["refused"] for d in (a, b) for m in d.caller().call("system.metrics")["methods"]
                          if m["method"] == "test.circuit")
            check(refused >= 12, f"refused {refused}")


@case("the method's own time-out: the default deadline, counted when it passes; a caller's shorter one is not")
def timeouts():
    with Daemon(config=config(test__circuit={"timeout_ms": 200, "breaker": {"threshold": 2, "open_ms": 60000}})) as d:
        c = d.caller()
        began = time.monotonic()
        for _ in range(3):
            equal(code(c, params={"delay": 30000}, ttl_ms=100), -32006)
        equal(code(c, params={"delay": 30000}), -32006)
        equal(code(c), 0)
        equal(code(c, params={"delay": 30000}, ttl_ms=300), -32006, "no less than the method's")
        check(time.monotonic() - began < 20, "the work is cut at the deadline")
        equal(code(c), -32001)
        equal(c.call("system.health")["circuits"][0]["timeouts"], 2)


@case("a reload puts other limits in force, and takes them away; what was counted stays counted")
def reloaded():
    with Daemon(config=config(test__circuit={"rate_limit": 3, "rate_window_ms": 600000})) as d:
        c = d.caller()
        equal([code(c) for _ in range(4)], [0, 0, 0, -32000])
        d.config["methods"] = {"test.circuit": {"rate_limit": 5, "rate_window_ms": 600000}}
        d.write_config()
        equal(d.client("ctl", "reload", "--wait").returncode, 0)
        equal([code(c) for _ in range(3)], [0, 0, -32000])
        del d.config["methods"]
        d.write_config()
        equal(d.client("ctl", "reload", "--wait").returncode, 0)
        equal([code(c) for _ in range(6)], [0] * 6)
        d.config["methods"] = {"*": {"rate_limit": 5, "rate_window_ms": 600000}}
        d.write_config()
        done = d.client("ctl", "reload", "--wait")
        equal(done.returncode, 0)
        said = done.stdout.decode().split(": ", 1)[1].split()
        equal(said, ["methods.*.rate_limit,", "methods.*.rate_window_ms"], "once for all methods")
        equal(code(c), -32000, "as before")


@case("the drill of claudebenchd(8), word by word")
def drill():
    page = os.path.join(procs.top_srcdir(), "man/claudebenchd.8")
    with open(page, encoding="utf-8") as f:
        part = re.search(r"\.Ss A drill\n(.*?)\n\.S[sh] ", f.read(), re.S).group(1)
    blocks = re.findall(r"\.Bd -literal[^\n]*\n(.*?)\n\.Ed", part, re.S)
    check(len(blocks) >= 2, "a configuration and commands")
    with Daemon(start=False) as d:
        d.write_config()
        os.makedirs(f"{d.dir}/conf.d")
        with open(f"{d.dir}/conf.d/drill.yaml", "w", encoding="utf-8") as f:
            f.write(blocks[0] + "\n")
        d.start()
        commands = 0
        for line in "\n".join(blocks[1:]).splitlines():
            line = line.replace("\\e", "\\").replace("\\-", "-")
            if not line.startswith("$ "):
                continue
            command, want = re.fullmatch(r"\$ (.*?)(?:\s+# exit (\d+))?", line).groups()
            done = procs.run(["sh", "-c", command], env={
                "CLAUDEBENCH_CONFIG": d.config_path, "PATH": f"{procs.top_builddir()}:{os.environ['PATH']}"}, timeout=60)
            equal(done.returncode, int(want or 0), f"{command}: {done.stdout.decode()} {done.stderr.decode()}")
            commands += 1
        check(commands >= 6, f"{commands} commands")


if __name__ == "__main__":
    arguments()
    main()
