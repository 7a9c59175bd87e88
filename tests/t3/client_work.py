#!/usr/bin/env python3
"""client_work.py: `claudebench work`: what a job gets, how its outcome is told, and every way it can end."""

import datetime
import json
import os
import signal
import stat
import time

from cbtest import *

LEASE = 1200

daemon = None
c = None
counter = 0


def start():
    global daemon, c
    daemon = Daemon(config={"task": {"lease_ms": LEASE, "backoff_ms": 100}, "cluster": {"agent_lease_ms": 5 * LEASE}})
    at_exit(daemon.stop)
    c = daemon.caller()


class Work:
    """A running `claudebench work`. Its stderr is in .said()."""

    def __init__(self, *options, command, queue=None, env=None):
        global counter
        counter += 1
        self.queue = queue or f"q{counter}"
        self.id = f"w{counter}"
        self.log = f"{procs.folder()}/work-{counter}.log"
        words = list(options)
        if "--id" not in words:
            words += ["--id", self.id]
        else:
            self.id = words[words.index("--id") + 1]
        with open(self.log, "wb") as log:
            self.process = procs.start(
                [procs.binary("claudebench"), "work", "--queue", self.queue, *words, "--", *command],
                env={"CLAUDEBENCH_CONFIG": daemon.config_path, "SECRET_OF_MINE": "1", **(env or {})},
                stdout=log,
                stderr=log,
            )

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=15):
        try:
            return self.process.wait(timeout)
        except Exception:
            fail(f"{self.id} did not end within {timeout} s: {self.said()}")

    def stop(self, want=0):
        self.term()
        equal(self.wait(), want, self.said())


def queue_name():
    return f"q{counter + 1}"


def add(queue, text="t", **more):
    reply = c.insist("task.create", {"text": text, "queue": queue, **more})
    check(reply.ok, short(reply.raw))
    return reply.result["id"]


def get(task):
    reply = c.insist("task.get", {"id": task})
    check(reply.ok, short(reply.raw))
    return reply.result


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def wait_status(task, status, timeout=10.0):
    wait_until(lambda: get(task)["status"] == status, timeout, lambda: f"{task} {status}: {get(task)}")
    return get(task)


def script(text):
    """An executable sh script."""
    global counter
    counter += 1
    path = f"{procs.folder()}/job-{counter}.sh"
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


def fifo():
    global counter
    counter += 1
    path = f"{procs.folder()}/fifo-{counter}"
    os.mkfifo(path)
    return path


def let_go(path, timeout=10.0):
    """Lets the reader of a fifo go on; waits for it to be there."""

    def try_open():
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            return True
        except OSError:
            return False

    wait_until(try_open, timeout, f"a reader of {path}")


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def exists(path):
    return os.path.exists(path)


def gone(pid):
    return not procs.alive(pid)


def pid_in(path):
    wait_until(lambda: exists(path) and read_file(path).endswith(b"\n"), 10, f"a pid in {path}")
    return int(read_file(path).split()[0])


# ---- what a job gets and gives ----


@case("a job gets the task on stdin and its ids in the environment, never the lease token")
def what_a_job_gets():
    out = f"{procs.folder()}/seen"
    queue = queue_name()
    payload = b'{"big":9007199254740993,"empty":[],"o":{}}'
    task = json.loads(
        c.wait(c.send("task.create", b'{"text":"a \\u001b text","queue":"' + queue.encode() + b'","payload":' + payload + b"}")).raw
    )["result"]["id"]
    w = Work("--once", command=["sh", "-c", f"cat > {out}.in; env > {out}.env; echo done"], queue=queue)
    equal(w.wait(), 0, w.said())
    given = read_file(out + ".in")
    task_json = json.loads(given)
    equal(task_json["id"], task)
    equal(task_json["text"], "a \x1b text")
    check(payload in given, f"the payload byte by byte: {given!r}")
    check(b"lease_token" not in given, "no token on stdin")
    env = read_file(out + ".env").decode()
    check(f"CLAUDEBENCH_TASK_ID={task}\n" in env and "CLAUDEBENCH_ATTEMPT=1\n" in env, env)
    check(f"CLAUDEBENCH_QUEUE={queue}\n" in env and "SECRET_OF_MINE=1\n" in env, env)
    check("token" not in env.lower(), env)
    done = wait_status(task, "completed")
    equal(done["result"], "done\n")


