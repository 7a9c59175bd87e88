#!/usr/bin/env python3
"""client_status_events.py: `claudebench status` and `claudebench events`."""

import json
import os
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


class Follower:
    def __init__(self, *options):
        self.path = f"{procs.folder()}/events-{len(os.listdir(procs.folder()))}"
        self.out = open(self.path, "wb")  # pylint: disable=consider-using-with
        self.process = procs.start([procs.binary("claudebench"), "events", "-f", "--json", *options],
                                   env={"CLAUDEBENCH_CONFIG": daemon.config_path}, stdout=self.out, stderr=subprocess.PIPE)

    def rows(self):
        with open(self.path, encoding="utf-8") as f:
            whole = f.read().rpartition("\n")[0]  # the last line may be on its way
            return [json.loads(line) for line in whole.splitlines()]

    def end(self):
        self.process.terminate()
        self.process.wait(10)
        self.out.close()


def create(n=1, **more):
    replies = c.insist_all([("task.create", {"text": "e", **more}, token()) for _ in range(n)])
    return [r.result["id"] for r in replies]


def stream_ids():
    return [i for i, _ in daemon.stream("stream:events")]


def follow_when_connected(*options):
    """A follower that has connected (it has shown the newest event)."""
    last = stream_ids()[-1]
    f = Follower("--since", "0", *options)
    wait_until(lambda: any(r["event"] == last for r in f.rows()) or options, 10, "the follower has caught up")
    return f


@case("status: exit 0 when healthy; names workers, Redis, methods; --json is one object")
def healthy():
    create(3)
    done = daemon.client("status")
    equal(done.returncode, 0, done.stderr)
    text = done.stdout.decode()
    for word in ("healthy", "test-host", "://", "task.create", "task ", "system "):
        check(word in text, text)
    answer = daemon.client_json("status", "--json")
    equal((answer["status"], answer["instance"], answer["pid"]), ("healthy", "test-host", daemon.pid))
    check(len(answer["workers"]) >= 3, answer["workers"])


def timed_client(*words):
    """ms from the start of the client's process to its end."""
    binary = procs.binary("claudebench")
    env = procs.environment({"CLAUDEBENCH_CONFIG": daemon.config_path})
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    began = time.monotonic()
    pid = os.posix_spawn(binary, [binary, *words], env, file_actions=quiet)
    _, code = os.waitpid(pid, 0)
    took = (time.monotonic() - began) * 1000
    check(os.waitstatus_to_exitcode(code) in (0, 1), f"exit {os.waitstatus_to_exitcode(code)}")
    return took


@case("status: a stopped Redis does not keep it waiting; 1 when not healthy; 69 without a daemon")
def not_healthy():
    redis = daemon.redis_pid()
    watching = procs.start([procs.binary("claudebench"), "status", "--watch", "--json"],
                           env={"CLAUDEBENCH_CONFIG": daemon.config_path}, stdout=subprocess.PIPE)
    equal(json.loads(watching.stdout.readline())["status"], "healthy")
    procs.kill(redis, signal.SIGSTOP)
    try:
        while json.loads(watching.stdout.readline())["status"] == "healthy":
            check(watching.poll() is None, "goes on")
        wait_until(lambda: b"redis is down" in daemon.client("status").stdout, 10, "the daemon has noticed")
        done = daemon.client("status")
        equal((done.returncode, done.stderr), (1, b""))
        check(b"degraded" in done.stdout and b"reason    redis is down" in done.stdout, done.stdout)
        times = sorted(timed_client("status") for _ in range(20))
        note(f"status with a stopped Redis: median {times[10]:.1f} ms, slowest {times[-1]:.1f} ms")
        check(times[10] <= 50, f"{times}")
    finally:
        procs.kill(redis, signal.SIGCONT)
    wait_until(lambda: daemon.client("status").returncode == 0, 10, "healthy again")
    while json.loads(watching.stdout.readline())["status"] != "healthy":
        check(watching.poll() is None, "goes on while it is not healthy")
    watching.send_signal(signal.SIGINT)
    watching.stdout.close()
    equal(watching.wait(10), -signal.SIGINT)


@case("events: all that is kept, in order; --since; --type; a line for people")
def events():
    ids = create(700)
    rows = [json.loads(line) for line in daemon.client("events", "--json").stdout.decode().splitlines()]
    equal([r["event"] for r in rows], stream_ids())
    created = {t for r in rows if r["type"] == "task.created" for t in (r.get("ids") or r["id"]).split()}
    check(set(ids) <= created, "every creation is there")
    middle = rows[len(rows) // 2]["event"]
    later = [json.loads(line)["event"] for line in daemon.client("events", "--json", "--since", middle).stdout.decode().splitlines()]
    equal(later, stream_ids()[stream_ids().index(middle) + 1 :])
    typed = [json.loads(line) for line in daemon.client("events", "--json", "--type", "leader.*").stdout.decode().splitlines()]
    check(typed and all(r["type"].startswith("leader.") for r in typed), typed)
    text = daemon.client("events", "--since", middle).stdout.decode().splitlines()
    check("task.created" in text[0] and "queue=default" in text[0], text[0])


@case("events -f without --since begins with the next event")
def follow_new():
    before = stream_ids()
    f = Follower()

    def shows_new():
        create()
        return f.rows()

    wait_until(shows_new, 10, "a new event", step=0.05)
    f.end()
    check(not set(r["event"] for r in f.rows()) & set(before), "nothing old")


@case("events -f goes on behind the last id over lost connections: no gap, none twice")
def follow_cut():
    f = follow_when_connected()
    with daemon.connect() as r:
        for _ in range(6):
            create(20)
            r.call("CLIENT", "KILL", "TYPE", "normal")
            create(20)
    last = stream_ids()[-1]
    wait_until(lambda: f.rows() and f.rows()[-1]["event"] == last, 15, "it has caught up")
    f.end()
    equal([r["event"] for r in f.rows()], stream_ids())


@case("events -f survives a restart of Redis")
def follow_restart():
    f = follow_when_connected()
    old = daemon.redis_pid()
    procs.kill(old)
    wait_until(lambda: daemon.redis_pid() not in (None, old), 10, "Redis again")
    create(5)
    last = stream_ids()[-1]
    wait_until(lambda: any(r["event"] == last for r in f.rows()), 15, "it has caught up")
    f.end()
    seen = [r["event"] for r in f.rows()]
    equal(len(set(seen)), len(seen), "none twice")
    check(set(stream_ids()) <= set(seen), "no gap")


start()
main()
