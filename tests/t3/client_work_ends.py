#!/usr/bin/env python3
"""client_work_ends.py: `claudebench work`: leases that are kept and lost, and every way that it can end."""

import os
import signal
import time

from cbtest import *
from working import (LEASE, Work, add, exists, fifo, get, gone, let_all_go, let_go, parse_time, pid_in, queue_name,
                     read_file, script, start, wait_status)

daemon, c = start()


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
    w = Work("--lease", "6", "--jobs", "2", command=["cat", gate], queue=queue)
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
    w = Work("--lease", "60", command=["cat", gate], queue=queue)
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


@case("TERM: a running job may finish and is completed; nothing new is claimed; exit 0", faults="F11")
def term_finishes():
    queue = queue_name()
    gate = fifo()
    tasks = [add(queue), add(queue)]
    w = Work(command=["cat", gate], queue=queue)
    wait_status(tasks[0], "in_progress")
    w.term()
    wait_until(lambda: "stopping: 1 running job may finish within 10s; " in w.said(), 5, w.said)
    let_go(gate)
    equal(w.wait(), 0, w.said())
    equal([get(t)["status"] for t in tasks], ["completed", "pending"])


@case("TERM: what outlasts --grace gets TERM and goes back, the attempt not charged; within grace + 2 s", faults="F11")
def term_releases():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    job = script(f"trap '' TERM\necho $$ > {pid_file}\nwhile :; do sleep 0.05; done")
    task = add(queue)
    w = Work("--grace", "500ms", command=[job], queue=queue)
    pid = pid_in(pid_file)
    began = time.monotonic()
    w.term()
    equal(w.wait(), 0, w.said())
    check(0.4 < time.monotonic() - began < 2.5, f"{time.monotonic() - began} s")
    check(gone(pid), "killed")
    equal((get(task)["status"], get(task)["attempt"]), ("pending", 0), w.said())


@case("HUP, also twice: a running job may finish, as after TERM; under nohup nothing happens", faults="F11")
def hang_up():
    queue = queue_name()
    gate = fifo()
    tasks = [add(queue), add(queue)]
    w = Work(command=["cat", gate], queue=queue)
    wait_status(tasks[0], "in_progress")
    w.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stopping" in w.said(), 5, w.said)
    w.process.send_signal(signal.SIGHUP)
    let_go(gate)
    equal(w.wait(), 0, w.said())
    equal([get(t)["status"] for t in tasks], ["completed", "pending"])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    w = Work(command=["cat", gate], queue=queue)
    signal.signal(signal.SIGHUP, before)
    wait_status(tasks[1], "in_progress")
    w.process.send_signal(signal.SIGHUP)
    let_go(gate)
    wait_status(tasks[1], "completed")
    check("stopping" not in w.said(), w.said())
    w.stop()


@case("a second TERM ends the jobs at once and releases them", faults="F11")
def second_term():
    queue = queue_name()
    pid_file = f"{procs.folder()}/pid-{queue}"
    job = script(f"trap '' TERM\necho $$ > {pid_file}\nwhile :; do sleep 0.05; done")
    task = add(queue)
    w = Work("--grace", "60", command=[job], queue=queue)
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
    w = Work("--lease", "1", command=[job], queue=queue)
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
        equal(daemon.told("task.completed").count(task), 1, step)


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


main()