@case("stdout becomes the result: JSON as it is, text as a string, nothing as none")
def results():
    for printed, want in (
        ('{"n": 9007199254740993, "e": []}', '{"n": 9007199254740993, "e": []}'),
        ("  [1,2]  \\n", "[1,2]"),
        ("null", "null"),
        ("12", "12"),
        ("plain text\\n", '"plain text\\n"'),
        ('{"a":1}{"b":2}', '"{\\"a\\":1}{\\"b\\":2}"'),
        ("bad \\377 byte", '"bad \ufffd byte"'),
        ("tab\\011 \\033 nul\\000!", '"tab\\t \\u001b nul\\u0000!"'),
    ):
        queue = queue_name()
        task = add(queue)
        w = Work("--drain", command=["printf", printed], queue=queue)
        equal(w.wait(), 0, w.said())
        raw = c.ask("task.get", {"id": task}).raw.decode()
        check('"result":' + want in raw, f"{printed!r} gave {raw}")
    queue = queue_name()
    task = add(queue)
    equal(Work("--drain", command=["true"], queue=queue).wait(), 0)
    check("result" not in wait_status(task, "completed"), "no result")


@case("a failure tells exit status or signal and the last lines of stderr, as clean UTF-8 within 2000 bytes")
def failures():
    for text, want in (
        ("echo first >&2; echo last >&2; exit 3", "exit status 3: first\nlast"),
        ("exit 1", "exit status 1"),
        ("kill -9 $$", "killed by signal 9 (Killed)"),
        ("kill -SEGV $$", "killed by signal 11 (Segmentation fault)"),
        (r"printf 'a\377b\033\n' >&2; exit 2", "exit status 2: a\ufffdb\x1b"),
    ):
        queue = queue_name()
        task = add(queue, max_attempts=1)
        w = Work("--once", command=["sh", "-c", text], queue=queue)
        equal(w.wait(), 0, w.said())
        done = wait_status(task, "failed")
        equal(done["error"], want, text)
        check(done["dead"], "no attempt is left")
        check("\x1b" not in w.said(), "nothing raw on our stderr")
    queue = queue_name()
    task = add(queue, max_attempts=1)
    many = script("i=0; while [ $i -lt 2000 ]; do echo line-$i >&2; i=$((i+1)); done; exit 1")
    w = Work("--once", command=[many], queue=queue)
    equal(w.wait(), 0, w.said())
    error = wait_status(task, "failed")["error"]
    check(error.startswith("exit status 1: line-") and error.endswith("line-1999"), error[:60] + "…" + error[-60:])
    check(1500 < len(error.encode()) <= 2000, len(error))
    queue = queue_name()
    task = add(queue, max_attempts=1)
    w = Work("--once", command=["sh", "-c", r"head -c 5000 /dev/zero | tr '\0' '\377' >&2; exit 1"], queue=queue)
    equal(w.wait(), 0, w.said())
    check(len(wait_status(task, "failed")["error"].encode()) <= 2000, "bytes that grow stay in the limit")


@case("a failed task is tried again after its back-off, and may succeed")
def tried_again():
    queue = queue_name()
    task = add(queue)
    w = Work(command=["sh", "-c", "test $CLAUDEBENCH_ATTEMPT = 2"], queue=queue)
    done = wait_status(task, "completed")
    equal(done["attempt"], 2)
    w.stop()
    check(f"{task} failed (attempt 1" in w.said() and f"{task} completed (attempt 2" in w.said(), w.said())


