#!/usr/bin/env python3
"""long_poll.py: claims that wait, whole: `claudebench work` and `call` that are woken, what waiting costs, and every way in
which a waiter, a daemon or Redis can go away meanwhile."""

import json
import os
import signal
import statistics
import threading
import time

from cbtest import *

daemon = None
c = None
counter = 0


def start():
    global daemon, c
    daemon = Daemon()
    at_exit(daemon.stop)
    c = daemon.caller()


class Work:
    """A running `claudebench work` whose jobs tell through a fifo that they began."""

    def __init__(self, *options, queue, d=None, command=None):
        global counter
        counter += 1
        self.id = f"w{counter}"
        self.log = f"{procs.folder()}/work-{counter}.log"
        self.fifo = f"{procs.folder()}/began-{counter}"
        os.mkfifo(self.fifo)
        self.began = os.open(self.fifo, os.O_RDWR)
        job = command or ["sh", "-c", f"echo $CLAUDEBENCH_TASK_ID > {self.fifo}"]
        with open(self.log, "wb") as log:
            self.process = procs.start(
                [procs.binary("claudebench"), "work", "--id", self.id, "--queue", queue, *options, "--", *job],
                env={"CLAUDEBENCH_CONFIG": (d or daemon).config_path}, stdout=log, stderr=log)

    def next(self, timeout=10.0):
        """Waits for the next job to begin; its task's id."""
        line = []
        reader = threading.Thread(target=lambda: line.append(os.read(self.began, 100)), daemon=True)
        reader.start()
        reader.join(timeout)
        check(line, f"{self.id}: no job began within {timeout} s: {self.said()}")
        return line[0].decode().split()[0]

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, timeout=10):
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        equal(self.process.wait(timeout), 0, self.said())
        return time.monotonic() - began


def waiting(d=None):
    """How many claims wait."""
    with (d or daemon).connect() as r:
        return r.call("HLEN", "cb:waiters")


def waiters_left(d=None):
    with (d or daemon).connect() as r:
        return {k.decode() for k in r.scan("cb:waiters*")}


def wait_parked(n, d=None, timeout=10.0):
    wait_until(lambda: waiting(d) == n, timeout, lambda: f"{n} claims wait: {waiting(d)}")


def add(queue, caller=None, **more):
    reply = (caller or c).insist("task.create", {"text": "t", "queue": queue, **more})
    check(reply.ok, short(reply.raw))
    return reply.result["id"]


def status(task, caller=None):
    return (caller or c).insist("task.get", {"id": task}).result["status"]


def wait_completed(*tasks, caller=None, timeout=15.0):
    wait_until(lambda: all(status(t, caller) == "completed" for t in tasks), timeout,
               lambda: f"completed: {[status(t, caller) for t in tasks]}")


@case("a task starts at once when it is created, not at the next poll")
def latency():
    w = Work(queue="fast")
    took = []
    for _ in range(60):
        wait_parked(1)
        began = time.monotonic()
        c.send("task.create", {"text": "t", "queue": "fast"})
        w.next()
        took.append((time.monotonic() - began) * 1000)
        c.poll(0.01)
    took.sort()
    note(f"from task.create to the job's first line: median {statistics.median(took):.2f} ms, "
         f"p90 {took[54]:.2f} ms, most {took[-1]:.2f} ms (aim: median 5 ms)")
    # A bound that a busy machine keeps and that polling (50 to 1000 ms) does not.
    check(statistics.median(took) < 50, f"median {statistics.median(took):.1f} ms")
    w.stop()
    equal(waiters_left(), set())


def sent_commands(d, seconds):
    """How many commands clients send to Redis in a second (not what scripts do)."""
    with d.connect(timeout=60) as r:
        r.call("MONITOR")
        until, n = time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0:
            try:
                line = r.read(left)
            except Lost:
                break
            n += b" lua]" not in line
    return n / seconds


@case("an idle worker costs at most 2 Redis commands a second, those of the daemon for it included")
def idle_cost():
    redis = PrivateRedis()
    with Daemon(redis=redis) as d:
        alone = sent_commands(d, 4)
        works = [Work(queue="q", d=d) for _ in range(8)]
        wait_parked(8, d)
        before = int(redis.client().info("stats")["total_commands_processed"])
        idle = sent_commands(d, 12)
        inner = (int(redis.client().info("stats")["total_commands_processed"]) - before) / 12
        note(f"commands a second: {alone:.2f} of the daemon alone, {idle:.2f} with 8 idle workers, so "
             f"{(idle - alone) / 8:.2f} a worker; {inner:.1f} in all with those inside scripts")
        check((idle - alone) / 8 <= 2, f"{(idle - alone) / 8:.2f} commands a second and worker")
        for w in works:
            check(w.stop() < 5, "it leaves")
        equal(waiters_left(d), set())
    redis.stop()


