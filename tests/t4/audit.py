#!/usr/bin/env python3
"""audit.py: the audit file: every record of the trail once, in order, chained, whatever dies, moves or is full meanwhile."""

import hashlib
import json
import os
import signal
import subprocess
import time

from cbtest import *

STREAM = "cb:stream:audit"


def add(r, n, start=0, maxlen=100000):
    r.pipeline([["XADD", STREAM, "MAXLEN", maxlen, "*", "kind", "hook.pre_tool", "at", "1795309243791", "data",
                 json.dumps({"i": start + i, "decision": ["deny", "allow"][i % 2], "session": f"s{i % 3}"})] for i in range(n)])


def lines(path):
    """The records of a file, each checked as the manual says that one can check it by hand."""
    found, prev = [], None
    with open(path, "rb") as f:
        for raw in f:
            check(raw.endswith(b"\n"), f"an unfinished line: {raw!r}")
            record = json.loads(raw)
            equal(hashlib.sha256(raw[:raw.rindex(b',"hash":"')]).hexdigest(), record["hash"])
            if prev:
                equal((record["prev"], record["seq"]), (prev["hash"], prev["seq"] + 1))
            prev = record
            found.append(record)
    return found


def numbers(path):
    return [x["data"]["i"] for x in lines(path) if x["kind"] == "hook.pre_tool"]


def kinds(path):
    return [x["kind"] for x in lines(path) if x["kind"].startswith("audit.")]


def status(d):
    return d.status()["audit"]


def written(d, n, path=None):
    path = path or f"{d.dir}/audit.jsonl"

    def has():
        with open(path, "rb") as f:
            return f.read().count(b'"kind":"hook.pre_tool"') >= n

    wait_until(has, 20, lambda: f"{n} records; {status(d)}\n{d.log_tail(5)}")


def verify(d, *more, want=0):
    done = d.client("audit", "--verify", "--json", *more)
    equal(done.returncode, want, done.stdout.decode() + done.stderr.decode())
    return json.loads(done.stdout)


@case("every record once and in order; the line that begins a chain; what is no record of ours is data, too")
def plain():
    with Daemon() as d, d.connect() as r:
        add(r, 250)
        r.call("XADD", STREAM, "*", "kind", "x\ny", "data", b"\xff\x00{", "other", 'a"b', "at", "never")
        r.call("XADD", STREAM, "*", "data", '{"a":\n[1,\r\n2]}', "kind", "k")
        written(d, 250)
        wait_until(lambda: status(d)["seq"] == 253, 10, "the others, too")
        path = f"{d.dir}/audit.jsonl"
        equal(numbers(path), list(range(250)))
        first, odd, multi = lines(path)[0], lines(path)[-2], lines(path)[-1]
        equal((first["kind"], first["seq"], first["data"]["instance"]), ("audit.started", 1, "test-host"))
        equal((odd["kind"], odd["fields"]), ("x\ny", {"other": 'a"b', "at": "never"}))
        equal(multi["data"], {"a": [1, 2]})
        equal(lines(path)[1]["at"], "2026-11-22T01:00:43.791Z")
        equal(os.stat(path).st_mode & 0o777, 0o640)
        s = status(d)
        equal((s["records"], s["lost"], s["waiting"], s["state"]), (252, 0, 0, "ok"))
        equal(verify(d)["records"], 253)


@case("entries that would not be JSON as they are: twice the same field, data as deep as JSON may be; each is a line of the chain")
def odd():
    with Daemon() as d, d.connect() as r:
        for fields in (["x", "1", "x", "2"], [b"\xff", "1", b"\xfe", "2"], ["data", "[" * 64 + "]" * 64], ["data", "true", "data", "2"]):
            r.call("XADD", STREAM, "*", "kind", "odd", *fields)
        wait_until(lambda: status(d)["records"] == 4, 10, "written")
        twice, same, deep, first = lines(f"{d.dir}/audit.jsonl")[1:]
        equal(json.loads(twice["fields"], object_pairs_hook=list), [("x", "1"), ("x", "2")])
        equal(same["fields"], '{"\ufffd":"1","\ufffd":"2"}')
        equal(deep["data"], "[" * 64 + "]" * 64)
        equal((first["data"], first["fields"]), (True, {"data": "2"}))
        equal(verify(d)["records"], 5)
        d.stop()
        d.start()
        check("audit_file_changed" not in d.log() and "audit_file_behind" not in d.log(), d.log_tail(10))


