#!/usr/bin/env python3
"""bursts.py: many requests at once, and many workers: they are committed in groups, not one by one, because one worker at a time waits
for requests (worker/reading_turn.h), and asks for the first of them and the rest by themselves."""

import os
import re
import signal

from cbtest import *

BURSTS, SIZE = 20, 64


def calls(d, command):
    with d.connect() as r:
        found = re.match(r"calls=(\d+),", r.info("commandstats").get(f"cmdstat_{command}", ""))
        return int(found[1]) if found else 0


def groups(d):
    """Commits so far: each acknowledges its requests by one XACK."""
    return calls(d, "xack")


def bursts(d, c, size=SIZE):
    """Of a whole batch, behind which a worker looks whether there is more; or of less."""
    before = groups(d)
    for _ in range(BURSTS):
        replies = c.wait_all(c.send_many([("task.create", {"text": "x"}, {})] * size), 20)
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


@case("64 completions that each claim the next task are one group; batches of 100 are one each")
def full():
    with Daemon(config={"domains": {"task": {"workers": 1}}}) as d:
        c = d.caller()
        batches = [("task.create_batch", {"tasks": [{"text": "x"}] * 100}, {})] * 2

        def commits(requests):
            before, made = groups(d), [c.entry(method, params, **fields) for method, params, fields in requests]
            with d.connect() as r:
                r.pipeline([["MULTI"], *[command for _, command in made], ["EXEC"]])
            replies = c.wait_all([rid for rid, _ in made], 20)
            check(all(r.ok for r in replies), [short(r.raw) for r in replies if not r.ok])
            return groups(d) - before, replies

        equal(commits(batches)[0], 2)
        equal(commits([("task.create_batch", {"tasks": [{"text": "x"}]}, {})] * 3 + batches[:1])[0], 2)
        held = c.ask("task.claim", {"workerId": "w", "maxTasks": 64}).result["tasks"]
        ends = [("task.complete", {"id": t["id"], "lease_token": t["lease_token"], "workerId": "w", "next": {"maxTasks": 1}}, {}) for t in held]
        number, replies = commits(ends)
        equal([number, len({r.result["tasks"][0]["id"] for r in replies})], [1, SIZE])
        equal(c.doubles, [])


@case("when more requests wait than two workers take, each read brings a full batch, and is one command")
def plenty():
    with Daemon(config={"domains": {"task": {"workers": 2}}}) as d:
        c = d.caller()
        check(c.ask("task.create", {"text": "x"}).ok, "it serves")
        number, found = 30 * SIZE, []
        while len(found) < 5 and (not found or min(found) > 0):
            made = [c.entry("task.create", {"text": "x"}) for _ in range(number)]
            groups_before, reads_before = groups(d), calls(d, "xreadgroup")
            with d.connect() as r:
                r.pipeline([["MULTI"], *[command for _, command in made], ["EXEC"]])
            check(all(r.ok for r in c.wait_all([rid for rid, _ in made], 30)), "served")
            made_groups, reads = groups(d) - groups_before, calls(d, "xreadgroup") - reads_before
            note(f"{number} requests: {made_groups} commits, {reads} reads")
            found.append(max(made_groups - 36, reads - made_groups - 12, 0))  # idle workers read once a second
        equal(min(found), 0, "commits or reads too many")


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


@case("when only the second of both reads brings requests, these are served")
def behind_an_error():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 1}}}) as d, redis.client() as r:
        c = d.caller()

        def waits_with_the_rest_behind():
            found = re.findall(r"/task/\S+ .* flags=\w*b\w* .* qbuf=(\d+) .* cmd=xreadgroup ", r.call("CLIENT", "LIST").decode())
            return any(int(unread) > 0 for unread in found)

        hits = 0
        for _ in range(5):
            bursts(d, c, SIZE - 1)
            hits += bool(waits_with_the_rest_behind())
            made = [c.entry("task.create", {"text": "x"}) for _ in range(3)]
            r.pipeline([["XGROUP", "DESTROY", "cb:requests:task", "workers"],  # the first one is told NOGROUP
                        ["XGROUP", "CREATE", "cb:requests:task", "workers", "$"], *[command for _, command in made]])
            check(all(reply.ok for reply in c.wait_all([rid for rid, _ in made], 10)), "done")
        note(f"{hits} of 5 times it waited with a second read behind the first")
        equal(c.doubles, [])


@case("a worker that is told to leave while another one has the turn does not begin to wait for requests")
def told_meanwhile():
    need_failpoints(procs.binary("claudebench-worker"))
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 2}}, "supervisor": {"watchdog_ms": 60000}},
                                         env=failpoints_env(failpoint("turn_waited", "stop", once=f"{procs.folder()}/turn"))) as d:
        c = d.caller()

        def stopped():
            return next((pid for pid in d.workers("task") if (procs.stat(pid) or "?")[0] == "T"), None)

        pid = wait_until(lambda: bursts(d, c, SIZE - 1) and stopped(), 20, "one waits for its turn")
        words = procs.cmdline(pid)
        slot, generation = (words[words.index(option) + 1] for option in ("-s", "-g"))
        with redis.client() as monitor, redis.client() as r:
            equal(monitor.call("MONITOR"), b"OK")
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: not procs.alive(pid), 10, "it leaves")
            r.call("ECHO", "gone")
            seen = []
            while b'"gone"' not in (line := monitor.read(10)):
                seen.append(line)
        equal([line for line in seen if b'"XREADGROUP"' in line and f'/task/{slot}.{generation}"'.encode() in line], [], "its reads")


if __name__ == "__main__":
    arguments()
    main()
