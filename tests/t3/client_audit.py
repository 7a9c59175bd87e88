#!/usr/bin/env python3
"""client_audit.py: claudebench audit: what it shows, and that --verify finds whatever was done to the file."""

import json
import os
import re
import signal
import subprocess
import time

from cbtest import *
from screen import Terminal

STREAM = "cb:stream:audit"
N = 40


def fill(r, n=N, start=0):
    for i in range(start, start + n):
        data = {"session": f"s{i % 2}", "tool": "Bash", "decision": ["allow", "deny"][i % 2], "rule": "r", "reason": f"why {i}\x1b[2J"}
        r.call("XADD", STREAM, "*", "kind", ["hook.pre_tool", "hook.post_tool"][i // 20 % 2], "data", json.dumps(data))


def ready(d, n):
    def there():
        return d.status()["audit"]["records"] >= n

    wait_until(there, 10, "written")


def whys(done, want=0):
    equal(done.returncode, want, done.stderr.decode())
    docs = [json.loads(x) for x in done.stdout.splitlines()]
    return [int(re.match(r"why (\d+)", x["data"]["reason"]).group(1)) for x in docs if "reason" in x["data"]]


@case("what is shown: the last fifty, or those that were asked for; for people and for programs; from file and stream alike")
def shown():
    with Daemon() as d, d.connect() as r:
        fill(r)
        ready(d, N)
        all_ = list(range(N))
        for source in ([], ["--stream"]):
            def ask(*args, want=0, more=tuple(source)):
                return whys(d.client("audit", "--json", *more, *args), want)

            equal(ask(), all_)
            equal(ask("-n", "5"), all_[-5:])
            equal(ask("-n", "0"), all_)
            equal(ask("--decision", "deny"), all_[1::2])
            equal(ask("--decision", "deny", "-n", "2"), [37, 39])
            equal(ask("--session", "s0", "--type", "*.post_*"), all_[20::2])
            equal(ask("--type", "nothing"), [])
            ids = [json.loads(x)["id"] for x in d.client("audit", "--json", *source).stdout.splitlines()]
            equal(ask("--since", ids[-3]), all_[-2:])
            equal(ask("--since", "0"), all_)
            equal(ask("--since", "2026-01-01T00:00:00Z"), all_)
            equal(ask("--since", "1h"), all_)
            equal(ask("--since", "2199-01-01T00:00:00Z"), [])
            text = d.client("audit", *source, "-n", "3").stdout.decode()
            check(text.splitlines()[0].split() == ["TIME", "KIND", "DECISION", "TOOL", "RULE", "SESSION", "WHAT"], text)
            equal(len(text.splitlines()), 4)
            check("why 39" in text and "\x1b" not in text, "escaped")
        late = {"local": True, "at": "2026-02-03T04:05:06.000Z", "decision": "deny", "reason": "decided long before"}
        r.call("XADD", STREAM, "*", "kind", "hook.local", "data", json.dumps(late))
        ready(d, N + 1)
        row = d.client("audit", "-n", "1").stdout.decode().splitlines()[-1]
        check(row.startswith(late["at"]) and late["reason"] in row, row)
        for wrong in (["--since", "yesterday"], ["-n", "-1"], ["--since", "-5"], ["--decision", "denied"], ["-d", "warn"]):
            equal(d.client("audit", *wrong).returncode, 64)
        equal(d.client("audit", f"{d.dir}/nothing").returncode, 66)


@case("on a terminal of 80 columns time of day, decision, rule and message are there; the year of long ago")
def on_a_terminal():
    path = f"{procs.subfolder('t')}/trail"
    data = {"session": "0b5a1c9e-6f0e-4b1b-9c39-9d1d8f0b7a11", "tool": "Bash", "decision": "deny", "rule": "dangerous-ops/remove-root",
            "reason": "This would delete files that nobody has a copy of"}
    with open(path, "w", encoding="ascii") as f:
        for at in (time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "2001-02-03T04:05:06.000Z"):
            f.write(json.dumps({"at": at, "kind": "hook.pre_tool", "data": data}) + "\n")
    with Terminal([procs.binary("claudebench"), "audit", path], 80, 24, {"TZ": "UTC"}) as t:
        equal(t.wait_end(), 0)
        head, *rows = [line for line in t.screen.lines() if line]
    check("SESSION" not in head and "KIND" not in head, head)
    check(re.match(r"\d\d:\d\d:\d\d +deny +.*dangerous-ops/remove-root +This would delete ", rows[0]), rows)
    check(rows[1].startswith("2001-02-03 04:05  deny "), rows)


@case("following: what is there, what comes, and what comes after a rotation, each once")
def following():
    with Daemon() as d, d.connect() as r:
        fill(r, 5)
        ready(d, 5)
        out = f"{d.dir}/followed"
        with open(out, "wb") as f:
            running = procs.start([procs.binary("claudebench"), "audit", "-f", "-n", "2", "--json"],
                                  env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=f)

        def seen():
            with open(out, "rb") as f:
                docs = [json.loads(x) for x in f.read().splitlines()]
            return [int(x["data"]["reason"].split()[1].split("\x1b")[0]) for x in docs if "reason" in x["data"]]

        wait_until(lambda: seen() == [3, 4], 10, "the last two")
        fill(r, 5, 5)
        wait_until(lambda: seen() == [3, 4, 5, 6, 7, 8, 9], 10, "what comes")
        os.rename(f"{d.dir}/audit.jsonl", f"{d.dir}/audit.jsonl.1")
        fill(r, 3, 10)
        procs.kill(d.pid, signal.SIGUSR1)
        fill(r, 3, 13)
        wait_until(lambda: seen() == list(range(3, 16)), 10, lambda: f"each once: {seen()}")
        procs.kill(running.pid, signal.SIGTERM)
        running.wait(5)
        for where in ([], ["--stream"]):
            running = procs.start([procs.binary("claudebench"), "audit", "-f", *where], env={"CLAUDEBENCH_CONFIG": d.config_path},
                                  stdout=subprocess.PIPE)
            check(running.stdout.readline(), "a record")
            running.stdout.close()
            check(running.wait(10) != 0, "a reader that has gone ends it, though there is nothing to write")


def tampered(data):
    """Name → what somebody made of the file, and the first line that cannot be right."""
    rows = data.splitlines(keepends=True)
    n = len(rows)
    at = n // 2
    row = rows[at]

    def put(i, *new):
        return b"".join(rows[:i] + list(new) + rows[i + 1:])

    forged = json.loads(row)
    forged["data"]["reason"] = "nothing happened"
    forged_row = json.dumps(forged, separators=(",", ":")).encode() + b"\n"
    yield "nothing", data, None
    for i, c in ((2, b"X"), (row.index(b"why"), b"W"), (row.index(b'"prev"') + 10, b"x"), (len(row) - 10, b"z"),
                 (row.index(b'"seq":') + 6, b"9"), (len(row) - 2, b"]")):
        yield f"byte {i} changed", put(at, row[:i] + c + row[i + 1:]), at + 1
    yield "a byte deleted", put(at, row[:20] + row[21:]), at + 1
    yield "a byte inserted", put(at, row[:20] + b" " + row[20:]), at + 1
    yield "space at the end", put(at, row[:-1] + b" \n"), at + 1
    yield "a line changed, with its old hash", put(at, forged_row), at + 1
    yield "a line deleted", put(at), at + 1
    yield "the first line deleted, and one in the middle", b"".join(rows[1:at] + rows[at + 1:]), at
    yield "lines swapped", b"".join(rows[:at] + [rows[at + 1], rows[at]] + rows[at + 2:]), at + 1
    yield "a line twice", put(at, row, row), at + 2
    yield "a line inserted", put(at, forged_row, row), at + 1
    yield "an empty line inserted", put(at, b"\n", row), at + 1
    yield "the last line deleted", b"".join(rows[:-1]), n - 1
    yield "half of the file deleted", b"".join(rows[:at]), at
    yield "the last newline deleted", data[:-1], n
    yield "the last line cut", data[:-20], n
    yield "all of it deleted", b"", 0
    yield "NUL bytes at the end", data + b"\0" * 100, n + 1


@case("--verify: whatever was done to the file is found, with its line; what was not touched is not")
def verified():
    with Daemon() as d, d.connect() as r:
        fill(r)
        ready(d, N)
        path = f"{d.dir}/audit.jsonl"
        with open(path, "rb") as f:
            data = f.read()
        for name, made, bad in tampered(data):
            with open(path, "wb") as f:
                f.write(made)
            done = d.client("audit", "--verify", "--json")
            got = json.loads(done.stdout)
            equal((done.returncode, got["ok"], got.get("line")), (1 if bad is not None else 0, bad is None, bad), f"{name}: {got}")
            plain = d.client("audit", "verify")
            equal(plain.returncode, done.returncode, name)
            check(plain.stdout.startswith(f"{path}:{bad}: ".encode() if bad is not None else b"ok: 41 records in 1 file, seq 1 to 41"),
                  plain.stdout)
        with open(path, "wb") as f:
            f.write(data)
        with open(f"{d.dir}/copy", "wb") as f:
            f.write(b"".join(data.splitlines(keepends=True)[:10]))
        equal(d.client("audit", "verify", f"{d.dir}/copy").returncode, 0, "a part from its beginning is whole in itself")
        equal(d.client("audit", "verify", f"{d.dir}/copy", path).returncode, 1, "but not beside the whole")


@case("a file that was made anew with right hashes is not the one that the daemon wrote")
def anew():
    import hashlib  # pylint: disable=import-outside-toplevel
    with Daemon() as d, d.connect() as r:
        fill(r)
        ready(d, N)
        path = f"{d.dir}/audit.jsonl"
        made, prev = b"", "0" * 64
        with open(path, "rb") as f:
            for row in f.read().splitlines():
                body = row[:row.rindex(b',"prev":"')].replace(b"deny", b"allow") + f',"prev":"{prev}"'.encode()
                prev = hashlib.sha256(body).hexdigest()
                made += body + f',"hash":"{prev}"}}\n'.encode()
        with open(path, "wb") as f:
            f.write(made)
        equal(d.client("audit", "verify", path).returncode, 0, "the chain alone cannot tell")
        done = d.client("audit", "verify")
        check(done.returncode == 1 and b"made anew" in done.stdout, done.stdout)


if __name__ == "__main__":
    main()