@case("calls that clients decided without a daemon: those of the last hour are shown by status")
def local():
    with Daemon() as d, d.connect() as r:
        check(b"decided locally" not in d.client("status").stdout, "none")
        for minutes in (0, 5, 30, 30, 61, 600, 100000):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60 * minutes))
            r.call("XADD", STREAM, "*", "kind", "hook.local", "data", json.dumps({"local": True, "at": at, "decision": "deny"}))
        wait_until(lambda: status(d)["records"] == 7, 10, "written")
        equal(status(d)["local_last_hour"], 4)
        # A time that is still to come hides none that is past.
        for minute in range(60):
            r.call("XADD", STREAM, "*", "kind", "hook.local", "data", json.dumps({"at": f"9998-01-01T00:{minute:02}:00Z"}))
        wait_until(lambda: status(d)["records"] == 67, 10, "written")
        equal(status(d)["local_last_hour"], 64)
        wait_until(lambda: d.caller().call("system.metrics")["audit"] ==
                   {"records": 67, "waiting": 0, "lost": 0, "localLastHour": 64}, 10, "metrics")
        check(b"64 calls decided locally in the last hour" in d.client("status").stdout, d.client("status").stdout)


@case("kill -9 of the daemon in the middle of a line, again and again: repaired, nothing lost, nothing doubled")
def killed():
    need_failpoints(procs.binary("claudebenchd"))
    rounds, torn = 40 if LONG else 3, 0
    with PrivateRedis() as redis, redis.client() as r:
        d = Daemon(redis)
        path = f"{d.dir}/audit.jsonl"
        for i in range(rounds):
            add(r, 40, start=40 * i)
            written(d, 40 * i + 40)
            d.stop()
            d.env = failpoints_env(failpoint("audit_write", "kill", nth=2 + i % 9))
            d.start()
            r.call("XADD", STREAM, "*", "kind", "torn", "data", json.dumps({"x": "y" * 500}))
            wait_until(lambda: not d.running(), 20, "killed")
            with open(path, "rb") as f:
                torn += not f.read().endswith(b"\n")
            d.env = {}
            wait_until(lambda: not d.leftovers(), 20, "its workers have left")
            d.start()
        wait_until(lambda: lines(path)[-1]["kind"] == "torn", 20, "the last one")
        equal(numbers(path), list(range(40 * rounds)))
        equal(len([1 for x in lines(path) if x["kind"] == "torn"]), rounds)
        equal(kinds(path), ["audit.started"])
        check(torn > 0 and d.log().count("event=audit_repaired") == torn, f"{torn} torn lines")
        equal(verify(d)["ok"], True)
        d.stop()


@case("a death right after a rotation: the chain goes on from the rotated file, though Redis has not heard of its last lines")
def rotated_and_dead():
    with PrivateRedis() as redis, redis.client() as r:
        d = Daemon(redis)
        path = f"{d.dir}/audit.jsonl"
        add(r, 30)
        written(d, 30)
        d.stop()
        early = lines(path)[10]
        r.call("SET", "cb:audit:head:test-host", f"{early['seq']} {early['n']} {early['id']} {early['hash']}")
        os.rename(path, path + ".1")
        with open(path + ".1", "a", encoding="utf-8") as f:
            f.write('{"seq":32,"n":')
        d.start()
        add(r, 10, start=30)
        written(d, 10)
        equal(numbers(path + ".1") + numbers(path), list(range(40)))
        equal(verify(d)["files"], 2)
        d.stop()


@case("rotation: the chain goes on in the next file, also when it happens while the daemon is down")
def rotated():
    with Daemon() as d, d.connect() as r:
        path = f"{d.dir}/audit.jsonl"
        add(r, 30)
        written(d, 30)
        os.rename(path, path + ".2")
        procs.kill(d.pid, signal.SIGUSR1)
        wait_until(lambda: os.path.exists(path) and lines(path), 10, "a new file, before there is anything for it")
        equal(kinds(path), ["audit.opened"])
        add(r, 30, start=30)
        written(d, 30)
        os.rename(path, path + ".1")  # moved, and no signal: it is written to the end
        add(r, 5, start=60)
        written(d, 35, path + ".1")
        wait_until(lambda: status(d)["seq"] == 67, 10, "the daemon knows that it is written, and has told Redis")
        d.stop()
        d.start()
        with d.connect() as again:
            add(again, 5, start=65)
        written(d, 5)
        equal(kinds(path), ["audit.opened"])
        equal([numbers(path + ".2"), numbers(path + ".1"), numbers(path)],
              [list(range(30)), list(range(30, 65)), list(range(65, 70))])
        got = verify(d)
        equal((got["files"], got["first_seq"], got["records"]), (3, 1, 73))
        equal(verify(d, path, path + ".1", path + ".2")["files"], 3)
        os.remove(path)  # deleted under its writer
        with d.connect() as again:
            add(again, 5, start=70)
        wait_until(lambda: os.path.exists(path), 10, "made anew")
        written(d, 5)
        equal(numbers(path), list(range(70, 75)))
        equal(kinds(path), ["audit.opened"])
        verify(d, want=1)  # what was deleted is missing between the files