@case("a result that is too large is a clear failure, not tried again; one at the limit goes through")
def large_results():
    for size, ok in ((200000, True), (262145, False), (5000000, False)):
        queue = queue_name()
        task = add(queue)
        w = Work("--drain", command=["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x"], queue=queue)
        equal(w.wait(), 0, w.said())
        if ok:
            equal(len(wait_status(task, "completed")["result"]), size)
        else:
            done = wait_status(task, "failed")
            check("too large" in done["error"], done["error"])
            equal(done["attempt"], 1)


@case("a command that does not exist is wrong use; one that cannot start fails its task")
def no_command():
    done = daemon.client("work", "--", "no-such-command")
    equal(done.returncode, 64)
    check(b"no-such-command" in done.stderr, done.stderr)
    bad = f"{procs.folder()}/bad"
    with open(bad, "w", encoding="ascii") as f:
        f.write("#!/no/such/interpreter\n")
    os.chmod(bad, stat.S_IRWXU)
    queue = queue_name()
    task = add(queue, max_attempts=1)
    w = Work("--once", command=[bad], queue=queue)
    equal(w.wait(), 0, w.said())
    check("No such file" in wait_status(task, "failed")["error"], get(task))


# ---- choosing ----


@case("--jobs runs that many at once, and no more")
def parallel():
    queue = queue_name()
    gate = fifo()
    marks = procs.subfolder("m")
    tasks = [add(queue) for _ in range(5)]
    w = Work("--jobs", "3", command=["sh", "-c", f"echo > {marks}/$CLAUDEBENCH_TASK_ID; cat {gate}"], queue=queue)
    wait_until(lambda: len(os.listdir(marks)) == 3, 10, "three running")
    holds_for(lambda: len(os.listdir(marks)) == 3, 0.5, "no fourth")
    let_all_go(gate, lambda: len(os.listdir(marks)) == 5)
    let_all_go(gate, lambda: all(get(t)["status"] == "completed" for t in tasks))
    w.stop()


def let_all_go(gate, is_done, timeout=10.0):
    """Opens and closes the fifo until the readers are through."""

    def look():
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            pass
        return is_done()

    wait_until(look, timeout, "all jobs through")


@case("priority first, then the order of creation; the next task comes with the completion of the last")
def order_and_next():
    queue = queue_name()
    ledger = f"{procs.folder()}/ledger-{queue}"
    low = [add(queue, priority=10) for _ in range(10)]
    high = [add(queue, priority=90) for _ in range(10)]
    before = json.loads(daemon.client("status", "--json").stdout)["methods"].get("task.claim", {}).get("requests", 0)
    w = Work("--drain", command=["sh", "-c", f"echo $CLAUDEBENCH_TASK_ID >> {ledger}"], queue=queue)
    equal(w.wait(), 0, w.said())
    equal(read_file(ledger).decode().split(), high + low)
    after = json.loads(daemon.client("status", "--json").stdout)["methods"]["task.claim"]["requests"]
    check(after - before <= 4, f"{after - before} claims for 20 tasks")


@case("--roles: tasks that ask for a role go to workers that have it; --queue keeps to its queue")
def roles():
    queue = queue_name()
    other = add(queue + "x")
    special = add(queue, roles=["gpu"])
    equal(Work("--drain", command=["true"], queue=queue).wait(), 0)
    equal(get(special)["status"], "pending")
    equal(Work("--drain", "--roles", "cpu,gpu", command=["true"], queue=queue).wait(), 0)
    equal(get(special)["status"], "completed")
    equal(get(other)["status"], "pending")


@case("--once runs one task and leaves; it is registered meanwhile and unregistered afterwards")
def once():
    queue = queue_name()
    tasks = [add(queue), add(queue)]
    gate = fifo()
    w = Work("--once", command=["cat", gate], queue=queue)
    wait_status(tasks[0], "in_progress")
    with daemon.connect() as r:
        instance = r.hash(daemon.key(f"instance:{w.id}"))
    equal(instance["st"], b"ACTIVE")
    let_go(gate)
    equal(w.wait(), 0, w.said())
    equal([get(t)["status"] for t in tasks], ["completed", "pending"])
    with daemon.connect() as r:
        check(r.hash(daemon.key(f"instance:{w.id}")).get("st") != b"ACTIVE", "unregistered")
    equal(daemon.client("work", "--queue", queue, "--drain", "--", "true").returncode, 0)


