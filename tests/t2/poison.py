#!/usr/bin/env python3
"""poison.py: 64 pending with one poison: one dead letter with the signal, 63 answered (row F05 of tests/results/faults.md)."""

from cbtest import *

WAYS = {"segv": "signal 11", "abort": "signal 6", "kill": "signal 9", "exit=1": "1"}


def is_careful(d):
    return "-c" in procs.cmdline(d.workers("task")[0])


def poison(action, trace):
    env = failpoints_env(failpoint("prepare", action, match="POISON"))
    env["ASAN_OPTIONS"] = "handle_segv=0:handle_abort=0"  # a sanitizer build dies as any other
    config = {"domains": {"task": {"workers": 1}}, "supervisor": {"restart_min_ms": 10, "restart_max_ms": 100}}
    with Daemon(env=env, config=config) as d:
        c = d.caller()
        draw = rng(action)
        bad = draw.randrange(64)
        # One transaction, so that the worker finds all 64 at once.
        entries = [c.entry("task.create", {"text": "POISON" if i == bad else f"good {i}"}) for i in range(64)]
        with d.connect() as r:
            r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
        replies = c.wait_all([rid for rid, _ in entries], 30)
        codes = [r.code for r in replies]
        equal(codes, [-32603 if i == bad else 0 for i in range(64)])
        equal(c.doubles, [])
        letters = d.stream("stream:dead")
        equal(len(letters), 1)
        letter = letters[0][1]
        equal(letter["crashes"], b"3")
        check(trace.encode() in letter["reason"], letter)
        check(b"POISON" in letter["params"], letter)
        said = d.logged("dead_letter")
        equal([(e["id"], e["method"]) for e in said], [(entries[bad][0], "task.create")])
        check(trace in said[0]["reason"], said)
        deaths = [e for e in d.events("child_died") if e.get("service", "").startswith("task")]
        equal(len(deaths), 3, "deaths")
        with d.connect() as r:
            equal(r.call("ZCARD", "cb:queue:tasks:pending"), 63)
        equal([d.backlog("task"), d.pending("task")], [0, []])
        check(c.ask("task.create", {"text": "after"}).ok, "the domain works again")
        check(not is_careful(d), "it is known who killed them: no reason to read one at a time")


for action_, trace_ in WAYS.items():
    add_case(f"poison that ends its worker by {action_}", lambda a=action_, t=trace_: poison(a, t))


@case("a worker that dies while it sends a full commit, with others still to check: the request that filled it is not charged")
def while_sending():
    folder = procs.subfolder("f")
    env = failpoints_env(failpoint("commit_sent", "kill", once=f"{folder}/once"))
    with Daemon(env=env, config={"domains": {"task": {"workers": 1}}}) as d:
        c = d.caller()
        full = {"tasks": [{"text": "t"}] * 100}
        entries = [c.entry("task.create_batch", full) for _ in range(3)]
        with d.connect() as r:
            r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
        check(all(r.ok for r in c.wait_all([rid for rid, _ in entries], 20)), "answered")
        (death,) = d.logged("child_died")
        equal(death["entry"].strip(chr(34)), "")
        with d.connect() as r:
            equal(r.call("ZCARD", "cb:queue:tasks:pending"), 300)
        equal([c.doubles, d.stream("stream:dead")], [[], []])


@case("a worker whose predecessor died over nobody knows what reads one at a time: nobody who was read with it is charged for it")
def unknown():
    env = failpoints_env(failpoint("after_read", "kill", nth=2))
    config = {"domains": {"task": {"workers": 1}}, "supervisor": {"restart_min_ms": 10, "restart_max_ms": 100}}
    with Daemon(env=env, config=config) as d:
        check(not is_careful(d), "the first one")
        c = d.caller()
        check(c.ask("task.create", {"text": "first"}).ok, "created")
        entries = [c.entry("task.create", {"text": f"good {i}"}) for i in range(8)]
        with d.connect() as r:
            r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
        # Each worker dies at its second read: of all of them at once, then of one. Ten redeliveries would be too many.
        equal([x.code for x in c.wait_all([rid for rid, _ in entries], 60)], [0] * 8)
        equal(d.stream("stream:dead"), [])
        wait_until(lambda: d.workers("task") and is_careful(d), 10, "it is careful")


@case("the innocent beside it are charged no crash")
def innocent():
    env = failpoints_env(failpoint("prepare", "kill", match="POISON"))
    config = {"domains": {"task": {"workers": 1}}, "supervisor": {"restart_min_ms": 10, "restart_max_ms": 100}}
    with Daemon(env=env, config=config) as d:
        c = d.caller()
        ids = []
        for _ in range(2):
            entries = [c.entry("task.create", {"text": t}) for t in ("good", "POISON", "good")]
            with d.connect() as r:
                r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
            ids += [rid for rid, _ in entries]
        codes = [r.code for r in c.wait_all(ids, 40)]
        equal(codes, [0, -32603, 0] * 2)
        equal(len(d.stream("stream:dead")), 2)


@case("five poisonous ones in one batch: their neighbours outlive fifteen deaths")
def many():
    env = failpoints_env(failpoint("prepare", "kill", match="POISON"))
    config = {"domains": {"task": {"workers": 1}}, "supervisor": {"restart_min_ms": 10, "restart_max_ms": 50}}
    with Daemon(env=env, config=config) as d:
        c = d.caller()
        bad = range(5, 30, 5)
        entries = [c.entry("task.create", {"text": "POISON" if i in bad else "good"}) for i in range(40)]
        with d.connect() as r:
            r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
        codes = [r.code for r in c.wait_all([rid for rid, _ in entries], 40)]
        equal(codes, [-32603 if i in bad else 0 for i in range(40)])
        equal({letter["crashes"] for _, letter in d.stream("stream:dead")}, {b"3"})


if __name__ == "__main__":
    need = procs.binary("claudebench-worker")
    if not has_failpoints(need):
        tap._cases.clear()
        add_case("poison", lambda: need_failpoints(need))
    else:
        learn_schemas()
    main()
