#!/usr/bin/env python3
"""hook_faults.py: the corpus of dangerous and benign calls, asked of a daemon whose hook workers are killed and stopped and whose
rules break and are mended (F33): nothing dangerous is let through, and every answer is in the audit trail, once."""

import json
import os
import shutil
import signal
import threading
import time

from cbtest import *

SECONDS = 30 if FAULTS or LONG else 5
CALLERS = 4
SRC = procs.top_srcdir()


def corpus(name):
    """[(method, params)] of a file of tests/corpus/rules (its README says how they are written)."""
    calls, block = [], None

    def command(text):
        calls.append(("hook.pre_tool", {"tool": "Bash", "params": {"command": text}, "cwd": "/home/user/project"}))

    with open(os.path.join(SRC, "tests/corpus/rules", name), encoding="utf-8") as f:
        for line in f.read().split("\n"):
            if line == "<<<":
                block = []
            elif line == ">>>":
                command("\n".join(block))
                block = None
            elif block is not None:
                block.append(line)
            elif line.startswith(('{"tool"', '{"event"')):
                doc = json.loads(line)
                if doc.get("event") == "user_prompt":
                    calls.append(("hook.user_prompt", doc["input"]))
                else:
                    calls.append(("hook.pre_tool", {"tool": doc["tool"], "params": doc["input"],
                                                    "cwd": doc.get("cwd", "/home/user/project")}))
            elif line and not line.startswith(("== ", "# ")):
                command(line)
    for _, params in calls:
        params["home"] = "/home/user"
    check(len(calls) >= 200, f"{name}: {len(calls)} calls")
    return calls


class Askers:
    """Ask all the time; what was decided, by request."""

    def __init__(self, d, until):
        self.dangerous, self.benign = corpus("dangerous.txt"), corpus("benign.txt")
        self.d, self.until = d, until
        self.decided, self.allowed, self.stopped, self.errors, self.problems = {}, [], [], [], []
        self.asked = [0, 0]
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(CALLERS)]
        for t in self.threads:
            t.start()

    def work(self, n):
        try:
            c, draw = self.d.caller(schemas=False), rng(f"asker {n}")
            while time.monotonic() < self.until:
                self.ask(c, draw)
            c.poll(0.1)
            check(not c.replies and not c.doubles, f"answered twice: {c.doubles}")
            c.close()
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(problem)

    def ask(self, c, draw):
        calls = [(kind, draw.choice((self.dangerous, self.benign)[kind])) for kind in (draw.randrange(2) for _ in range(20))]
        rids = c.send_many([(method, params, {}) for _, (method, params) in calls])
        for rid, (kind, (_, params)), reply in zip(rids, calls, c.wait_all(rids, 60)):
            self.asked[kind] += 1
            if not reply.ok:
                self.errors.append(reply.code)
                continue
            decision = reply.result["decision"]
            self.decided[rid] = decision
            if kind == 0 and decision not in ("deny", "ask"):
                self.allowed.append((decision, params))
            elif kind == 1 and decision in ("deny", "ask"):
                self.stopped.append((decision, params))

    def finish(self):
        for t in self.threads:
            t.join()
        equal(self.problems, [])
        equal(self.allowed, [], "dangerous calls that were let through")


def records(d):
    found, start = [], "-"
    with d.connect(timeout=60) as r:
        while True:
            page = r.call("XRANGE", d.key("stream:audit"), start, "+", "COUNT", 2000)
            for _, fields in page:
                data = json.loads(fields[5])
                found.append((data["request"], data["decision"], data["took_us"]))
            if len(page) < 2000:
                return found
            start = "(" + page[-1][0].decode()


def verdict(d, askers):
    askers.finish()
    seen = records(d)
    equal(sorted((r, k) for r, k, _ in seen), sorted(askers.decided.items()), "one record for each answer, with the same decision")
    took = sorted(t for _, _, t in seen)
    note(f"asked {askers.asked[0]} dangerous and {askers.asked[1]} benign ones; {len(askers.errors)} got no decision; "
         f"us: P50 {took[len(took) // 2]}, P99 {took[len(took) * 99 // 100]}, longest {took[-1]}")
    check(min(askers.asked) > 200, f"asked {askers.asked}")


def config(rules_dir):
    return {"hooks": {"rules_dir": rules_dir}, "domains": {"task": {"workers": 1}, "system": {"workers": 1}, "hook": {"workers": 2}},
            "supervisor": {"restart_min_ms": 20, "restart_max_ms": 100, "watchdog_ms": 500}, "limits": {"audit_entries": 1000000}}


def hit(d, draw):
    pids = d.workers("hook")
    if pids:
        procs.kill(draw.choice(pids), draw.choice((signal.SIGKILL, signal.SIGSTOP)))


@case("hook workers are killed and stopped: nothing dangerous is let through, fewer than 1 in 100 benign calls stopped", faults="F33")
def workers_die():
    with Daemon(config=config(f"{SRC}/etc/rules.d")) as d:
        draw, askers = rng("workers"), Askers(d, time.monotonic() + SECONDS)
        while time.monotonic() < askers.until:
            time.sleep(draw.uniform(0.2, 0.6))
            hit(d, draw)
        verdict(d, askers)
        check(len(askers.stopped) * 100 < askers.asked[1], f"{len(askers.stopped)} of {askers.asked[1]} benign: {askers.stopped[:5]}")
        check(d.events("child_hung") or SECONDS < 10, "some were stopped")


@case("the rules break and are mended all the time, workers die: nothing dangerous is let through", faults="F33")
def rules_break():
    folder = procs.subfolder("rules") + "/rules.d"
    shutil.copytree(f"{SRC}/etc/rules.d", folder)
    with Daemon(config=config(folder)) as d:
        draw, askers = rng("rules"), Askers(d, time.monotonic() + SECONDS)
        while time.monotonic() < askers.until:
            bad = f"{folder}/{draw.choice(('05-new', '10-dangerous-operations', '99-last'))}.yaml"
            good = os.path.exists(bad)
            if good:
                shutil.copy(bad, bad + ".kept")
            with open(bad, "w", encoding="ascii") as f:  # in place: it is there half, too
                f.write(draw.choice(("", "groups: [", "groups: [{name: x}]", "\t", "disable: [dangerous-operations, nothing/there]")))
            time.sleep(draw.uniform(0.05, 0.6))
            if good:
                os.rename(bad + ".kept", bad)
            else:
                os.unlink(bad)
            time.sleep(draw.uniform(0.05, 0.6))
            hit(d, draw)
        verdict(d, askers)
        check("deny" in {k for k, _ in askers.stopped} or SECONDS < 10, "broken rules denied benign calls")
        check(d.events("rules_failed") or SECONDS < 10, "and it was said")


if __name__ == "__main__":
    arguments()
    main(timeout=4 * SECONDS + 120)