@case("200 claims wait and a task comes: one is woken and gets it, nobody else stirs; n tasks wake n")
def no_herd():
    queue, n = "herd", 200
    rids = c.send_many([("task.claim", {"workerId": f"w{i}", "queue": queue, "wait_ms": 30000}, {"idem": token()})
                        for i in range(n)])
    wait_parked(n)
    began = time.monotonic()
    task = add(queue)
    wait_until(lambda: c.poll(0.05) or waiting() < n, 5, "one is woken")
    equal(c.call("task.claim", {"workerId": "w0", "queue": queue})["taskId"], task)
    took = time.monotonic() - began
    holds_for(lambda: c.poll(0.01) == 0, 1.2, "nobody else is woken, though ticks go by")
    woken = [r for r in rids if r in c.replies]
    # A task that lies there for 100 ms has woken somebody who is dead, for all that the tick knows.
    check(len(woken) == 1 or took > 0.1 and len(woken) == 2, f"{len(woken)} are woken, {took * 1000:.0f} ms")
    equal(c.replies[woken[0]].result, {"claimed": False, "tasks": [], "wake": True})
    more = [add(queue) for _ in range(n - len(woken))]
    wait_until(lambda: c.poll(0.05) or waiting() == 0, 5, "each task wakes one")
    equal(len([r for r in rids if r in c.replies]), n)
    for t in more:
        c.call("task.delete", {"id": t})
    equal(waiters_left(), set())


@case("`call task.claim` with wait_ms shows the task that comes, and nothing when none does")
def call():
    began = time.monotonic()
    done = daemon.client("call", "task.claim", '{"workerId":"me","queue":"call","wait_ms":1000}')
    took = time.monotonic() - began
    equal([done.returncode, json.loads(done.stdout)], [0, {"claimed": False, "tasks": []}])
    check(1.0 <= took < 5, f"{took:.2f} s")
    out = []
    ask = threading.Thread(target=lambda: out.append(
        daemon.client("call", "task.claim", '{"workerId":"me","queue":"call","wait_ms":20000}', timeout=40)))
    ask.start()
    wait_parked(1)
    task = add("call")
    ask.join(10)
    check(out, "the call has not returned")
    equal(json.loads(out[0].stdout)["taskId"], task)
    equal(waiters_left(), set())


@case("a wake is lost to another claim: the caller waits on, and not longer than it said")
def overtaken():
    out = []
    with Daemon(config={"domains": {"task": {"workers": 1}}}) as d:
        caller = d.caller()
        ask = threading.Thread(target=lambda: out.append(
            (time.monotonic(), d.client("call", "task.claim", '{"workerId":"me","wait_ms":3000}', timeout=40),
             time.monotonic())))
        ask.start()
        wait_parked(1, d)
        for _ in range(3):
            # With one worker the second is served before whoever the first has woken.
            rids = caller.send_many([("task.create", {"text": "t"}, {}), ("task.claim", {"workerId": "thief"}, {})])
            equal(caller.wait_all(rids)[1].result["claimed"], True)
            wait_parked(1, d)
        ask.join(20)
        began, done, ended = out[0]
        equal(json.loads(done.stdout), {"claimed": False, "tasks": []}, done.stderr)
        check(2.9 <= ended - began < 7, f"{ended - began:.2f} s")


@case("while one job runs and a claim waits for the other slot, its end is told at once, and its lease is kept")
def second_slot():
    w = Work("--jobs", "2", queue="two", command=["sh", "-c", "sleep 0.5"])
    wait_parked(1)
    took = []
    for _ in range(3):
        began = time.monotonic()
        task = add("two")
        wait_completed(task)
        took.append(time.monotonic() - began)
    check(min(took) < 1.5, f"{took} s")
    w.stop()
    w = Work("--jobs", "2", "--lease", "1", queue="two", command=["sh", "-c", "sleep 4"])
    wait_parked(1)
    task = add("two")
    wait_completed(task)
    equal(c.call("task.get", {"id": task})["attempt"], 1)
    w.stop()
    equal(waiters_left(), set())


@case("TERM: a worker that waits leaves at once, and nothing is left of it")
def leaves():
    works = [Work(queue="leave") for _ in range(4)]
    wait_parked(4)
    took = [w.stop() for w in works]
    check(statistics.median(took) < 1.5, f"{took} s")
    equal(waiters_left(), set())


@case("--once and --drain: a task that comes later is waited for by the one, not by the other")
def once_and_drain():
    w = Work("--drain", queue="drain")
    equal(w.process.wait(10), 0, w.said())
    w = Work("--once", queue="once")
    wait_parked(1)
    task = add("once")
    equal(w.process.wait(10), 0, w.said())
    equal(status(task), "completed")
    equal(waiters_left(), set())


