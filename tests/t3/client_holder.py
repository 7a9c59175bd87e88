#!/usr/bin/env python3
"""client_holder.py: who works on a task: `claudebench task assign, reassign, claim, renew, progress, complete, fail, release`, by
operators and scripts, and by jobs of `claudebench work` about themselves."""

import json
import os
import socket

from cbtest import *
from working import Work, add, fifo, get, let_go, queue_name, read_file, script, start, wait_status

daemon, c = start()
CLIENT = procs.binary("claudebench")


def task(*words, env=None):
    return daemon.client("task", *words, env=env)


def good(done):
    equal(done.returncode, 0, done.stderr.decode(errors="replace"))
    return done.stdout.decode()


def said(done, code, text):
    equal(done.returncode, code, done.stderr.decode(errors="replace"))
    check(text in done.stderr.decode(errors="replace"), done.stderr)


def agent(name, **more):
    c.insist("system.register", {"id": name, **more})
    return name


def claim(queue, worker="w", *words):
    return json.loads(good(task("claim", worker, "--queue", queue, "--json", *words)))


# ---- operators ----


@case("task assign: the instance's next claim gets the task; what is not pending, or unknown, is refused")
def assign():
    queue, one = queue_name() + "as", agent("as-1")
    ids = [add(queue), add(queue)]
    shown = good(task("assign", ids[1], one))
    check(f"taskId:        {ids[1]}\n" in shown and "assignedAt:" in shown, shown)
    equal((get(ids[1])["status"], get(ids[1])["assignedTo"]), ("in_progress", one))
    equal(json.loads(good(task("assign", ids[0], one, "--json", "--idem", "as1")))["instanceId"], one)
    good(task("assign", ids[0], one, "--idem", "as1"))
    equal(claim(queue, one)["id"], ids[1])
    said(task("assign", ids[1], one), 73, "in_progress")
    said(task("assign", "t-1", one), 66, "t-1")
    said(task("assign", add(queue), "nobody-there"), 66, "no such instance")
    said(task("assign", ids[0]), 64, "ID INSTANCE is missing")
    said(task("assign", ids[0], b"\xff"), 65, "UTF-8")


@case("task reassign: back to the queue, or to another instance, with a reason; the old token is stale, no attempt is charged")
def reassign():
    queue = queue_name() + "re"
    one, two = agent("re-1", queues=[queue]), agent("re-2", queues=[queue])
    id = add(queue)
    old = claim(queue, one)
    equal(json.loads(good(task("reassign", id, "--json"))), {"id": id, "assignedTo": None})
    equal((get(id)["status"], get(id)["attempt"]), ("pending", 0))
    said(task("complete", id, "--lease-token", old["lease_token"]), 73, "stale_lease")
    good(task("reassign", id, "--to", two))
    equal((get(id)["assignedTo"], get(id)["attempt"]), (two, 1))
    check("assignedTo:" in good(task("reassign", id, "--to", one, "--reason", "é slow")), "members")
    equal(get(id)["assignedTo"], one)
    check(any(e.get("reason") == "é slow" and e["id"] == id for e in events("task.reassigned")), "the event tells why")
    said(task("reassign", id, "--reason", b"\xff"), 65, "UTF-8")
    good(task("cancel", id))
    said(task("reassign", id), 73, "cancelled")


def events(kind):
    lines = good(daemon.client("events", "--type", kind, "--since", "0", "--json")).splitlines()
    return [json.loads(line) for line in lines]


# ---- scripts that hold a lease themselves ----


