#!/usr/bin/env python3
"""client_screens.py: `claudebench status` on one screen, `instances`, `handlers`, `config`, and tables that never wrap."""

import json
import os
import re

import fake_control
from cbtest import *
from fake_control import HOSTILE, FakeControl
from screen import Terminal

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon(config={"domains": {"task": {"workers": 2}}, "task": {"lease_ms": 45000}})
    at_exit(daemon.stop)
    c = daemon.caller()
    for i in range(3):
        c.insist("task.create", {"text": "long " * 80 + str(i), "queue": "a-queue-with-quite-a-long-name"})
    c.insist("system.register", {"id": "agent-1", "roles": ["gpu", "build"], "capacity": 4})
    c.insist("task.claim", {"workerId": "agent-1", "queue": "a-queue-with-quite-a-long-name"})


def on_terminal(*words, columns=80, rows=24, env=None, config=None):
    """Lines on the terminal, and all that was written, when the command has ended."""
    with Terminal([procs.binary("claudebench"), *words], columns, rows,
                  {"CLAUDEBENCH_CONFIG": config or daemon.config_path, **(env or {})}) as t:
        t.wait_end()
        return t.screen.lines(), t.raw.decode()


def shown(raw):
    """Lines as they were written, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", raw).replace("\r\n", "\n").rstrip("\n").split("\n")


@case("status fits 80x24 and 200x60 whatever there is, and says what it leaves out; in a pipe all of it is there")
def status_fits():
    s = fake_control.status()
    s["workers"] = [{**s["workers"][0], "slot": i, "pid": 1000 + i} for i in range(40)]
    s["log"] = [{**s["log"][0], "text": f"event=e{i} " + "x" * 300} for i in range(32)]
    s["figures"]["queues"] = [{**s["figures"]["queues"][0], "queue": "q" * 50 + str(i)} for i in range(30)]
    s["reasons"] = ["many words that make a reason longer than a line of the terminal, " * 3]
    with FakeControl(s) as f:
        for columns, rows in ((80, 24), (200, 60), (60, 20)):
            lines, raw = on_terminal("status", columns=columns, rows=rows, config=f.config)
            check(all(len(x) <= columns for x in shown(raw)), (columns, shown(raw)))
            check(len(shown(raw)) < rows, (columns, len(shown(raw))))
            check(lines[0].startswith("status"), "the head has not scrolled away")
            text = "\n".join(shown(raw))
            check("… " in text and " more" in text and "QUEUE" in text and "event=" not in text, text)
            check(columns < 80 or all(x in text for x in ("DOMAIN", "LOG\n", "e31 x")), text)
            equal(sum(x.startswith(("reason", "          many", "          ")) for x in shown(raw)[:6]) > 1, True, "reasons are wrapped")
        done = procs.run([procs.binary("claudebench"), "status"], env=f.env)
        equal(done.returncode, 0)
        text = done.stdout.decode()
        check("\x1b" not in text and "q" * 50 + "29" in text and "1039" in text and "x" * 300 in text, text)


@case("status on a small terminal: queues with work are before those without, and lists without any room are named")
def status_small():
    s = fake_control.status()
    empty = {**s["figures"]["queues"][0], "pending": 0}
    s["figures"]["queues"] = [{**empty, "queue": f"idle-{i}"} for i in range(11)] + [
        {**empty, "queue": "dead-ones", "failed": 2}, {**empty, "queue": "runs", "in_progress": 1}, {**empty, "queue": "waits", "pending": 1},
        {**empty, "queue": "waits-and-runs", "pending": 1, "in_progress": 1}]
    with FakeControl(s) as f:
        text = procs.run([procs.binary("claudebench"), "status"], env=f.env).stdout.decode()
        order = [text.index(f"\n{name} ") for name in ("waits-and-runs", "waits", "runs", "dead-ones", "idle-0", "idle-10")]
        equal(order, sorted(order))
        check("not shown" not in text, text)
        lines, raw = on_terminal("status", config=f.config)
        check(len(shown(raw)) < 24 and any(x.startswith("waits-and-runs ") for x in lines), lines)
        check("… not shown: 2 instances, 1 method" in lines, lines)
        head = next(i for i, x in enumerate(shown(raw)) if not x)
        s["figures"]["queues"] = [{**empty, "queue": f"idle-{i}"} for i in range(14)] + [{**empty, "queue": "waits", "pending": 1}]
        s["workers"] = [{**s["workers"][0], "slot": i} for i in range(9)]
        lines, _ = on_terminal("status", config=f.config)
        check(any(x.startswith("waits ") for x in lines) and not any(x.startswith("idle-1 ") for x in lines), lines)
        check(sum(x.startswith("task ") for x in lines) > 1, "workers are before queues that have no work")
        _, raw = on_terminal("status", columns=40, rows=head + 2, config=f.config)
        equal(shown(raw)[-1], "… not shown: 9 workers, 15 queues, 2 in…")
        equal(len(shown(raw)), head + 1)


@case("status: colours for its word and for warnings, none with NO_COLOR or TERM=dumb; CLICOLOR_FORCE in a pipe; hostile texts")
def status_colors():
    s = fake_control.status(status="degraded", reasons=[HOSTILE], instance=HOSTILE)
    s["log"] = [{**s["log"][0], "level": "warn", "text": HOSTILE}, {**s["log"][0], "level": "error"}]
    s["workers"][0]["method"] = s["figures"]["queues"][0]["queue"] = HOSTILE
    with FakeControl(s) as f:
        _, raw = on_terminal("status", config=f.config, env={"NO_COLOR": ""})
        check("\x1b[1;33mdegraded\x1b[0m" in raw and "\x1b[33m" in raw and "\x1b[31m" in raw, raw)
        check("\x1b[31mb" not in raw and "\u202e" not in raw and "\x9b" not in raw and "a\\x1b[31mb\\u202ec" in raw, raw)
        for env in ({"NO_COLOR": "1"}, {"NO_COLOR": "", "TERM": "dumb"}):
            _, raw = on_terminal("status", config=f.config, env=env)
            check("\x1b" not in raw, raw)
        done = procs.run([procs.binary("claudebench"), "status"], env={**f.env, "NO_COLOR": "", "CLICOLOR_FORCE": "1"})
        equal(done.returncode, 1)
        check(b"\x1b[1;33mdegraded" in done.stdout, done.stdout)


@case("status of an older daemon, that does not say all of it")
def status_old():
    s = fake_control.status()
    for gone in ("figures", "figures_age_ms", "log", "hosts", "hooks"):
        s.pop(gone)
    with FakeControl(s) as f:
        done = procs.run([procs.binary("claudebench"), "status"], env=f.env)
        equal(done.returncode, 0)
        check("tasks     not known" in done.stdout.decode() and "4243" in done.stdout.decode(), done.stdout)


@case("status of a real one: tasks, rates, queues, instances and the last lines of its log, workers' too")
def status_real():
    def says(*words):
        text = daemon.client("status").stdout.decode()
        return all(w in text for w in words)

    wait_until(lambda: says("2 pending, oldest ", "1 running", "req/s", "daemon_ready", "agent-1", "long-name  open"), 10,
               lambda: daemon.client("status").stdout.decode())
    equal(daemon.client_json("status", "--json")["figures"]["tasks"]["pending"], 2)
    lines, raw = on_terminal("status")
    check(len(shown(raw)) <= 23 and lines[0] == "status    healthy", lines)


@case("instances: who they are, what they hold, who leads; --json; --watch")
def instances():
    text = daemon.client("instances").stdout.decode().splitlines()
    equal(text[0].split(), ["*", "ID", "KIND", "STATUS", "HEALTH", "ROLES", "CAP", "HELD", "LOAD", "BEAT", "INCARN."])
    rows = {x[3:].split()[0]: x for x in text[1:]}
    check(rows["test-host"].startswith("*") and rows["agent-1"].startswith(" "), text)
    equal(rows["agent-1"].split()[1:7], ["agent", "ACTIVE", "-", "gpu,build", "4", "1"])
    got = daemon.client_json("instances", "--json")
    equal((got["leader"], got["instanceCount"], {i["id"] for i in got["instances"]}), ("test-host", 2, {"test-host", "agent-1"}))
    with Terminal([procs.binary("claudebench"), "instances", "-w"], env={"CLAUDEBENCH_CONFIG": daemon.config_path}) as t:
        t.wait_for("agent-1")
        c.insist("system.register", {"id": "agent-2"})
        t.wait_for("agent-2")


@case("tables on a terminal never wrap, also when COLUMNS is larger than it is")
def tables():
    for words in (["task", "list"], ["task", "queues"], ["instances"], ["handlers"], ["config", "-o"], ["status"]):
        for columns in (80, 60, 200):
            _, raw = on_terminal(*words, columns=columns, rows=200, env={"COLUMNS": "300"})
            wide = [x for x in shown(raw) if len(x) > columns]
            check(not wide, (words, columns, wide[:2]))
    _, raw = on_terminal("task", "list", columns=200, env={"COLUMNS": "70"})
    check(max(map(len, shown(raw))) == 70, "a smaller one is a wish")


@case("on a narrow terminal ids are whole, and columns with nothing in them are left out first")
def ids():
    task = json.loads(daemon.client("task", "list", "--status", "pending", "--json").stdout.splitlines()[0])["id"]
    c.insist("system.register", {"id": "build-host-17.example.org-4711"})
    lines, _ = on_terminal("instances", columns=60)
    check("build-host-17.example.org-4711" in "\n".join(lines) and "HEALTH" not in lines[0] and "STATUS" in lines[0], lines)
    lines, _ = on_terminal("task", "list", "--status", "pending", columns=40)
    check(any(line.startswith(f"{task}  pending  ") for line in lines), (task, lines))
    check(lines[0].split() == ["ID", "STATUS", "TEXT"] and "…" not in "".join(line[:20] for line in lines), lines)


@case("handlers: every method of system.discover with its flags; one; --json; a wrong name is 64 with the nearest")
def handlers():
    text = daemon.client("handlers").stdout.decode().splitlines()
    found = {x.split()[0]: x.split()[1] for x in text[1:]}
    wanted = {m["name"]: "".join(k[0] if m[k] else "-" for k in ("write", "creates", "finishes"))
              for m in c.insist("system.discover", {}).result["methods"]}
    equal(found, wanted)
    equal(len(daemon.client("handlers", "task.claim").stdout.splitlines()), 2)
    equal([m["name"] for m in daemon.client_json("handlers", "task.claim", "--json")["methods"]], ["task.claim"])
    done = daemon.client("handlers", "task.cliam")
    equal((done.returncode, b"did you mean task.claim?" in done.stderr), (64, True), done.stderr)


@case("config: what -T prints; what is not the default, and where it comes from; single values; --json")
def config():
    folder = procs.subfolder("k")
    os.mkdir(f"{folder}/conf.d")
    path = f"{folder}/claudebench.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write("task:\n  lease_ms: 45000\n  max_attempts: 3\nmethods:\n  task.create: { rate_limit: 5 }\n")
    with open(f"{folder}/conf.d/a.yaml", "w", encoding="utf-8") as f:
        f.write("redis:\n  prefix: mine\nevents: { max_bytes: 1MiB }\n")
    env = {"CLAUDEBENCH_CONFIG": path}

    def run(*words):
        done = procs.run([procs.binary("claudebench"), "config", *words], env=env)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    dumped = procs.run([procs.binary("claudebenchd"), "-T", "-c", path])
    equal(run(), (0, dumped.stdout.decode(), ""))
    code, text, _ = run("--non-default", "--origins")
    rows = [line.split() for line in text.splitlines()[1:]]
    equal((code, rows), (0, [["redis.prefix", "mine", f"{folder}/conf.d/a.yaml:2:11"], ["task.lease_ms", "45000", f"{path}:2:13"],
                             ["events.max_bytes", "1MiB", f"{folder}/conf.d/a.yaml:3:22"],
                             ["methods.task.create.rate_limit", "5", f"{path}:5:30"]]))
    equal(run("task.lease_ms"), (0, "45000\n", ""))
    equal(run("audit.fsync", "-o")[1].split()[3:], ["audit.fsync", "everysec", "default"])
    equal(run("task.max_attempts", "-o")[1].split()[-1], f"{path}:3:17")
    got = json.loads(run("--json")[1])
    equal(got["task.lease_ms"], {"value": 45000, "default": False, "origin": f"{path}:2:13"})
    equal(got["task.max_attempts"], {"value": 3, "default": True, "origin": f"{path}:3:17"})
    equal((got["redis.embedded"]["value"], got["events.max_bytes"]["value"]), (True, "1MiB"))
    section = [line.split() for line in run("redis.sentinel")[1].splitlines()]
    equal([row[0] for row in section], ["OPTION"] + [f"redis.sentinel.{x}" for x in ("master", "nodes", "user", "password_file")])
    equal(run("methods.task.create.rate_limit"), (0, "5\n", ""))
    equal(run("methods.task.claim.rate_limit", "methods.task.claim.breaker.backoff"),
          (0, "OPTION                              VALUE\nmethods.task.claim.rate_limit       0\nmethods.task.claim.breaker.backoff  1.5\n", ""))
    for name, said in (("methods.task.claim.rate_limt", 'no option "rate_limt" of a method; did you mean rate_limit?'),
                       ("methods.task.cliam", 'no method "task.cliam"; did you mean task.claim?')):
        code, _, why = run(name)
        equal((code, said in why), (64, True), why)
    equal(run("methods.task.claim"), (66, "", "claudebench: not set for that method\n"))
    code, _, why = run("task.lease")
    equal((code, "did you mean task.lease_ms?" in why), (64, True), why)
    with open(f"{folder}/conf.d/b.yaml", "w", encoding="utf-8") as f:
        f.write('methods: { "*": { rate_limit: 9 } }\n')
    equal(run("methods.task.claim.rate_limit"), (0, "9\n", ""), "in force for it")
    equal(run("methods.task.claim.rate_limit", "-o")[1].split()[-1], f"{folder}/conf.d/b.yaml:1:31")
    equal(run("methods.task.create.rate_limit"), (0, "5\n", ""))
    os.unlink(f"{folder}/conf.d/b.yaml")
    with open(path, "a", encoding="utf-8") as f:
        f.write("oops: 1\n")
    code, _, why = run()
    equal((code, f"{path}:6:1" in why), (78, True), why)


@case("--version is one line; with --verbose libraries and features; --help is on stdout; wrong use is 64 with the nearest command")
def version():
    done = daemon.client("--version")
    equal((done.returncode, len(done.stdout.splitlines())), (0, 1))
    rows = daemon.client("--version", "--verbose").stdout.decode().splitlines()
    check(rows[0].startswith("claudebench ") and any(r.startswith("hiredis ") for r in rows) and any(r.startswith("claudebench top: ") for r in rows), rows)
    done = daemon.client("instances", "--help")
    equal((done.returncode, done.stderr, done.stdout.startswith(b"Usage: claudebench instances")), (0, b"", True))
    for words, near in ((("instnaces",), b'"instances"'), (("ctl", "relaod"), b'"ctl reload"'), (("status", "--wacth"), b"--watch")):
        done = daemon.client(*words)
        equal((done.returncode, done.stdout, near in done.stderr), (64, b"", True), done.stderr)


start()
main()
