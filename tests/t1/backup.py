#!/usr/bin/env python3
"""backup.py: `claudebench backup` under load gives one moment of it, `claudebench restore` puts it somewhere else; what is not a whole
backup is refused and changes nothing; a restore that is killed leaves the old data or the new."""

import hashlib
import json
import os
import re
import signal
import subprocess

from cbtest import *

END = re.compile(rb"\nclaudebench-backup-end (\d{20}) ([0-9a-f]{64})\n$")
kept = {}  # what later cases need: the file of the first


def files_of(folder):
    files = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(f"{folder}/{name}", "rb") as f:
            files[name] = f.read()
    return files


def folder_of(daemon):
    """Names and bytes of the append only file, and what lies beside it."""
    return files_of(f"{daemon.redis_dir}/appendonlydir"), sorted(n for n in os.listdir(daemon.redis_dir) if n.startswith(("appendonlydir", "restore")))


def restore(daemon, *args, env=None, **kw):
    daemon.write_config()
    return daemon.client("restore", *args, env=env, **kw)


def restored(daemon, *args):
    done = restore(daemon, "--json", *args)
    equal(done.returncode, 0, done.stderr.decode())
    return json.loads(done.stdout)


def clean(daemon):
    done = daemon.client("doctor", "--json")
    equal((done.returncode, done.stderr), (0, b""), done.stdout.decode())


def meta(daemon):
    with daemon.connect() as r:
        return {k: v.decode() for k, v in pairs(r.call("HGETALL", daemon.key("meta"))).items()}