@case("task claim, renew, progress, complete: the token of the claim does it; a result is kept as JSON")
def by_token():
    queue = queue_name() + "tok"
    said(task("claim", "me", "-q", queue), 66, "no task there")
    id = add(queue, roles=["gpu"], payload={"n": 1})
    said(task("claim", "me", "-q", queue), 66, "no task there")
    held = claim(queue, "me", "--roles", "cpu,gpu", "--lease", "1m", "--wait", "1s")
    equal((held["id"], held["payload"], held["attempt"]), (id, {"n": 1}, 1))
    token = held["lease_token"]
    until = json.loads(good(task("renew", id, "--lease-token", token, "--for", "2h", "--json")))["lease_until"]
    check(until > held["lease_until"], until)
    equal(good(task("progress", id, "12.5%", "--note", "so far é", "--lease-token", token)), "")
    equal({**get(id)["progress"], "at": ""}, {"percent": 12.5, "note": "so far é", "at": ""})
    for words, code, text in (
        (["progress", id, "101", "--lease-token", token], 64, "percentage"),
        (["progress", id, "x", "--lease-token", token], 64, "percentage"),
        (["progress", id, "5"], 64, "--lease-token is missing"),
        (["progress", "5"], 64, "which task?"),
        (["progress", id, "5", "--lease-token", "nonsense-token-of-nobody"], 73, "stale_lease"),
        (["renew", id], 64, "--lease-token is missing"),
        (["release", id], 64, "--lease-token is missing"),
        (["fail", id], 64, f"task fail: WHY is missing behind {id}"),
        (["fail", "no reason"], 64, "which task?"),
        (["fail", id, "why"], 64, "--lease-token is missing"),
        (["complete", id, "--result", "{"], 65, "not JSON"),
        (["complete", "t-1"], 66, "t-1"),
        (["claim", "me", "--wait", "31s"], 64, "out of range"),
        (["claim", "me", "--lease", "soon"], 64, "not a time"),
    ):
        said(task(*words), code, text)
    done = json.loads(good(task("complete", id, "--lease-token", token, "--result", '{"big":9007199254740993}', "--json")))
    equal(done["status"], "completed")
    check(b'"big":9007199254740993' in daemon.client("task", "show", "--json", id).stdout, "byte by byte")
    good(task("complete", id, "--lease-token", token, "--result", '{"big":9007199254740993}'))


@case("task fail and task release by token: delayed, or dead with --no-retry; pending with the attempt not charged")
def fail_and_release():
    queue = queue_name() + "fr"
    id = add(queue)
    token = claim(queue)["lease_token"]
    check("status:        pending\n" in good(task("release", id, "--lease-token", token)), "members")
    equal((get(id)["status"], get(id)["attempt"]), ("pending", 0))
    token = claim(queue)["lease_token"]
    equal(json.loads(good(task("fail", id, "broke é", "--lease-token", token, "--json")))["status"], "delayed")
    equal((get(id)["error"], get(id)["attempt"]), ("broke é", 1))
    good(task("update", id, "--status", "pending"))
    token = claim(queue, "v")["lease_token"]
    good(task("fail", id, "hopeless", "--no-retry", env={"CLAUDEBENCH_LEASE_TOKEN": token}))
    equal((get(id)["status"], get(id)["dead_reason"]), ("failed", "no_retry"))
    said(task("fail", id, b"\xff", "--lease-token", token), 65, "UTF-8")


# ---- jobs about themselves ----


@case("a job tells its progress without id, token or configuration; the newest of many arrives")
def job_progress():
    queue, gate, out = queue_name(), fifo(), f"{procs.folder()}/progress.out"
    id = add(queue)
    job = script(f"unset CLAUDEBENCH_CONFIG; HOME=/nonexistent; i=0\n"
                 f"while [ $i -lt 30 ]; do {CLIENT} task progress $i || exit 1; i=$((i+1)); done\n"
                 f"{CLIENT} task progress 99.5% --note 'nearly é' --json >{out} 2>&1\n"
                 f"{CLIENT} task renew $CLAUDEBENCH_TASK_ID 2>>{out}; {CLIENT} task progress 101 2>>{out}; {CLIENT} task progress 7 --note '' 2>>{out}; echo $? >>{out}; cat {gate}")
    w = Work("--once", command=[job], queue=queue)
    got = wait_until(lambda: get(id).get("progress", {}).get("percent") == 99.5 and get(id)["progress"], 20, w.said)
    equal(got["note"], "nearly é")
    let_go(gate)
    equal(w.wait(), 0, w.said())
    lines = read_file(out).decode().splitlines()
    equal(lines[0], "{}")
    check("renews its lease as long as it runs" in lines[1], lines)
    check(any("percentage" in line for line in lines) and any("note: a text of 1 to 500" in line for line in lines) and lines[-1] == "65", lines)
    equal(wait_status(id, "completed")["result"] if "result" in get(id) else None, None)