@case("kill -9 of a worker that waits: the task that it was woken for goes to the next that waits")
def killed():
    first = Work(queue="dead")
    wait_parked(1)
    others = [Work(queue="dead") for _ in range(3)]
    wait_parked(4)
    first.process.kill()
    first.process.wait()
    began = time.monotonic()
    task = add("dead")
    wait_completed(task)
    took = time.monotonic() - began
    note(f"completed {took:.2f} s after its creation")
    check(took < 5, f"{took:.2f} s")
    equal(c.call("task.get", {"id": task})["attempt"], 1)  # the dead one never held it
    for w in others:
        w.stop()
    equal(waiters_left(), set())


@case("twenty dead waiters before a live one: it gets the task within seconds")
def many_dead():
    dead = daemon.caller()
    dead.send_many([("task.claim", {"workerId": f"dead{i}", "queue": "grave", "wait_ms": 30000}, {}) for i in range(20)])
    wait_parked(20)
    dead.close()
    w = Work(queue="grave")
    wait_parked(21)
    began = time.monotonic()
    task = add("grave")
    wait_completed(task)
    note(f"completed {time.monotonic() - began:.2f} s after its creation")
    check(time.monotonic() - began < 8, f"{time.monotonic() - began:.2f} s")
    w.stop()
    with daemon.connect() as r:  # what is left of the dead ends with their wait
        r.call("HINCRBY", "cb:clock", "eff", 31000)
    wait_until(lambda: not waiters_left(), 5, waiters_left)


@case("a worker that is killed and starts again under its name: its old claim does not wait beside the new one")
def same_name():
    w = Work(queue="name")
    wait_parked(1)
    w.process.kill()
    w.process.wait()
    again = procs.start([procs.binary("claudebench"), "work", "--id", w.id, "--queue", "name", "--", "true"],
                        env={"CLAUDEBENCH_CONFIG": daemon.config_path})
    wait_until(lambda: c.call("system.get_state") and waiting() == 1, 5, "one waits")
    task = add("name")
    wait_completed(task)
    again.terminate()
    again.wait(10)
    wait_until(lambda: not waiters_left(), 5, waiters_left)


@case("Redis dies and comes back, again and again: workers that wait get the tasks that come then")
def redis_restarts():
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis) as d:
        works = [Work(queue="q", d=d) for _ in range(3)]
        wait_parked(3, d)
        for _ in range(3):
            redis.kill9()
            redis.start()
            d.wait_ready(15)
            caller = d.caller()
            tasks = [add("q", caller) for _ in range(6)]
            wait_completed(*tasks, caller=caller, timeout=30)
            equal({caller.call("task.get", {"id": t})["attempt"] for t in tasks}, {1})
        wait_parked(3, d, 20)  # each once, however often it came back
        for w in works:
            w.stop()
        equal(waiters_left(d), set())
    redis.stop()


@case("Redis forgets the waiters: whoever waits asks again")
def forgotten():
    # A wait of 1 s, so that its end, and 5 s more, can be waited for.
    out = []
    ask = threading.Thread(target=lambda: out.append(
        daemon.client("call", "--timeout", "30", "task.claim", '{"workerId":"me","queue":"lost","wait_ms":1000}',
                      timeout=40)))
    ask.start()
    wait_parked(1)
    with daemon.connect() as r:
        for key in r.scan("cb:waiters*"):
            r.call("DEL", key)
    ask.join(25)
    check(out, "the call has not returned")
    equal([out[0].returncode, json.loads(out[0].stdout)], [0, {"claimed": False, "tasks": []}], out[0].stderr)


@case("the daemon stops and starts again: its workers go on waiting, and a task that comes then is run")
def daemon_restarts():
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis) as d:
        works = [Work(queue="q", d=d) for _ in range(3)]
        wait_parked(3, d)
        d.stop(check=False)
        d.start()
        caller = d.caller()
        tasks = [add("q", caller) for _ in range(5)]
        wait_completed(*tasks, caller=caller)
        d.kill9()
        d.start()
        tasks = [add("q", caller) for _ in range(5)]
        wait_completed(*tasks, caller=caller)
        for w in works:
            w.stop()
        equal(waiters_left(d), set())
    redis.stop()


@case("workers are killed all the time while 20 workers wait, get and complete: every task once")
def workers_die():
    queue = "storm"
    works = [Work(queue=queue, command=["true"]) for _ in range(8)]
    wait_parked(8)
    tasks = []
    for i in range(60):
        tasks.append(add(queue))
        if i % 10 == 5:
            pids = daemon.workers("task")
            if pids:
                procs.kill(pids[i // 10 % len(pids)])
    wait_completed(*tasks, timeout=40)
    for w in works:
        w.stop()
    wait_until(lambda: not waiters_left(), 5, waiters_left)


if __name__ == "__main__":
    arguments()
    start()
    main()
