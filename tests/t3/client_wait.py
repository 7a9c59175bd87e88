#!/usr/bin/env python3
"""client_wait.py: `claudebench wait`: exit codes by outcome; ends before, while and after it looks; without events; over a restart of Redis."""

import json
import signal
import subprocess
import time

from cbtest import *

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon(config={"domains": {"task": {"workers": 2}}})
    at_exit(daemon.stop)
    c = daemon.caller()


def create(**more):
    return c.insist("task.create", {"text": "w", **more}).result["id"]


def claim(task):
    got = c.insist("task.claim", {"workerId": "w1", "maxTasks": 100}).result["tasks"]
    return {t["id"]: t["lease_token"] for t in got}[task]


def complete(task):
    c.insist("task.complete", {"id": task, "lease_token": claim(task)})


def waiting(*words):
    """A `wait` that has looked at its tasks already."""
    seen = lookups()
    p = procs.start([procs.binary("claudebench"), "wait", *words], env={"CLAUDEBENCH_CONFIG": daemon.config_path},
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: lookups() >= seen + sum(w.startswith("t-") for w in words), 10, "it has looked")
    return p


def lookups():
    return daemon.status()["methods"].get("task.get", {}).get("requests", 0)


def end(p, code, out):
    got, err = p.communicate(timeout=20)
    equal((p.returncode, sorted(got.decode().splitlines())), (code, sorted(out)), err.decode())


@case("a task that has ended already: 0 when completed, 1 when it failed or was cancelled, 66 when there is none; --json; --quiet")
def ended():
    good, bad, gone = create(), create(), create()
    complete(good)
    c.insist("task.cancel", {"id": bad})
    c.insist("task.cancel", {"id": gone})
    c.insist("task.delete", {"id": gone})
    for words, code, out in (([good], 0, [f"{good} completed"]), ([bad], 1, [f"{bad} cancelled"]), ([gone], 66, []),
                             ([good, bad], 1, [f"{good} completed", f"{bad} cancelled"]), ([good, gone], 66, [f"{good} completed"]),
                             ([bad, good, "--any"], 0, None), ([gone, bad, "--any"], 66, None), ([bad, "--status", "cancelled,failed"], 0, None),
                             ([good, "-q"], 0, []), ([good, "-s", "pending"], 1, None)):
        done = daemon.client("wait", *words)
        equal(done.returncode, code, (words, done.stderr))
        check(out is None or sorted(done.stdout.decode().splitlines()) == sorted(out), (words, done.stdout))
        check((b"no task " + gone.encode() in done.stderr) == (gone in words), done.stderr)
    equal(json.loads(daemon.client("wait", "--json", good).stdout)["status"], "completed")


@case("wrong use is 64; the time that is over is 75; a signal ends it")
def limits():
    task = create()
    for words in ([], ["--any", "--all", task], ["-s", "done", task], ["-t", "soon", task]):
        equal(daemon.client("wait", *words).returncode, 64, words)
    done = daemon.client("wait", "-t", "100ms", task)
    equal((done.returncode, b"the time is over" in done.stderr), (75, True), done.stderr)
    equal(done.stderr, b"claudebench: the time is over: 1 of 1 tasks has not ended\n")
    equal(daemon.client("wait", "-t", "0", task).returncode, 75, "one look")
    began = time.monotonic()
    equal(daemon.client("wait", "-t", "1", task).returncode, 75, "one second")
    check(time.monotonic() - began >= 1, "not a millisecond")
    other = create()
    for words, said in (([task, other, task, other], b"2 of 2 tasks have not ended\n"), (["-s", "failed", task], b"1 of 1 tasks is not in that state\n")):
        done = daemon.client("wait", "-t", "0", *words)
        equal((done.returncode, done.stderr), (75, b"claudebench: the time is over: " + said))
    c.insist("task.cancel", {"id": other})
    p = waiting(task)
    p.send_signal(signal.SIGINT)
    end(p, -signal.SIGINT, [])
    c.insist("task.cancel", {"id": task})


@case("tasks that end while it waits: told by events; --any ends with the first")
def while_waiting():
    tasks = [create() for _ in range(3)]
    p, one = waiting(*tasks), waiting("--any", *tasks)
    tokens = {t["id"]: t["lease_token"] for t in c.insist("task.claim", {"workerId": "w1", "maxTasks": 100}).result["tasks"]}
    for task in (tasks[1], tasks[0]):
        c.insist("task.complete", {"id": task, "lease_token": tokens[task]})
    got, err = one.communicate(timeout=20)
    check(one.returncode == 0 and got.decode() in (f"{tasks[1]} completed\n", f"{tasks[0]} completed\n"), (got, err))
    check(p.poll() is None, "one is left")
    c.insist("task.fail", {"id": tasks[2], "lease_token": tokens[tasks[2]], "error": "x", "retry": False})
    end(p, 1, [f"{tasks[1]} completed", f"{tasks[0]} completed", f"{tasks[2]} failed"])


@case("a state that is over at once is noticed; what is completed and removed at once, too")
def short_states():
    task = create()
    p, q, j = waiting("-s", "in_progress", task), waiting(task), waiting("--json", task)
    token_ = claim(task)
    batch = [("task.complete", {"id": task, "lease_token": token_}, token()), ("task.delete", {"id": task}, token())]
    for method, params, _ in batch:
        c.insist(method, params)
    end(p, 0, [f"{task} in_progress"])
    end(q, 0, [f"{task} completed"])
    got, _ = j.communicate(timeout=20)
    equal((j.returncode, json.loads(got)["status"]), (0, "completed"))


@case("events that are removed, or a Redis that starts again, lose nothing")
def no_events():
    task = create()
    p = waiting(task)
    token_ = claim(task)
    with daemon.connect() as r:
        r.call("CLIENT", "KILL", "TYPE", "normal")
        c.insist("task.complete", {"id": task, "lease_token": token_})
        r.call("XTRIM", daemon.key("stream:events"), "MAXLEN", 0)
    end(p, 0, [f"{task} completed"])
    task = create()
    p = waiting(task)
    old = daemon.redis_pid()
    procs.kill(old)
    wait_until(lambda: daemon.redis_pid() not in (None, old), 10, "Redis again")
    wait_until(lambda: daemon.client("status").returncode == 0, 10, "healthy")
    complete(task)
    end(p, 0, [f"{task} completed"])


start()
main()