# ---- leases ----


@case("a job may run for longer than its lease: it is renewed, and runs once")
def renewed():
    queue = queue_name()
    gate = fifo()
    task = add(queue)
    w = Work(command=["cat", gate], queue=queue)
    first = wait_status(task, "in_progress")
    holds_for(lambda: get(task)["status"] == "in_progress", 2.5 * LEASE / 1000, "the lease holds")
    equal(get(task)["attempt"], 1)
    check(get(task)["lease_until"] > first["lease_until"], "it was renewed")
    let_go(gate)
    equal(wait_status(task, "completed")["attempt"], 1)
    w.stop()


@case("a task with a lease of its own, shorter than the others', is renewed in time")
def short_lease():
    queue = queue_name()
    gate = fifo()
    task = add(queue, lease_ms=800)
    w = Work(command=["cat", gate], queue=queue)
    wait_status(task, "in_progress")
    holds_for(lambda: get(task)["status"] == "in_progress", 1.5, "the lease holds")
    let_go(gate)
    equal(wait_status(task, "completed")["attempt"], 1)
    w.stop()


@case("--lease: a job of a task with a shorter lease is renewed by that, and lost when another one ends it")
def own_lease():
    queue = queue_name()
    gate = fifo()
    task, other = add(queue, lease_ms=800), add(queue)
    w = Work("--lease", "6000", "--jobs", "2", command=["cat", gate], queue=queue)
    wait_status(task, "in_progress")
    wait_status(other, "in_progress")
    holds_for(lambda: get(task)["status"] == "in_progress", 3.5, "the lease holds")
    check(parse_time(get(task)["lease_until"]) - parse_time(get(task)["updatedAt"]) > 6.5, "it was renewed by --lease")
    c.call("task.complete", {"id": other, "result": "mine"})
    wait_until(lambda: f"{other} dropped" in w.said(), 10, w.said)
    let_go(gate)
    equal(wait_status(task, "completed")["attempt"], 1)
    equal(get(other)["result"], "mine")
    w.stop()


@case("a lease that was lost: the job gets TERM, its outcome is never told")
def lease_lost():
    queue = queue_name()
    pid_file, term_file = f"{procs.folder()}/pid-{queue}", f"{procs.folder()}/term-{queue}"
    job = script(f"trap 'echo > {term_file}; exit 0' TERM\necho $$ > {pid_file}\nwhile :; do sleep 0.05; done")
    task = add(queue)
    w = Work(command=[job], queue=queue)
    pid = pid_in(pid_file)
    # Somebody without a token ends it behind the worker's back.
    c.call("task.complete", {"id": task, "result": "mine"})
    wait_until(lambda: gone(pid), 10, "the job ends")
    check(exists(term_file), "it got TERM first")
    equal(get(task)["result"], "mine")
    wait_until(lambda: f"{task} dropped" in w.said(), 5, w.said)
    w.stop()
    equal(get(task)["result"], "mine")


@case("a job that does not hear TERM is killed 5 s later, with all that it has started")
def kill_after_term():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    job = script(f"trap '' TERM\nsh -c 'while :; do sleep 0.05; done' &\necho $$ $! > {pid_file}\nwhile :; do sleep 0.05; done")
    task = add(queue)
    w = Work(command=[job], queue=queue)
    pid = pid_in(pid_file)
    child = int(read_file(pid_file).split()[1])
    c.call("task.complete", {"id": task})
    holds_for(lambda: not gone(pid), 3, "it has time after TERM")
    wait_until(lambda: gone(pid) and gone(child), 5, "killed")
    w.stop()


