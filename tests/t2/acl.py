#!/usr/bin/env python3
"""acl.py: the embedded Redis's users (row F26 of tests/results/faults.md): what we need is allowed, what nobody needs is not."""

import os
import signal
import time

import scripts
from cbtest import *


def refused(link, *command):
    try:
        link.call(*command)
    except RespError as problem:
        return problem.code in ("NOPERM", "NOAUTH") or "not allowed" in problem.text
    return False


@case("everything that daemon, workers and client do is allowed, also draining and handing on")
def allowed():
    with Daemon() as d:
        c = d.caller()
        task = c.call("task.create", {"text": "x"}, idem=token())["id"]
        for words in (["status"], ["task", "list"], ["task", "show", task], ["events"], ["call", "system.health"],
                      ["task", "add", "from the client"], ["call", "task.claim", '{"workerId":"w"}']):
            done = d.client(*words)
            equal(done.returncode, 0, f"{words}: {done.stderr.decode()}")
        procs.kill(d.workers("task")[0], signal.SIGTERM)
        procs.kill(d.workers("system")[0])
        wait_until(lambda: len(d.workers("task")) == 2 and len(d.workers("system")) == 2, 5, "replaced")
        wait_until(lambda: d.client("status").returncode == 0, 5, "healthy")
        equal(d.refused_commands(), [], "NOPERM")


@case("an idle daemon stops at once: nobody waits for a blocking read to end")
def prompt_stop():
    with Daemon() as d:
        check(d.caller().ask("system.health").ok, "served")
        began = time.monotonic()
        d.stop()
        spent = time.monotonic() - began
        check(spent < 0.8, f"the stop took {spent:.2f} s")


@case("without a password nothing is allowed, and the default user cannot be used")
def default_user():
    with Daemon() as d:
        link = Resp(f"{d.dir}/redis.sock", login=NOBODY)
        for command in (["PING"], ["GET", "cb:meta"], ["XADD", "cb:requests:task", "*", "a", "b"], ["ACL", "WHOAMI"]):
            check(refused(link, *command), f"{command} without a password")
        for user, password in (("default", ""), ("default", "x"), ("client", ""), ("daemon", "x")):
            try:
                Resp(f"{d.dir}/redis.sock", user, password)
                fail(f"{user} with password {password!r} was accepted")
            except RespError as problem:
                check(problem.code in ("WRONGPASS", "NOAUTH"), problem.text)


@case("the client's user may ask and read its replies, not change or read what is not its own")
def client_user():
    with Daemon() as d:
        c = d.caller()
        task = c.call("task.create", {"text": "secret"})["id"]
        link = d.as_user("client")
        for command in (["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"], ["SCAN", "0"], ["ACL", "LIST"], ["SHUTDOWN"],
                        ["DEBUG", "SLEEP", "0"], ["CLIENT", "KILL", "TYPE", "normal"], ["CLIENT", "LIST"], ["SAVE"],
                        ["HGETALL", f"cb:task:{task}"], ["DEL", f"cb:task:{task}"], ["HSET", f"cb:task:{task}", "s", "completed"],
                        ["SET", "cb:x", "1"], ["SET", "other", "1"], ["DEL", "cb:requests:task"], ["XTRIM", "cb:requests:task",
                        "MAXLEN", "0"], ["XACK", "cb:requests:task", "workers", "1-1"], ["XADD", "cb:stream:events", "*", "a", "b"],
                        ["XADD", "elsewhere", "*", "a", "b"], ["HGETALL", "cb:meta"], ["GET", "cb:duplicates:prevented"],
                        ["XREADGROUP", "GROUP", "workers", "me", "STREAMS", "cb:requests:task", ">"],
                        ["XGROUP", "DESTROY", "cb:requests:task", "workers"], ["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"],
                        ["MODULE", "LIST"], ["REPLICAOF", "127.0.0.1", "1"], ["MONITOR"]):
            check(refused(link, *command), f"the client may {' '.join(command)}")
        # A script of its own runs with its own rights.
        sha = link.text("SCRIPT", "LOAD", "return redis.call('HGETALL', KEYS[1])")
        try:
            link.call("EVALSHA", sha, 1, f"cb:task:{task}")
            fail("a script read a task for the client")
        except RespError as problem:
            check("NOPERM" in problem.text or "permission" in problem.text.lower() or "can't" in problem.text, problem.text)
        # And what it needs, it has.
        mine = Caller(lambda: d.as_user("client"), schemas=d.schemas)
        check(mine.ask("task.create", {"text": "x"}).ok, "ask")
        sha = link.text("SCRIPT", "LOAD", scripts.text("submit"))
        rid, command = mine.entry("task.claim", {"workerId": "w"})
        link.call("EVALSHA", sha, 1, command[1], *command[3:])
        check(mine.wait(rid).ok, "submit")
        check(link.call("XREAD", "COUNT", 1, "STREAMS", "cb:stream:events", "0"), "events")
        c.call("task.create", {"text": "x", "partition": "p"})
        told = link.call("XRANGE", "cb:partition:p", "-", "+")
        equal(told, link.call("XRANGE", "cb:stream:events", told[0][0], told[0][0]), "the same event under the same id")
        check(refused(link, "DEL", "cb:partition:p") and refused(link, "XADD", "cb:partition:p", "*", "a", "b"), "to read only")
        equal(c.call("task.get", {"id": task})["status"], "in_progress")
        d.refused_commands = lambda: []  # NOPERM is what this case asked for


@case("passwords are readable by nobody else, and differ")
def passwords():
    with Daemon() as d:
        words = []
        for name, mode in (("daemon.password", 0o600), ("client.password", 0o640)):
            path = f"{d.redis_dir}/{name}"
            equal(os.stat(path).st_mode & 0o777 & ~mode, 0, f"mode of {name}: {oct(os.stat(path).st_mode)}")
            with open(path, encoding="ascii") as f:
                words.append(f.readline().strip())
            check(len(words[-1]) >= 32, f"{name} is short")
            log = d.log()
            check(words[-1] not in log, f"{name} is in the log")
        check(words[0] != words[1], "one password for both")
        for pid in [d.pid, *procs.descendants(d.pid)]:
            line = " ".join(procs.cmdline(pid))
            check(not any(w in line for w in words), f"a password on the command line of {pid}")


if __name__ == "__main__":
    main()