@case("what a job tells of its end counts when it ends, whatever its exit status: fail, complete, release")
def job_outcomes():
    for words, more, want in (
        ("fail 'no such branch'", {}, {"status": "delayed", "error": "no such branch"}),
        ("fail --no-retry 'no such branch'", {}, {"status": "failed", "dead_reason": "no_retry", "error": "no such branch"}),
        ("fail 'last try'", {"max_attempts": 1}, {"status": "failed", "dead_reason": "attempts"}),
        ("complete --result '{\"n\":[1]}'", {}, {"status": "completed", "result": {"n": [1]}}),
        ("complete", {}, {"status": "completed", "result": "on stdout\n"}),
        ("fail a; CB task complete --result 2", {}, {"status": "completed", "result": 2}),
        ("release", {}, {"status": "pending", "attempt": 0}),
    ):
        queue, out = queue_name(), f"{procs.folder()}/outcome.out"
        id = add(queue, backoff_ms=3600000, **more)
        ends = "exit 0" if "fail" in words and "complete" not in words else "exit 3"
        job = script(f"{CLIENT} task {words.replace('CB', CLIENT)} >{out} || echo refused >>{out}; echo on stdout; {ends}")
        w = Work("--once", command=[job], queue=queue)
        equal(w.wait(), 0, w.said())
        got = get(id)
        equal({name: got.get(name) for name in want}, want, f"{words}: {w.said()}")
        check("in_progress" in read_file(out).decode() and "refused" not in read_file(out).decode(), read_file(out))
        check(" dropped:" not in w.said(), w.said())


@case("a job that releases its task again and again does not spin, and one that is killed after it told is not a crash")
def job_release_pause():
    queue, log = queue_name(), f"{procs.folder()}/spins"
    id = add(queue)
    w = Work(command=[script(f"echo x >>{log}; {CLIENT} task release; kill -9 $$")], queue=queue)
    wait_until(lambda: os.path.exists(log) and len(read_file(log)) >= 6, 20, w.said)
    w.stop()
    equal((get(id)["status"], get(id)["attempt"], get(id).get("crashes", 0)), ("pending", 0, 0))
    check(" released (attempt 1 is not charged)" in w.said(), w.said())


