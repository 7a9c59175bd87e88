#!/usr/bin/env python3
"""oracle_itself.py: the oracle sees what it is there to see: each invariant is broken once on purpose."""

import os

import oracle
import users
from cbtest import *


def world(tasks=3):
    """A journal, ledger, events and states in which all is well."""
    ids = [f"t-{i}" for i in range(tasks)]
    journal = ({f"k{i}" for i in range(tasks)}, {f"k{i}": t for i, t in enumerate(ids)})
    ledger = {t: [[1, f"f{t}", 1, 0, 1]] for t in ids}
    events = [("1-1", {"type": "leader.elected", "epoch": "5"})]
    events += [(f"2-{i}", {"type": "task.completed", "id": t}) for i, t in enumerate(ids)]
    states = {t: {"st": b"completed", "text": f'"k{i}"'.encode()} for i, t in enumerate(ids)}
    return journal, ledger, events, states


def judge(journal, ledger, events, states, **kw):
    return oracle.judge(journal, ledger, events, states, text_key=lambda t: t["text"].decode().strip('"'), **kw)


def failing(verdict):
    return {name for name, _, ok, _ in verdict.rows if not ok}


@case("all is well")
def fine():
    equal(failing(judge(*world())), set())
    check("oracle: I1" in judge(*world()).summary(), "summary")


@case("I1: an acked task is neither completed nor dead, or is gone")
def lost():
    journal, ledger, events, states = world()
    states["t-1"]["st"] = b"pending"
    check("I1" in failing(judge(journal, ledger, events, states)), "pending")
    journal, ledger, events, states = world()
    del states["t-1"]
    check("I1" in failing(judge(journal, ledger, events, states)), "gone")
    journal, ledger, events, states = world()
    states["t-1"].update(st=b"failed", de=b"1")
    events.pop(2)
    equal(failing(judge(journal, ledger, events, states)), set(), "a dead letter is not lost")


@case("I2: completed twice, or by hash only, or by event only")
def twice():
    journal, ledger, events, states = world()
    events.append(("3-1", {"type": "task.completed", "ids": "t-0 t-9"}))
    equal(failing(judge(journal, ledger, events, states)), {"I2", "I2b"})
    journal, ledger, events, states = world()
    events.pop()
    equal(failing(judge(journal, ledger, events, states)), {"I2b"})


@case("I2d: a task id or a fence is handed out twice")
def numbers():
    journal, ledger, events, states = world()
    journal[1]["k9"] = "t-0"
    equal(failing(judge(journal, ledger, events, states)), {"I2d"})
    journal, ledger, events, states = world()
    events += [("1-2", {"type": "task.created", "id": "t-0"}), ("1-3", {"type": "task.created", "ids": "t-1 t-0"})]
    equal(failing(judge(journal, ledger, events, states)), {"I2d"})
    journal, ledger, events, states = world()
    ledger["t-0"][0][1], ledger["t-1"][0][1] = "17a", "17b"
    equal(failing(judge(journal, ledger, events, states)), {"I2d"})


@case("a loss of Redis excuses what happened in the two seconds before it, and nothing else")
def losses():
    journal, ledger, events, states = world()
    del states["t-1"]
    times = {"t-0": 100, "t-1": 7000, "t-2": 100}
    bad = {"I1", "I2b"}
    for at, left in ((8500, set()), (9500, bad), (6000, bad)):
        equal(failing(judge(journal, ledger, events, states, losses=[at], ack_times=times)), left, at)
    equal(failing(judge(journal, ledger, events, states, ack_times=times)), bad)
    ledger["t-1"][0][3:5] = [2000, 2500]  # what it did counts, too
    equal(failing(judge(journal, ledger, events, states, losses=[4400], ack_times=times)), set())


@case("I2c: the holder of an older lease is told that its completion is the accepted one")
def older_lease():
    journal, ledger, events, states = world()
    ledger["t-1"] = [[1, "100-a", 1, 0, 1, 0], [2, "200-b", 2, 5, 6, 0, True]]
    events.append(("3-1", {"type": "task.lease_expired", "ids": "t-1"}))
    equal(failing(judge(journal, ledger, events, states)), set())
    ledger["t-1"][0].append(True)
    equal(failing(judge(journal, ledger, events, states)), {"I2c"}, "both")
    ledger["t-1"][1].pop()
    equal(failing(judge(journal, ledger, events, states)), {"I2c"}, "the older one")


@case("I3: a finished task that nobody attempted, and a key with two tasks")
def unexpected():
    journal, ledger, events, states = world()
    states["t-7"] = {"st": b"completed", "text": b'"stranger"'}
    events.append(("3-1", {"type": "task.completed", "id": "t-7"}))
    ledger["t-7"] = [[1, "f7", 1, 0, 1]]
    equal(failing(judge(journal, ledger, events, states)), {"I3"})
    journal, ledger, events, states = world()
    states["t-7"] = {"st": b"pending", "text": b'"k1"'}
    equal(failing(judge(journal, ledger, events, states)), {"I3b"})


@case("I4: a second execution needs an ended lease; one lease is never executed twice")
def executions():
    journal, ledger, events, states = world()
    ledger["t-1"].append([2, "g", 2, 5, 6])
    equal(failing(judge(journal, ledger, events, states)), {"I4"})
    events.append(("3-1", {"type": "task.lease_expired", "ids": "t-1 t-2"}))
    equal(failing(judge(journal, ledger, events, states)), set())
    ledger["t-2"].append([1, "ft-2", 2, 5, 6])
    equal(failing(judge(journal, ledger, events, states)), {"I4b"})
    journal, ledger, events, states = world()
    del ledger["t-0"]
    equal(failing(judge(journal, ledger, events, states)), {"I4c"})


