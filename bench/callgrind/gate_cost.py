#!/usr/bin/env python3
"""gate_cost.py: what a rate limit and a circuit breaker cost Redis, in instructions per request (callgrind), which do not depend
on what else the machine does. A minute or two.

    PYTHONPATH=tests/lib TOP_SRCDIR=. python3 bench/callgrind/gate_cost.py

The same requests with and without, in groups of 1 and of 64: reading them, their commit, all but the callers' own commands for
replies. The log of the limit begins full of entries that are too old to count.
"""

import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys

import procs
import tap
import users
from privredis import PrivateRedis
from scripts import Gate, Request, Scripts

WARM, MEASURED = 192, 384
REPLY = "token-of-the-bench-0"


class Counted(PrivateRedis):
    """A redis-server under callgrind, which counts between begin() and end()."""

    def start(self, wait=True):
        with open(f"{self.dir}/out", "ab") as out:
            self.process = procs.start(
                ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self.dir}/cg", users.REAL, "-"],
                stdin=subprocess.PIPE, stdout=out, stderr=out)
        self.process.stdin.write(self.config().encode())
        self.process.stdin.close()
        if wait:
            self.wait_ready(60)
        return self

    def control(self, *words):
        subprocess.run(["callgrind_control", *words, str(self.pid)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def begin(self):
        self.control("-z")
        self.control("-i", "on")

    def end(self):
        """Instructions since begin()."""
        self.control("-i", "off")
        before = set(glob.glob(f"{self.dir}/cg.*"))
        self.control("-d")
        made = set(glob.glob(f"{self.dir}/cg.*")) - before
        tap.wait_until(lambda: made or glob.glob(f"{self.dir}/cg.*"), 10, "the dump")
        text = ""
        for path in made:
            with open(path, encoding="utf-8", errors="replace") as f:
                text += f.read()
        return int(re.search(r"^totals: (\d+)", text, re.M).group(1))


class Bench(Scripts):
    """Requests of one method, committed in groups of `size`."""

    def __init__(self):  # pylint: disable=super-init-not-called
        self.server = Counted()
        self.redis = self.runner = self.server.client(timeout=600)
        self.prefix, self.called = "cb", {}
        self.options = {"idem_ttl": 900000, "idem_cap": 268435456, "events": "both 100000 268435456 604800000"}

    def run(self, name, size, count, gate):
        for _ in range(count // size):
            if name == "task_create":
                group = [Request(*self.create_args("x" * 40, payload='"' + "x" * 200 + '"'), reply=REPLY, actor="bench")
                         for _ in range(size)]
                answer = self.commit(name, group, [10000000], gate=gate)
            else:
                group = [Request(self.one, reply=REPLY, actor="bench", keys=[self.key(f"task:{self.one}")]) for _ in range(size)]
                answer = self.commit(name, group, gate=gate)
            assert set(answer.codes) == {0}, (answer.codes, answer.errors)
            self.redis.call("DEL", self.key(f"reply:{REPLY}"))

    def measure(self, name, size, gate):
        self.redis.call("FLUSHALL")
        self.redis.call("HSET", self.key("clock"), "eff", 10**12, "at", self.wall(), "tick", 500)
        self.one = self.create(max_pending=10**7)["result"]["id"]
        if gate and gate.has_limit:
            self.redis.call("RPUSH", self.key("ratelimit:" + gate.method + ":" + hashlib.sha1(b"bench").hexdigest()), *[f"{10**12 - 60000 + i} {i + 1} 1" for i in range(gate.row[1])])
        self.run(name, size, WARM, gate)
        self.server.begin()
        self.run(name, size, MEASURED, gate)
        return self.server.end() / MEASURED


def main():
    if not shutil.which("callgrind_control"):
        sys.exit("gate_cost.py: valgrind is not installed")
    bench = Bench()
    print("| requests of a group | instructions per request | with a breaker | with a rate limit | with both |")
    print("|---|---:|---:|---:|---:|")
    try:
        for name in ("task_create", "task_get"):
            for size in (64, 1):
                method = name.replace("_", ".", 1)
                plain = bench.measure(name, size, None)
                cells = []
                for limit, threshold in ((0, 10), (1000, 0), (1000, 10)):
                    n = bench.measure(name, size, Gate(method, limit=limit, window=1, threshold=threshold))
                    cells.append(f"{n:.0f} ({100 * (n - plain) / plain:+.1f} %)")
                print(f"| {method} × {size} | {plain:.0f} | {' | '.join(cells)} |", flush=True)
    finally:
        bench.server.kill9()


if __name__ == "__main__":
    main()