@case("an instance that was forgotten registers again and goes on; its old job ends")
def forgotten():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    gate = fifo()
    job = script(f"echo $$ > {pid_file}.$CLAUDEBENCH_ATTEMPT\nexec cat {gate}")
    task = add(queue)
    w = Work(command=[job], queue=queue)
    pid = pid_in(pid_file + ".1")
    with daemon.connect() as r:
        first = r.hash(daemon.key(f"instance:{w.id}"))["inc"]

        def forget():  # its deadline has passed; a beat may come before the tick that sees it
            r.call("ZADD", daemon.key("instances:active"), 0, w.id)
            return gone(pid)

        wait_until(forget, 10, "the job ends", step=0.05)

    def again():
        with daemon.connect() as r:
            return r.hash(daemon.key(f"instance:{w.id}")).get("inc", first) != first

    wait_until(again, 10, "a new incarnation")
    pid_in(pid_file + ".2")
    let_go(gate)
    equal(wait_status(task, "completed")["attempt"], 2)
    w.stop()


@case("a completion of a worker that was given up meanwhile is still decided by its lease; it registers again")
def given_up():
    queue = queue_name()
    gate = fifo()
    task = add(queue, lease_ms=60000)
    w = Work("--lease", "60000", command=["cat", gate], queue=queue)
    wait_status(task, "in_progress")
    with daemon.connect() as r:
        first = r.hash(daemon.key(f"instance:{w.id}"))["inc"]
        r.call("HSET", daemon.key(f"instance:{w.id}"), "st", "OFFLINE")
        let_go(gate)
        equal(wait_status(task, "completed")["attempt"], 1)
        r.call("ZADD", daemon.key("instances:active"), 0, w.id)
        wait_until(lambda: r.hash(daemon.key(f"instance:{w.id}")).get("inc", first) != first, 10, "a new incarnation")
    second = add(queue)
    let_all_go(gate, lambda: get(second)["status"] == "completed")
    w.stop()


@case("a second process of the same name takes over; the first leaves with 73 and its task goes back")
def taken_over():
    queue = queue_name()
    gate = fifo()
    task = add(queue)
    first = Work("--id", f"same-{queue}", command=["cat", gate], queue=queue)
    wait_status(task, "in_progress")
    second = Work("--id", f"same-{queue}", command=["cat", gate], queue=queue)
    equal(first.wait(), 73, first.said())
    check("another process has registered" in first.said(), first.said())
    wait_until(lambda: get(task)["attempt"] == 2, 10, lambda: get(task))
    let_go(gate)
    equal(wait_status(task, "completed")["attempt"], 2)
    second.stop()


# ---- stopping ----


@case("TERM: a running job may finish and is completed; nothing new is claimed; exit 0")
def term_finishes():
    queue = queue_name()
    gate = fifo()
    tasks = [add(queue), add(queue)]
    w = Work(command=["cat", gate], queue=queue)
    wait_status(tasks[0], "in_progress")
    w.term()
    wait_until(lambda: "stopping" in w.said(), 5, w.said)
    let_go(gate)
    equal(w.wait(), 0, w.said())
    equal([get(t)["status"] for t in tasks], ["completed", "pending"])


@case("TERM: what outlasts --grace gets TERM and goes back, the attempt not charged; within grace + 2 s")
def term_releases():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    job = script(f"trap '' TERM\necho $$ > {pid_file}\nwhile :; do sleep 0.05; done")
    task = add(queue)
    w = Work("--grace", "500", command=[job], queue=queue)
    pid = pid_in(pid_file)
    began = time.monotonic()
    w.term()
    equal(w.wait(), 0, w.said())
    check(0.4 < time.monotonic() - began < 2.5, f"{time.monotonic() - began} s")
    check(gone(pid), "killed")
    equal((get(task)["status"], get(task)["attempt"]), ("pending", 0), w.said())


