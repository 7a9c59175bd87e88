#!/usr/bin/env python3
"""script_cost.py: what each operation costs Redis, in instructions per request (callgrind), which do not depend on what else the
machine does: to be run before and after a change of lua/. Half a minute.

    PYTHONPATH=tests/lib TOP_SRCDIR=. python3 bench/callgrind/script_cost.py [--aof] [ROW…]

Adding the requests, reading them, their commit, and taking their replies; in groups of 64 and of 1. Rows with a group of 64 are good
to 1 %, those of 1 to 5 %: what Redis does ten times a second falls upon fewer requests there.
"""

import fnmatch
import json
import shutil
import sys

from gate_cost import Counted
from scripts import KEEP, Request, Scripts, retention

REPLY = "token-of-the-bench-0"
TEXT, PAYLOAD = "x" * 40, '"' + "x" * 200 + '"'
LEASES = [30000, 30000, 1000, "pull"]  # the arguments of task.claim's operation
ENDS = [30000, *retention(KEEP), 30000, "pull"]  # of task.complete's


class Cost(Scripts):
    def __init__(self, aof):  # pylint: disable=super-init-not-called
        self.server = Counted(aof=aof, lines=["hash-max-listpack-value 1024"])
        self.redis = self.runner = self.server.client(timeout=600)
        self.prefix, self.called, self.serial = "cb", {}, 0
        self.options = {"idem_ttl": 900000, "idem_cap": 268435456, "events": "both 100000 268435456 604800000"}

    def deliver(self, count=1, consumer="c1", domain="task", fields=()):
        """Entries as large as those of callers: how long a search in the stream takes depends on that."""
        params = json.dumps({"text": TEXT, "payload": PAYLOAD})
        return super().deliver(count, consumer, domain, fields or (
            "id", "1", "method", "task.create", "params", params, "reply", REPLY, "actor", "bench"))

    def done(self, name, requests, op_args=()):
        """Commits a group; the results' tasks."""
        answer = self.commit(name, requests, op_args)
        assert set(answer.codes) <= {0, 3, 4}, (answer.codes, answer.errors)
        return [t for doc in self.replies(REPLY) for t in doc["result"].get("tasks", [])]

    def request(self, *args, **kw):
        return Request(*args, reply=REPLY, actor="bench", **kw)

    # ---- the operations, `size` at a time ----

    def new(self, size, is_idem=False):
        def key():
            self.serial += 1
            return {"params_hash": f"{self.serial:011d}", "idem": f"{self.serial:027d}"} if is_idem else {}

        self.done("task_create", [self.request(*self.create_args(TEXT, payload=PAYLOAD), **key()) for _ in range(size)], [10**7])

    def new_batch(self, size):
        tasks = [arg for _ in range(100) for arg in self.create_args(TEXT, payload=PAYLOAD)]
        self.done("task_create_batch", [self.request(100, *tasks) for _ in range(size)], [10**7])

    def take(self, size, count=1):
        self.serial += 1
        args = self.claim_args("w1", count, salt=f"{self.serial:011d}")
        return self.done("task_claim", [self.request(*args, 0) for _ in range(size)], LEASES)

    def end(self, tasks, has_next=False):
        more = self.claim_args("w1", 1, salt="0123456789a") if has_next else []
        return self.done("task_complete", [
            self.request(t["id"], t["lease_token"], "w1", '{"ok":true}', *more, keys=[self.key("task:" + t["id"])]) for t in tasks], ENDS)

    def end_batch(self, tasks):
        items = [x for t in tasks for x in (t["id"], t["lease_token"], '{"ok":true}')]
        self.done("task_complete_batch", [self.request("w1", len(tasks), *items, keys=[self.key("task:" + t["id"]) for t in tasks])], ENDS)

    def renewed(self, tasks):
        self.done("task_renew", [self.request(t["id"], t["lease_token"], "", keys=[self.key("task:" + t["id"])]) for t in tasks], [30000])

    # ---- measuring ----

    def begin(self, tasks, held=0):
        """An empty database with so many tasks; so many of them held."""
        self.redis.call("FLUSHALL")
        self.called = {}
        self.redis.call("HSET", self.key("clock"), "eff", 10**12, "at", self.wall(), "tick", 500)
        for _ in range(-(-tasks // 50)):
            self.new(50)
        return [t for _ in range(-(-held // 100)) for t in self.take(1, 100)]

    def measure(self, turn, rounds):
        for _ in range(3):
            turn()
        self.server.begin()
        for _ in range(rounds):
            turn()
        return self.server.end() / rounds

    def row(self, name, size):
        """Instructions of one request, the others of its group beside it."""
        rounds = 6 if size > 1 else 4 if "batch" in name or "100" in name else 100
        count = size * (rounds + 4)
        if name in ("create", "create-idem"):
            self.begin(0)
            return self.measure(lambda: self.new(size, name == "create-idem"), rounds) / size
        if name == "create_batch":
            self.begin(0)
            return self.measure(lambda: self.new_batch(size), rounds) / size
        if name in ("claim", "claim-100", "claim-empty"):
            each = {"claim": 1, "claim-100": 100, "claim-empty": 0}[name]
            self.begin(count * each)
            return self.measure(lambda: self.take(size, each or 1), rounds) / size
        if name == "complete_batch":
            held = self.begin(100 * count, 100 * count)
            return self.measure(lambda: self.end_batch([held.pop() for _ in range(100)]), rounds)
        if name == "complete":
            held = self.begin(count, count)
            return self.measure(lambda: self.end([held.pop() for _ in range(size)]), rounds) / size
        if name == "renew":
            held = self.begin(size, size)[:size]
            return self.measure(lambda: self.renewed(held), rounds) / size
        self.begin(count)
        held = [self.take(size)]
        return self.measure(lambda: held.append(self.end(held.pop(), has_next=True)), rounds) / size


ROWS = [("create", 64), ("create-idem", 64), ("claim", 64), ("complete", 64), ("drain", 64), ("claim-empty", 64), ("renew", 64),
        ("create_batch", 1), ("claim-100", 1), ("complete_batch", 1), ("create", 1), ("create-idem", 1), ("claim", 1), ("complete", 1),
        ("drain", 1)]


def main():
    if not shutil.which("callgrind_control"):
        sys.exit("script_cost.py: valgrind is not installed")
    wanted = [a for a in sys.argv[1:] if a != "--aof"]
    cost = Cost("--aof" in sys.argv[1:])
    print("| row | instructions per request |")
    print("|---|---:|")
    try:
        for name, size in ROWS:
            row = f"{name} × {size}"
            if not wanted or any(fnmatch.fnmatch(row, w) or fnmatch.fnmatch(name, w) for w in wanted):
                print(f"| {row} | {cost.row(name, size):.0f} |", flush=True)
    finally:
        cost.server.kill9()


if __name__ == "__main__":
    main()