@case("a job that lost its task is told so with 73; another task, a wrong attempt or no message change nothing")
def job_strangers():
    queue, gate, told = queue_name(), fifo(), f"{procs.folder()}/told"
    id = add(queue)
    job = script(f"trap '{CLIENT} task fail late 2>{told}.err; echo $? >{told}.code; exit 1' TERM\n"
                 f"echo $CLAUDEBENCH_WORK_SOCKET >{told}.name; while :; do sleep 0.05; done")
    w = Work("--kill-after", "30s", command=[job], queue=queue)
    wait_until(lambda: os.path.exists(told + ".name") and read_file(told + ".name").endswith(b"\n"), 10, w.said)
    name = read_file(told + ".name").decode().strip()

    def send(text, half_close=True):
        s = socket.socket(socket.AF_UNIX)
        s.connect("\0" + name)  # with a time-out it would fail at once while others wait to be accepted
        s.settimeout(10)
        try:
            s.sendall(text)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        got = s.recv(1000).decode()
        s.close()
        return got

    own = {"id": id, "attempt": 1}
    equal(send(b"")[:3], "65 ")
    equal(send(b"[]")[:3], "65 ")
    equal(send(b"\xff" * 400000)[:3], "65 ")
    equal(send(json.dumps({**own, "do": "explode"}).encode())[:3], "64 ")
    equal(send(json.dumps({**own, "id": "t-1", "do": "release"}).encode())[:3], "73 ")
    equal(send(json.dumps({**own, "attempt": 2, "do": "release"}).encode())[:3], "73 ")
    equal(send(json.dumps({**own, "do": "fail", "error": "x" * 2001}).encode())[:3], "65 ")
    equal(send(json.dumps({**own, "do": "progress", "percent": "5"}).encode())[:3], "65 ")
    idle = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for s in idle:
        s.connect("\0" + name)
    equal(send(json.dumps({**own, "do": "progress", "percent": 5}).encode()), "0 {}\n")  # when the idle ones' time is over
    for s in idle:
        s.close()
    equal(get(id)["status"], "in_progress")
    good(task("cancel", id))
    wait_until(lambda: os.path.exists(told + ".code") and read_file(told + ".code").endswith(b"\n"), 20, w.said)
    equal(read_file(told + ".code"), b"73\n")
    check(b"this attempt is over" in read_file(told + ".err"), read_file(told + ".err"))
    w.stop()
    env = {"CLAUDEBENCH_TASK_ID": id, "CLAUDEBENCH_ATTEMPT": "1", "CLAUDEBENCH_WORK_SOCKET": name}
    said(task("progress", "5", env=env), 69, "cannot reach the `claudebench work` of this job")


@case("a job whose `work` has died tells nothing to another user who has taken its place")
def job_usurped():
    if os.geteuid() != 0:
        raise Skip("who is not root cannot be another user")
    for uid, taken in ((65534, 0), (65534, 65534), (0, 65534)):  # whose name it is, and who listens
        name = f"claudebench-work-{uid}-1-{token(16)}"
        ready, told = fifo(), f"{procs.folder()}/usurped-{token(8)}"
        listener = script(f"""exec python3 -c 'if True:
            import os, socket
            out = open("{told}", "wb")
            ready = open("{ready}", "w")
            os.setuid({taken})
            s = socket.socket(socket.AF_UNIX)
            s.bind("\\0{name}")
            s.listen()
            ready.close()
            c, _ = s.accept()
            while got := c.recv(1000):
                out.write(got)
            out.close()
            c.sendall(b"0 {{}}\\n")
        '""")
        p = procs.start([listener])
        with open(ready, "rb") as f:
            f.read()
        env = {"CLAUDEBENCH_TASK_ID": "t-1", "CLAUDEBENCH_ATTEMPT": "1", "CLAUDEBENCH_WORK_SOCKET": name}
        done = task("progress", "5", env=env)
        p.wait(10)
        if uid == taken or taken == 0:
            equal((done.returncode, b"percent" in read_file(told)), (0, True), done.stderr)
        else:
            said(done, 69, "cannot reach")
            equal(read_file(told), b"")


@case("-c of work is what its jobs use, and the variables of a job do not reach the jobs of a `work` inside it")
def job_environment():
    queue, out = queue_name(), f"{procs.folder()}/inner.env"
    id = add(queue)
    inner = Work("--once", "-c", daemon.config_path, command=["sh", "-c", f"env >{out}; {CLIENT} task add follow --queue {queue}-next"],
                 queue=queue, env={"CLAUDEBENCH_CONFIG": "/nonexistent", "CLAUDEBENCH_TASK_ID": "t-9", "CLAUDEBENCH_WORK_SOCKET": "outer",
                      "CLAUDEBENCH_LEASE_TOKEN": "outer"})
    equal(inner.wait(), 0, inner.said())
    check(wait_status(id, "completed")["result"].startswith("t-"), "the job has reached the daemon")
    ours = [line for line in read_file(out).decode().splitlines() if line.startswith("CLAUDEBENCH_")]
    check(not any(line.endswith(("=t-9", "=outer")) for line in ours), ours)
    equal(sum(line.startswith("CLAUDEBENCH_CONFIG=") for line in ours), 1, ours)
    check(not any("token" in line.lower() for line in ours), "never the lease token")


main()