@case("what the stream has lost before it was read is a record; without Redis nothing is lost; a new Redis is noticed")
def gaps():
    with PrivateRedis() as redis:
        d = Daemon(redis)
        path = f"{d.dir}/audit.jsonl"
        with redis.client() as r:
            add(r, 20)
            written(d, 20)
            d.stop()
            add(r, 50, start=20, maxlen=10)
            d.start()
            written(d, 30)
            equal(numbers(path), list(range(20)) + list(range(60, 70)))
            gap = [x for x in lines(path) if x["kind"] == "audit.gap"]
            equal([x["data"]["lost"] for x in gap], [40])
            equal(lines(path)[gap[0]["seq"]]["data"]["i"], 60, "the gap stands where it is")
            wait_until(lambda: status(d)["lost"] == 40, 10, "told")
            r.call("FLUSHALL")
            add(r, 3, start=100)
            written(d, 33)
            equal(numbers(path)[-3:], [100, 101, 102])
            equal(kinds(path), ["audit.started", "audit.gap", "audit.rewound"])
            d.stop()
            d.start()
            add(r, 3, start=103)
            written(d, 36)
            equal(numbers(path)[-6:], list(range(100, 106)))
            equal(len(kinds(path)), 3)
            equal(verify(d)["gaps"], 2)
            d.stop()


@case("a full disk: told, nothing half written, and all of it there when there is room again", faults="F24")
def full():
    if os.geteuid() != 0:
        raise Skip("not root: no tmpfs")
    folder = procs.subfolder("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=False, capture_output=True).returncode:
        raise Skip("no tmpfs may be mounted here")
    try:
        path = f"{folder}/audit.jsonl"
        with Daemon(config={"audit": {"file": path}}) as d, d.connect() as r:
            add(r, 20)
            written(d, 20, path)
            with open(f"{folder}/filler", "wb") as f:
                try:
                    f.write(b"x" * 65536)
                except OSError:
                    pass
            add(r, 200, start=20)
            wait_until(lambda: status(d)["state"] == "failing", 10, "told")
            check("No space left" in status(d)["error"], status(d))
            doc = d.client("status")
            check(doc.returncode == 1 and b"audit file is not written" in doc.stdout, doc.stdout)
            lines(path)
            os.remove(f"{folder}/filler")
            subprocess.run(["mount", "-o", "remount,size=4m", folder], check=True)
            written(d, 220, path)
            equal(numbers(path), list(range(220)))
            wait_until(lambda: d.client("status").returncode == 0, 10, "healthy again")
            equal(verify(d)["ok"], True)
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


@case("two hosts: each has the whole trail, whoever leads; two daemons with one file: the second one says so")
def two():
    with PrivateRedis() as redis:
        with Daemon(redis, instance="a") as a, Daemon(redis, instance="b") as b, redis.client() as r:
            add(r, 100)
            for d in (a, b):
                written(d, 100)
            leader = a if a.status()["leader"]["is_self"] else b
            leader.stop()
            add(r, 100, start=100)
            leader.start()
            for d in (a, b):
                written(d, 200)
                equal(numbers(f"{d.dir}/audit.jsonl"), list(range(200)))
                equal(verify(d)["ok"], True)
            c = Daemon(redis, instance="c", config={"audit": {"file": f"{a.dir}/audit.jsonl"}}, ready=False)
            wait_until(lambda: "another process writes to it" in c.log(), 10, "told")
            c.stop()
            add(r, 5, start=200)
            written(a, 205)
            equal(numbers(f"{a.dir}/audit.jsonl"), list(range(205)))


@case("a file that cannot be written: status and system.health say the same, until it can")
def told_by_both():
    with Daemon() as a, Daemon(config={"audit": {"file": f"{a.dir}/audit.jsonl"}}, ready=False) as b:
        wait_until(lambda: b.events("daemon_ready"), 15, "it serves all the same")
        def told():
            health, shown = b.caller().call("system.health"), b.status()
            return health["status"], health["services"]["audit"], shown["status"], health["reasons"], shown["reasons"]

        wait_until(lambda: told()[:3] == ("degraded", "degraded", "degraded"), 10, "told")
        status_of, _, _, reasons, shown = told()
        equal((status_of, reasons), ("degraded", shown))
        check(["another process writes to it" in reasons[0], "the audit file is not written: " in reasons[0]] == [True, True], f"{reasons}")
        a.stop()
        wait_until(lambda: told() == ("healthy", "ok", "healthy", [], []), 15, lambda: f"over: {told()}")
    with Daemon(config={"audit": {"file": ""}}) as d:
        equal(d.caller().call("system.health")["services"]["audit"], "disabled")


@case("audit.fsync always and no; no file at all: nothing is written, and the stream is shown")
def options():
    for word in ("always", "no"):
        with Daemon(config={"audit": {"fsync": word}}) as d, d.connect() as r:
            add(r, 10)
            written(d, 10)
            equal(verify(d)["ok"], True)
    with Daemon(config={"audit": {"file": ""}}) as d, d.connect() as r:
        add(r, 3)
        check("audit" not in d.status(), "no file")
        check(not os.path.exists(f"{d.dir}/audit.jsonl"), "no file")
        equal(d.client("audit", "--verify").returncode, 66)
        shown = d.client("audit", "--json")
        equal([json.loads(x)["data"]["i"] for x in shown.stdout.splitlines()], [0, 1, 2])
        check(b"showing what the stream has" in shown.stderr, shown.stderr)


if __name__ == "__main__":
    main()