@case("a backup under load is one moment; on another machine doctor is content, and the work goes on")
def under_load():
    path = f"{procs.subfolder('b')}/backup"
    with Daemon(instance="lost-host") as d:
        c = d.caller()
        c.call("system.register", {"id": "lost-agent", "capacity": 5})
        held = c.call("task.create", {"text": "held", "queue": "h"})["id"]
        (lease,) = c.call("task.claim", {"workerId": "lost-agent", "queue": "h", "lease_ms": 1000})["tasks"]
        c.call("schedule.add", {"id": "s", "every_ms": 3600000, "template": {"text": "t"}})
        c.send("task.claim", {"workerId": "parked", "queue": "nothing", "wait_ms": 30000})
        c.call("task.create", {"text": "once"}, idem="the same")
        with d.connect() as r:
            wait_until(lambda: r.call("HLEN", d.key("waiters")) == 1, 5, "a claim waits")
        with Load(d, tasks=600, agents=2) as load:
            wait_until(lambda: load.completed > 50, 20, "the load is on its way")
            said = d.client_json("backup", "--json", path)
            seen = load.acked
            load.finish(30)
        equal(load.problems, [])
        equal(os.stat(path).st_mode & 0o777, 0o600, "the backup is secret")
        equal(sorted(os.listdir(os.path.dirname(path))), ["backup"], "nothing else is left")
        was = meta(d)
        equal((said["generation"], said["prefix"], said["schema"]), (was["generation"], "cb", 3))
        piped = subprocess.run([procs.binary("claudebench"), "backup", "-"], env=procs.environment({"CLAUDEBENCH_CONFIG": d.config_path}),
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
        check(piped.returncode == 0 and END.search(piped.stdout), piped.stderr.decode())
        for args, code in (((path,), 73), (("--force", path), 0), ((path + "/no/folder",), 1)):
            done = d.client("backup", *args)
            equal(done.returncode, code, str(args))
        equal(done.stderr.decode(), f"claudebench: {path}/no/folder: Not a directory\n", "what was asked for")
        equal(restore(d, "--force", path).returncode, 75, "refused while the daemon runs")
        with d.as_user("backup") as r:
            for command in (("GET", "cb:counts"), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("HGETALL", "cb:meta")):
                try:
                    r.call(*command)
                    fail(f"the backup's user may {command}")
                except RespError as problem:
                    check("NOPERM" in problem.text, problem.text)
        with d.connect() as r:
            r.call("ACL", "LOG", "RESET")  # what we tried
    with open(path, "rb") as f:
        kept["backup"] = f.read()
    with Daemon(instance="new-host", start=False) as n:
        os.makedirs(n.redis_dir)
        took = restored(n, path)
        check(took["keys"] > 50 and "kept" not in took, str(took))
        check("restore.tmp" not in os.listdir(n.redis_dir), "nothing is left")
        n.start()
        clean(n)
        now = meta(n)
        check(now["generation"] != was["generation"] == now["restored_from"], "another generation")
        with n.connect() as r:
            equal([k for k in r.call("KEYS", "cb:waiters*") if k != b"cb:waiters:deadline"], [], "nobody waits any more")
        c = n.caller()
        newer = c.call("task.create", {"text": "after"})["id"]
        check(int(newer[2:]) > int(was["last_number"]), "no number comes again")
        equal(c.call("schedule.get", {"id": "s"})["id"], "s")
        # The agent is gone, and its lease ends; what it says now is too late.
        wait_until(lambda: c.call("task.get", {"id": held})["status"] == "pending", 20, "the lost agent's task is free")
        c.refused("task.complete", {"id": held, "lease_token": lease["lease_token"]}, -32005)
        equal(c.call("task.claim", {"workerId": "w", "queue": "h"})["tasks"][0]["id"], held)
        wait_until(lambda: "lost-host" not in {i["id"] for i in c.call("system.get_state", {})["instances"] if i["status"] == "ACTIVE"},
                   20, "the lost daemon is known to be gone")
        done = n.client("work", "--drain", "--jobs", "8", "--", "true", timeout=90)
        equal(done.returncode, 0, done.stderr.decode()[-500:])
        clean(n)
        note(f"{seen} tasks were there when the backup was told, {took['keys']} keys restored")


def signed(head, rdb):
    """A file that is whole."""
    text = head + rdb
    return text + b"\nclaudebench-backup-end %020d %s\n" % (len(rdb), hashlib.sha256(text).hexdigest().encode())


def spoiled():
    """{what: (bytes, what the message says)}"""
    whole = kept["backup"]
    end = END.search(whole).start()
    first = whole.index(b"\n") + 1
    second = whole.index(b"\n", first) + 1
    rdb = whole[second:end]
    head = json.loads(whole[first:second])

    def with_head(**more):
        return signed(whole[:first] + json.dumps({**head, **more}).encode() + b"\n", rdb)

    half = second + len(rdb) // 2
    found = {
        "empty": (b"", "no backup"),
        "another file": (b"REDIS0010" + rdb[9:], "no backup"),
        "without an end": (whole[:end], "cut off"),
        "cut off by a byte": (whole[:-1], "cut off"),
        "cut off in the middle": (whole[:half], "cut off"),
        "cut off in its head": (whole[: first + 10], "cut off"),
        "a bit turned": (whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :], "checksum"),
        "a bit of the head turned": (whole[: first + 20] + bytes([whole[first + 20] ^ 1]) + whole[first + 21 :], ""),
        "bytes missing": (whole[:half] + whole[half + 7 :], "checksum"),
        "bytes behind the end": (whole + b"x", "cut off"),
        "another format": (whole.replace(b"claudebench-backup 1\n", b"claudebench-backup 2\n", 1), "format 2"),
        "another schema": (with_head(schema=99), "schema 99"),
        "a snapshot that is none": (signed(whole[:second], rdb[:100]), "did not take the snapshot"),
    }
    return found, with_head(prefix="other")