@case("a second TERM ends the jobs at once and releases them")
def second_term():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    job = script(f"trap '' TERM\necho $$ > {pid_file}\nwhile :; do sleep 0.05; done")
    task = add(queue)
    w = Work("--grace", "60000", command=[job], queue=queue)
    pid = pid_in(pid_file)
    w.term()
    wait_until(lambda: "stopping" in w.said(), 5, w.said)
    w.term()
    equal(w.wait(3), 0, w.said())
    check(gone(pid), "killed")
    equal((get(task)["status"], get(task)["attempt"]), ("pending", 0), w.said())


@case("kill -9 of work leaves nothing running, grandchildren included; the task is run again by another")
def killed():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    job = script(
        f"if [ $CLAUDEBENCH_ATTEMPT -gt 1 ]; then exit 0; fi\n"
        f"sh -c 'while :; do sleep 0.05; done' & echo $$ $! > {pid_file}\nwait"
    )
    task = add(queue)
    w = Work("--lease", "1000", command=[job], queue=queue)
    pid = pid_in(pid_file)
    child = int(read_file(pid_file).split()[1])
    w.process.kill()
    w.process.wait()
    wait_until(lambda: gone(pid) and gone(child), 2, "job and grandchild gone")
    other = Work(command=[job], queue=queue)
    equal(wait_status(task, "completed", 10)["attempt"], 2)
    other.stop()
    wait_until(lambda: not [p for p in procs.token_holders() if "@work-keeper" in procs.cmdline(p)], 5, "no keeper left")


@case("work killed at each step of a task's life: the task is completed once, by it or by another")
def killed_at_steps():
    need_failpoints(procs.binary("claudebench"))
    for step, attempts in (("work_claimed", 2), ("work_job_ended", 2), ("work_completed", 1)):
        queue = queue_name()
        task = add(queue)
        w = Work(command=["sh", "-c", "echo $CLAUDEBENCH_ATTEMPT"], queue=queue, env=failpoints_env(failpoint(step, "kill")))
        equal(w.wait(), -signal.SIGKILL, step)
        other = Work(command=["sh", "-c", "echo $CLAUDEBENCH_ATTEMPT"], queue=queue)
        last = add(queue)
        wait_status(last, "completed")
        done = wait_status(task, "completed", 10)
        equal((done["attempt"], done["result"]), (attempts, attempts), step)
        other.stop()
        completed = [f["id"].decode() for _, f in daemon.stream("stream:events") if f["type"] == b"task.completed"]
        equal(completed.count(task), 1, step)


# ---- Redis ----


@case("Redis killed and restarted under a running job: the job goes on and is completed once")
def redis_killed():
    queue = queue_name()
    gate = fifo()
    task = add(queue)
    w = Work(command=["cat", gate], queue=queue)
    wait_status(task, "in_progress")
    old = daemon.redis_pid()
    procs.kill(old)
    wait_until(lambda: daemon.redis_pid() not in (None, old), 10, "Redis again")
    let_go(gate)
    equal(wait_status(task, "completed", 15)["attempt"], 1)
    w.stop()


@case("Redis stopped for longer than the lease: the job ends, and is run again when Redis is back")
def redis_stopped():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    gate = fifo()
    job = script(f"echo $$ > {pid_file}.$CLAUDEBENCH_ATTEMPT.$$\nexec cat {gate}")
    task = add(queue)
    w = Work(command=[job], queue=queue)
    wait_until(lambda: [f for f in os.listdir(procs.folder()) if f.startswith(f"pid-{queue}.")], 10, "it runs")
    name = [f for f in os.listdir(procs.folder()) if f.startswith(f"pid-{queue}.")][0]
    pid = pid_in(f"{procs.folder()}/{name}")
    redis = daemon.redis_pid()
    procs.kill(redis, signal.SIGSTOP)
    try:
        wait_until(lambda: gone(pid), 10, "the job ends")
        check("its lease is over" in w.said(), w.said())
    finally:
        procs.kill(redis, signal.SIGCONT)
    let_all_go(gate, lambda: get(task)["status"] == "completed", 20)
    w.stop()
    check(f"{task} completed" in w.said(), w.said())


start()
main()