@case("I4: the end of a lease explains only what began after it; a lease does not expire before it is due")
def in_time():
    def verdict(began, event, until, expired_at, kind="task.lease_expired"):
        journal, ledger, events, states = world()
        ledger["t-1"] = [[1, "100-a", 1, 10_000, None, until], [2, "200-b", 2, began, began + 5, 0]]
        events.append((f"{expired_at}-0", {"type": kind, event: "t-1"}))
        return failing(judge(journal, ledger, events, states))

    equal(verdict(12_050, "ids", 12_000, 12_010), set())
    equal(verdict(11_000, "ids", 12_000, 12_010), {"I4"}, "the second run began before the first one's lease ended")
    equal(verdict(11_500, "ids", 12_000, 11_400), {"I4d"}, "expired 600 ms too soon")
    equal(verdict(11_500, "id", 12_000, 11_400, "task.released"), set(), "given back is given back")
    # An agent that stalls between its claim and its first line: its run is the first although it began later.
    journal, ledger, events, states = world()
    ledger["t-1"] = [[2, "200-b", 2, 12_050, 12_060, 14_000], [1, "100-a", 1, 13_000, None, 12_000]]
    events.append(("12010-0", {"type": "task.lease_expired", "ids": "t-1"}))
    equal(failing(judge(journal, ledger, events, states)), set())
    # One attempt that left no line at all, because its agent died before that: its end explains nothing of the others.
    ledger["t-1"] = [[2, "200-b", 2, 12_050, None, 14_000], [3, "300-c", 3, 14_100, 14_110, 16_000]]
    events.append(("14050-0", {"type": "task.lease_expired", "ids": "t-1"}))
    equal(failing(judge(journal, ledger, events, states)), set())
    events[-1] = ("13000-0", {"type": "task.lease_expired", "ids": "t-1"})
    equal(failing(judge(journal, ledger, events, states)), {"I4d"})


@case("a lease's end is measured only when each lease is told of: one whose holder died before it began ends for itself")
def untold():
    journal, ledger, events, states = world()
    ledger["t-0"] = [[1, "1a", 1, 0, 1, 1000], [3, "3a", 1, 9000, 9001, 0]]
    events += [("1200-0", {"type": "task.lease_expired", "id": "t-0"})]
    equal(judge(journal, ledger, events, states).figures.get("lease_end_s"), 0.2)
    events += [("5000-0", {"type": "task.lease_expired", "id": "t-0"})]
    verdict = judge(journal, ledger, events, states)
    equal((failing(verdict), verdict.figures.get("lease_end_s")), (set(), None))


@case("I5: an epoch that does not rise")
def epochs():
    journal, ledger, events, states = world()
    for epoch, bad in (("6", set()), ("6", {"I5"}), ("3", {"I5"})):
        events.append(("3-1", {"type": "leader.elected", "epoch": epoch}))
        equal(failing(judge(journal, ledger, events, states)), bad, epoch)


@case("I6, I7, I8: pending entries, backlog, consumers, time, processes")
def rest():
    now = {"families": {"requests": 2}, "pel": 0, "backlog": 0, "consumers": {1, 2}, "memory": 1}
    for change, bad in (({}, False), ({"pel": 1}, True), ({"backlog": 2}, True), ({"consumers": {1, 2, 3}}, True),
                        ({"families": {"requests": 3}}, True)):
        got = failing(judge(*world(), before=now, after={**now, **change}, slots=2))
        equal(got, {"I6"} if bad else set(), str(change))
    equal(failing(judge(*world(), drained_in=2.0, drain_bound=1.0)), {"I7"})
    equal(failing(judge(*world(), workers_left="a zombie")), {"I8"})


@case("journal and ledger files are read back as they were written, also by the program")
def files():
    folder = procs.subfolder("o")
    journal, ledger = oracle.Journal(f"{folder}/j"), oracle.Ledger(f"{folder}/l")
    with Daemon() as d:
        c = d.caller()
        journal.attempted(["k0", "k1"])
        for key in ("k0", "k1"):
            journal.acked([(key, c.call("task.create", {"text": key})["id"])])
        tasks = c.call("task.claim", {"workerId": "w", "maxTasks": 2})["tasks"]
        for t in tasks:
            ledger.begin(t["id"], t["attempt"], t["lease_token"], t["lease_until"])
            ledger.end(t["id"], t["attempt"], t["lease_token"])
        ids = [t["id"] for t in tasks]
        equal(oracle.read_journal(f"{folder}/j"), ({"k0", "k1"}, {"k0": ids[0], "k1": ids[1]}))
        runs = oracle.read_ledger(f"{folder}/l")
        equal([len(runs[i]) for i in ids], [1, 1])
        check(all(r[0][4] is not None for r in runs.values()), "ends")
        with open(f"{folder}/password", "w", encoding="ascii") as f:
            f.write(users.ADMIN[1] + "\n")
        words = ["python3", os.path.join(os.path.dirname(os.path.abspath(oracle.__file__)), "oracle.py"), "--journal",
                 f"{folder}/j", "--ledger", f"{folder}/l", "--socket", f"{d.dir}/redis.sock", "--user", users.ADMIN[0],
                 "--password-file", f"{folder}/password"]
        done = procs.run(words)
        equal(done.returncode, 1, "two tasks are not finished yet")
        check(b"I1" in done.stdout and b"FAIL" in done.stdout, done.stdout.decode() + done.stderr.decode())
        for t in tasks:
            c.call("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})
        done = procs.run(words)
        equal(done.returncode, 0, done.stdout.decode() + done.stderr.decode())


if __name__ == "__main__":
    main()