@case("what is cut off, damaged, of another version or of another prefix is refused, and changes nothing")
def refused():
    found, other_prefix = spoiled()
    d = Daemon(start=False)
    os.makedirs(d.redis_dir)
    path = f"{d.dir}/spoiled"
    for what, (data, word) in {**found, "another prefix": (other_prefix, "prefix other")}.items():
        with open(path, "wb") as f:
            f.write(data)
        done = restore(d, path)
        said = done.stderr.decode()
        equal(done.returncode, {"another prefix": 73, "a snapshot that is none": 69}.get(what, 65), f"{what}: {said}")
        check(word in said and said.count("\n") == 1, f"{what}: {said}")
        equal(folder_of(d), ({}, []), what)
    equal(restore(d, f"{d.dir}/absent").returncode, 66)


@case("data that are there are kept: refused without --force, put aside with it; killed in the middle there are the old or the new")
def replaced():
    need_failpoints(procs.binary("claudebench"))
    path = f"{procs.subfolder('b')}/backup"
    with open(path, "wb") as f:
        f.write(kept["backup"])
    with Daemon() as d:
        d.client("task", "add", "of the old data")
        d.stop()
        old, _ = folder_of(d)
        done = restore(d, path)
        equal(done.returncode, 73, done.stderr.decode())
        equal(folder_of(d), (old, ["appendonlydir"]), "nothing has changed")
        done = restore(d, "--force", path, env=failpoints_env(failpoint("restore_exchange", "kill")))
        equal(done.returncode, -signal.SIGKILL)
        equal(folder_of(d)[0], old, "killed before: the old data")
        equal(len([n for n in folder_of(d)[1] if n.startswith("appendonlydir.before")]), 1)
        done = restore(d, "--force", path, env=failpoints_env(failpoint("restore_exchanged", "kill")))
        equal(done.returncode, -signal.SIGKILL)
        check(folder_of(d)[0] != old, "killed behind: the new data")
        aside = [n for n in os.listdir(d.redis_dir) if n.startswith("appendonlydir.before-restore-")]
        equal(len(aside), 2, "of both that were killed")
        check(old in [files_of(f"{d.redis_dir}/{n}") for n in aside], "the old data are among them")
        with open(path, "rb") as f:
            piped = subprocess.run([procs.binary("claudebench"), "restore", "--force", "-"], stdin=f, capture_output=True, timeout=20,
                                   env=procs.environment({"CLAUDEBENCH_CONFIG": d.config_path}), check=False)
        equal(piped.returncode, 0, piped.stderr.decode())
        check(b"before-restore" in piped.stdout and b"claudebench doctor" in piped.stdout, piped.stdout.decode())
        check("restore.tmp" not in os.listdir(d.redis_dir), "nothing is left of those that were killed")
        d.start()
        clean(d)
        check(b"of the old data" not in d.client("task", "list").stdout, "the old data are gone")


@case("an external Redis: all keys with their times to live, into an empty namespace only; neighbours are left alone")
def external():
    path = f"{procs.subfolder('b')}/backup"
    with PrivateRedis(lines=["repl-diskless-sync-delay 0"]) as redis, redis.client() as r:
        r.call("SET", "neighbour", "1")
        with Daemon(redis=redis) as d:
            made = d.client_json("task", "add", "of the external one", "--json")["id"]
            r.call("SET", "cb:unique:q:k", "x", "PX", 3600000)
            equal(d.client("backup", path).returncode, 0)
    with PrivateRedis(aof=True) as redis, redis.client() as r:
        r.call("SET", "stranger", "2")
        n = Daemon(redis=redis, start=False)
        took = restored(n, path)
        equal(r.call("DBSIZE"), took["keys"] + 1)
        equal(r.call("GET", "neighbour"), None)
        check(0 < r.call("PTTL", "cb:unique:q:k") <= 3600000, "times to live are kept")
        r.call("DEL", "cb:unique:q:k")
        done = restore(n, "--force", path)
        check(done.returncode == 73 and b"prefix cb" in done.stderr, done.stderr.decode())
        with n:
            n.start()
            clean(n)
            equal(n.caller().call("task.get", {"id": made})["text"], "of the external one")


if __name__ == "__main__":
    main()
