#!/usr/bin/env python3
"""bursts.py: many requests at once, and many workers: they are committed in groups, not one by one, because one worker at a time waits
for requests (worker/reading_turn.h)."""

import os
import re
import signal

from cbtest import *

BURSTS, SIZE = 20, 64


def groups(d):
    """Commits so far: each acknowledges its requests by one XACK."""
    with d.connect() as r:
        found = re.match(r"calls=(\d+),", r.info("commandstats").get("cmdstat_xack", ""))
        return int(found[1]) if found else 0


def bursts(d, c):
    before = groups(d)
    for _ in range(BURSTS):
        replies = c.wait_all(c.send_many([("task.create", {"text": "x"}, {})] * SIZE), 20)
        check(all(r.ok for r in replies), [short(r.raw) for r in replies if not r.ok])
    return groups(d) - before


def in_few_groups(d, c, most):
    """A machine with other things to do may let a worker wait, and who waits for long goes by itself: one quiet turn is enough."""
    found = []
    while len(found) < 10 and (not found or min(found) > most):
        found.append(bursts(d, c))
    note(f"{BURSTS} bursts of {SIZE}: {found} commits")
    check(min(found) <= most, f"{found} commits")


for workers in (2, 8):
    @case(f"a burst is read in few groups by {workers} workers")
    def few(n=workers):
        with Daemon(config={"domains": {"task": {"workers": n}}}) as d:
            c = d.caller()
            in_few_groups(d, c, 4 * BURSTS)
            equal(c.doubles, [])


@case("a worker that is stopped when it is its turn costs the others a moment")
def stopped():
    with Daemon(config={"domains": {"task": {"workers": 3}}, "supervisor": {"watchdog_ms": 60000}}) as d:
        c = d.caller()
        bursts(d, c)
        for pid in d.workers("task"):
            os.kill(pid, signal.SIGSTOP)
            rids = [rid for _ in range(5) for rid in c.send_many([("task.create", {"text": "x"}, {})] * SIZE)]
            # What the stopped one was given waits for it: one batch, if it was its turn.
            wait_until(lambda rids=rids: c.poll(0.05) is None or sum(rid not in c.replies for rid in rids) <= SIZE, 10, "the others go on")
            os.kill(pid, signal.SIGCONT)
            check(all(r.ok for r in c.wait_all(rids, 10)), "it ends what it had")
        equal(c.doubles, [])


if __name__ == "__main__":
    arguments()
    main()
