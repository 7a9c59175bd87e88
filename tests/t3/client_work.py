#!/usr/bin/env python3
"""client_work.py: `claudebench work`: what a job gets, how its outcome is told, which tasks are run and when."""

import json
import os
import stat

from cbtest import *
from screen import Terminal
from working import Work, add, fifo, get, let_all_go, let_go, queue_name, read_file, script, start, wait_status

daemon, c = start()


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
    check(not any("token" in line.lower() for line in env.splitlines() if line.startswith("CLAUDEBENCH_")), env)
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


@case("a command that is killed by a signal is a crash: too many of them, and the task is dead with the signal")
def crashes():
    queue = queue_name()
    task = add(queue, max_attempts=50, max_crashes=2, backoff_ms=0)
    w = Work(command=["sh", "-c", "kill -SEGV $$"], queue=queue)
    done = wait_status(task, "failed")
    equal([done["dead_reason"], done["crashes"], done["attempt"]], ["crashes", 2, 2])
    equal([(a["outcome"], a["signal"]) for a in done["attempts"]], [("crashed", "SIGSEGV")] * 2)
    w.stop()


@case("a task that is cancelled by the client: its command gets TERM, at the latest with the next beat")
def cancelled():
    queue = queue_name()
    task = add(queue)
    said = f"{procs.folder()}/{queue}.said"
    w = Work(command=["sh", "-c", f"trap 'echo TERM >{said}; exit 1' TERM; while :; do sleep 0.05; done"], queue=queue)
    wait_status(task, "in_progress")
    done = daemon.client("task", "cancel", task, "--reason", "enough")
    equal(done.returncode, 0, done.stderr)
    wait_until(lambda: os.path.exists(said), 10, lambda: w.said())
    got = get(task)
    equal([got["status"], got["error"], got["attempts"][-1]["outcome"]], ["cancelled", "enough", "cancelled"])
    w.stop()
    check("it was cancelled" in w.said(), w.said())


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
    done = daemon.client("work", "--id", "", "--", "true")
    equal((done.returncode, done.stderr.count(b"\n")), (65, 1), done.stderr)
    bad = f"{procs.folder()}/bad"
    with open(bad, "w", encoding="ascii") as f:
        f.write("#!/no/such/interpreter\n")
    os.chmod(bad, stat.S_IRWXU)
    queue = queue_name()
    task = add(queue, max_attempts=1)
    w = Work("--once", command=[bad], queue=queue)
    equal(w.wait(), 0, w.said())
    check("No such file" in wait_status(task, "failed")["error"], get(task))


@case("on a terminal the line says how many run, also when they began right behind the last update")
def running_line():
    queue = queue_name()
    gate = fifo()
    tasks = [add(queue, lease_ms=60000) for _ in range(2)]
    argv = [procs.binary("claudebench"), "work", "--queue", queue, "-n", "2", "--lease", "60s", "--drain", "--", "cat", gate]
    with Terminal(argv, env={"CLAUDEBENCH_CONFIG": daemon.config_path}) as t:
        t.wait_for("work 2 running, 0 completed, 0 failed", 5)
        let_all_go(gate, lambda: all(get(task)["status"] == "completed" for task in tasks))
        equal(t.wait_end(), 0, t.text())


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


@case("priority first, then the order of creation; the next task comes with the completion of the last")
def order_and_next():
    queue = queue_name()
    ledger = f"{procs.folder()}/ledger-{queue}"
    low = [add(queue, priority=10) for _ in range(10)]
    high = [add(queue, priority=90) for _ in range(10)]
    before = daemon.status()["methods"].get("task.claim", {}).get("requests", 0)
    w = Work("--drain", command=["sh", "-c", f"echo $CLAUDEBENCH_TASK_ID >> {ledger}"], queue=queue)
    equal(w.wait(), 0, w.said())
    equal(read_file(ledger).decode().split(), high + low)
    after = daemon.status()["methods"]["task.claim"]["requests"]
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


main()
