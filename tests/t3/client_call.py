#!/usr/bin/env python3
"""client_call.py: the command line, `claudebench call`, exit codes, and what reaches a terminal."""

import json
import os
import re
import signal
import subprocess
import threading

from cbtest import *

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon()
    at_exit(daemon.stop)
    c = daemon.caller()


def call(*args, **kw):
    return daemon.client("call", *args, **kw)


def expect(done, code, text=None):
    equal(done.returncode, code, f"stderr {done.stderr!r}, stdout {done.stdout[:200]!r}")
    if text:
        check(text.encode() in done.stderr, f"{text!r} in {done.stderr!r}")
    return done


@case("wrong use is exit 64 on stderr, with the nearest command, option or method")
def wrong_use():
    for words, text in (
        (["taks", "list"], 'did you mean "task list"'),
        (["task", "imprt", "x"], 'did you mean "task import"'),
        (["stauts"], 'did you mean "status"'),
        (["task", "delete", "t-1"], 'unknown command "task delete"; did you mean "task rm"?'),
        (["task", "ls"], 'did you mean "task list"?'),
        (["task", "get", "t-1"], 'did you mean "task show"?'),
        (["task", "create", "x"], 'did you mean "task add"?'),
        (["task", "remov", "t-1"], 'did you mean "task rm"?'),
        (["schedule", "delete", "x"], 'did you mean "schedule remove"?'),
        (["schedule", "rn", "x"], 'unknown command "schedule rn"\n'),
        (["task", "rn", "x"], 'unknown command "task rn"\n'),
        (["stop"], 'unknown command "stop"; did you mean "ctl stop"?'),
        (["reload"], 'did you mean "ctl reload"?'),
        (["drain"], 'did you mean "ctl drain"?'),
        (["list"], 'did you mean "task list" or "schedule list"?'),
        (["add", "x"], 'did you mean "task add" or "schedule add"?'),
        (["resume"], 'did you mean "task resume", "schedule resume" or "ctl resume"?'),
        (["tasks"], 'did you mean "task"?'),
        (["schedules", "rm", "x"], 'did you mean "schedule remove"?'),
        (["version"], 'did you mean "--version"?'),
        (["task"], "task what? See 'claudebench task --help'"),
        (["nonsense-of-mine"], 'unknown command "nonsense-of-mine"'),
        (["task", "list", "--limt", "3"], "did you mean --limit"),
        (["task", "add", "--max", "2", "x"], "claudebench task add: option --max is ambiguous: --max-attempts, --max-crashes\n"),
        (["task", "add"], "TEXT is missing"),
        (["task", "add", "a", "b"], 'unexpected argument "b"'),
        (["task", "add", "a", "--priority", "x"], '--priority: "x" is not an integer; --priority=N: 0 to 100, higher is sooner'),
        (["task", "add", "a", "--max-attempts", "x"], '--max-attempts: "x" is not an integer; --max-attempts=N: '),
        (["task", "list", "--limit", "0"], '--limit: "0" is not an integer from 1 on\n'),
        (["task", "add", "a", "--priority"], "needs a value"),
        (["--nonsense", "status"], "unknown option"),
        (["call", "tsak.create"], "did you mean task.create"),
        (["call", "nodomain"], "no method"),
        (["work"], "COMMAND"),
        (["task", "retry", "--dead"], "Give ids, or --all"),
        (["task", "cancel", "--all", "--status", "completed"], '"completed" is not blocked, delayed, pending or in_progress'),
        (["help", "stauts"], 'did you mean "status"'),
        (["--confg", "x", "status"], "did you mean --config?"),
        (["ctl", "reload", "--timeout", "2h"], "2h is out of range (1s to 1h)"),
        (["call", "task.list", "--timeout", "86401"], "86401 is out of range (1ms to 1d)"),
        (["ctl", "reload", "--timeout", "3601"], "3601 is out of range (1s to 1h)"),
        (["config", "task.lease"], "did you mean task.lease_ms?"),
        (["events", "--since", "yesterday"], "--since"),
    ):
        done = expect(daemon.client(*words), 64, text)
        equal(done.stdout, b"")
    done = daemon.client()
    equal(done.returncode, 64)
    check(b"Usage:" in done.stderr, done.stderr)


@case("help and version go to stdout, exit 0; every verb has help")
def help_and_version():
    top = expect(daemon.client("--help"), 0).stdout.decode()
    verbs = re.findall(r"^  ((?:ctl |task |schedule |hook |archive )?[a-z-]+)(?: |$)", top.split("Commands:")[1].split("Options:")[0], re.M)
    check(len(verbs) >= 8, verbs)
    for verb in verbs:
        done = expect(daemon.client(*verb.split(), "--help"), 0)
        check(done.stdout.startswith(f"Usage: claudebench {verb} ".encode()), done.stdout[:80])
        equal(done.stderr, b"")
    for words in (["task", "--help"], ["task", "-h"], ["--help", "task"]):
        shown = expect(daemon.client(*words), 0).stdout.decode()
        check(shown.startswith("Usage: claudebench [-c FILE] task COMMAND"), shown)
        equal(re.findall(r"^  (task \w+|\w+)", shown, re.M), [v for v in verbs if v.startswith("task ")])
    for words in (["help", "task"], ["help", "task", "add"], ["--help", "status"], ["help"]):
        own = [x for x in words if not x.endswith("help")]
        equal(expect(daemon.client(*words), 0).stdout, expect(daemon.client(*own, "--help"), 0).stdout, f"{words}")
    done = daemon.client("hook", "instal")
    check(done.returncode == 2 and b'did you mean "hook install"' in done.stderr, done)
    equal(expect(daemon.client("--version"), 0).stdout.count(b"\n"), 1)
    check(expect(daemon.client("--version", "--verbose"), 0).stdout.count(b"\n") > 1, "libraries")


@case("a result is printed byte by byte")
def verbatim():
    payload = '{"n":9007199254740993,"e":[],"o":{},"f":1e400,"s":"\\u00e9\\u001b\u009b","z":-0}'
    done = expect(call("task.create", '{"text":"x","payload":' + payload + "}"), 0)
    task = json.loads(done.stdout)["id"]
    equal(done.stdout.count(b"\n"), 1)
    done = expect(call("task.get", json.dumps({"id": task})), 0)
    check(payload.encode() in done.stdout, done.stdout)
    done = expect(call("task.create", "-", input=b' {"text":"from stdin"}\n'), 0)
    equal(json.loads(done.stdout)["text"], "from stdin")
    done = expect(call("--raw", "task.get", json.dumps({"id": task})), 0)
    whole = json.loads(done.stdout)
    equal((whole["jsonrpc"], whole["result"]["id"]), ("2.0", task))


@case("errors: readable on stderr with code, path and expectation, then the error object; exit codes of the table")
def errors():
    done = expect(call("task.create", '{"text":""}'), 65, "text")
    lines = done.stderr.decode().splitlines()
    check(lines[0].startswith("claudebench: task.create: ") and "-32602" in lines[0], lines)
    error = json.loads(lines[1])
    equal((error["code"], error["data"]["path"]), (-32602, "text"))
    equal(done.stdout, b"")
    expect(call("task.create", "{"), 65, "-32700")
    expect(call("task.create", "not json"), 65, "parse error: expected a value, not the word not at byte 0")
    expect(call("task.create", "[]"), 65, "-32600")
    expect(call("task.create", '{"text":"a","text":"b"}'), 65, "-32700")
    expect(call("task.create", b"\xff"), 65, "-32700")
    expect(call("task.nothing"), 64, "-32601")
    expect(call("task.get", '{"id":"t-1"}'), 66, "-32004")
    task = json.loads(call("task.create", '{"text":"x"}').stdout)["id"]
    expect(call("task.complete", json.dumps({"id": task})), 73, "-32005")
    done = expect(call("--raw", "task.get", '{"id":"t-1"}'), 66)
    equal(json.loads(done.stdout)["error"]["code"], -32004)
    expect(call("task.create", "-", input=b"x" * (5 * 1024 * 1024)), 65, "larger than")


@case("--idem: a repeat gets the first outcome, other parameters are refused")
def idem():
    one = json.loads(expect(call("--idem", "key-1", "task.create", '{"text":"once"}'), 0).stdout)
    two = json.loads(expect(call("--idem", "key-1", "task.create", '{"text":"once"}'), 0).stdout)
    equal(one["id"], two["id"])
    expect(call("--idem", "key-1", "task.create", '{"text":"other"}'), 65, "idempotency")
    expect(call("--idem", "x" * 129, "task.create", "{}"), 64)


@case("the session and the caller are recorded with what happens")
def recorded():
    task = json.loads(expect(call("--session", "s-17", "task.create", '{"text":"x"}'), 0).stdout)["id"]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    other = json.loads(call("task.create", '{"text":"x"}', env={"TRACEPARENT": trace, "CLAUDEBENCH_AGENT": "a-1"}).stdout)["id"]
    events = {f.get("id", b"").decode(): f for _, f in daemon.stream("stream:events")}
    equal(events[task]["session"], b"s-17")
    check(b"@" in events[task]["actor"], events[task])
    equal((events[other]["trace"], events[other]["agent"]), (trace.encode(), b"a-1"))
    third = json.loads(call("task.create", '{"text":"x"}', env={"TRACEPARENT": "junk"}).stdout)["id"]
    events = {f.get("id", b"").decode(): f for _, f in daemon.stream("stream:events")}
    check("trace" not in events[third], events[third])


@case("no daemon: one clear line, exit 69; a configuration error is 78")
def no_daemon():
    with open(f"{procs.folder()}/nowhere.yaml", "w", encoding="ascii") as f:
        f.write(f'config_version: 1\nredis:\n  embedded: false\n  url: "unix://{procs.folder()}/nowhere.sock"\n'
                f'supervisor:\n  control_socket: {procs.folder()}/nowhere.ctl\n')
    for words in (["call", "task.list"], ["task", "list"], ["events"], ["status"], ["work", "--", "true"],
                  ["task", "import", "/dev/null"]):
        done = expect(daemon.client("-c", f"{procs.folder()}/nowhere.yaml", *words), 69)
        equal(done.stderr.count(b"\n"), 1, done.stderr)
        check(b"claudebenchd" in done.stderr, done.stderr)
        equal(done.stderr.count(b"nowhere"), 1, f"where, once: {done.stderr}")
    with open(f"{procs.folder()}/bad.yaml", "w", encoding="ascii") as f:
        f.write("config_version: 1\nredsi:\n  url: x\n")
    expect(daemon.client("events", "-c", f"{procs.folder()}/bad.yaml"), 78, "bad.yaml:2:")
    # Whoever edits it must be able to ask the daemon that runs with the one before.
    with open(f"{procs.folder()}/bad.yaml", "a", encoding="ascii") as f:
        f.write(f"supervisor:\n  control_socket: {procs.folder()}/nowhere.ctl\n")
    expect(daemon.client("status", "-c", f"{procs.folder()}/bad.yaml"), 69, "nowhere.ctl")
    expect(daemon.client("-c", "/no/such/file", "status"), 78, "/no/such/file")
    expect(daemon.client("status", env={"CLAUDEBENCH_CONFIG": "/no/such/file"}), 78)


@case("nobody answers: exit 69 after --timeout, saying that the outcome is unknown and how to repeat it")
def nobody_answers():
    workers = daemon.workers("task")
    for pid in workers:
        procs.kill(pid, signal.SIGSTOP)
    try:
        done = expect(call("--timeout", "300ms", "task.create", '{"text":"unknown"}'), 69, "outcome is unknown")
        check(b"; claudebenchd runs and has 2 task workers: the request may still be handled. Repeat it" in done.stderr, done.stderr)
        key = re.search(r"--idem (\S+?)[: ]", done.stderr.decode()).group(1)
        done = expect(call("--timeout", "300ms", "task.list"), 69, "no reply in time")
        check(b"unknown" not in done.stderr, done.stderr)
    finally:
        for pid in workers:
            procs.kill(pid, signal.SIGCONT)
    done = expect(call("--timeout", "300ms", "test.circuit"), 69, "no reply in time")
    check(b"no worker of this host serves test.circuit: domains.test.workers is 0" in done.stderr, done.stderr)
    check(b"; claudebenchd runs, but has no test worker: " in done.stderr, done.stderr)
    done = expect(call("--idem", key, "task.create", '{"text":"unknown"}'), 0)
    again = expect(call("--idem", key, "task.create", '{"text":"unknown"}'), 0)
    equal(done.stdout, again.stdout)
    listed = [t for t in c.call("task.list", {"limit": 500})["tasks"] if t["text"] == "unknown"]
    equal(len(listed), 1, "created once")


@case("Redis is away: who asks is told whether the daemon of this host runs")
def no_redis():
    own = PrivateRedis()
    with Daemon(redis=own) as d:
        own.stop()
        expect(d.client("task", "add", "x"), 69, "; claudebenchd runs: claudebench status says how its Redis is")
        own.start()
        wait_until(lambda: d.client("status").returncode == 0, 10, "it is back")
        d.stop()
        own.stop()
        expect(d.client("task", "add", "x"), 69, "; claudebenchd does not run on this host")


@case("nobody listens on the control socket, but the daemon's lock names one that runs: who asks is told its pid, and not to start one")
def no_socket():
    config = f"{procs.subfolder('g')}/claudebench.yaml"
    with open(daemon.config_path, encoding="utf-8") as f, open(config, "w", encoding="utf-8") as g:
        g.write(f.read().replace("/control.sock", "/gone.sock"))
    done = expect(daemon.client("status", "-c", config), 69, f"gone.sock: claudebenchd runs, pid {daemon.pid}, but nobody listens there")
    check(b"start claudebenchd" not in done.stderr, done.stderr)
    check(b"end it and start it again" in daemon.client("doctor", "-c", config).stdout, "doctor, too")
    with open(config, encoding="utf-8") as f:
        text = f.read().replace(f"{daemon.dir}/state", f"{procs.folder()}/elsewhere")
    with open(config, "w", encoding="utf-8") as g:
        g.write(text)
    expect(daemon.client("status", "-c", config), 69, "no daemon there; start claudebenchd")


@case("a deadline that has passed in the stream: exit 75, nothing done")
def ttl():
    workers = daemon.workers("task")
    for pid in workers:
        procs.kill(pid, signal.SIGSTOP)
    answers = []
    asker = threading.Thread(target=lambda: answers.append(call("--ttl", "50ms", "task.create", '{"text":"late"}')))
    asker.start()
    try:
        wait_until(lambda: daemon.backlog("task") > 0, 5, "the request waits")
        with daemon.connect() as r:
            entry = int(r.call("XRANGE", "cb:requests:task", "-", "+")[-1][0].split(b"-")[0])

            def late():
                seconds, micros = r.call("TIME")
                return int(seconds) * 1000 + int(micros) // 1000 > entry + 60

            wait_until(late, 5, "its deadline has passed")
    finally:
        for pid in workers:
            procs.kill(pid, signal.SIGCONT)
    asker.join(10)
    expect(answers[0], 75, "-32006")


@case("Redis dies and comes back in the middle of a call: it is answered, and done once")
def redis_dies():
    workers = daemon.workers("task")
    for pid in workers:
        procs.kill(pid, signal.SIGSTOP)
    answers = []
    asker = threading.Thread(
        target=lambda: answers.append(call("--timeout", "20", "task.create", '{"text":"survivor"}', timeout=30)))
    asker.start()
    old = daemon.redis_pid()
    try:
        wait_until(lambda: daemon.backlog("task") > 0, 5, "the request waits")
        procs.kill(old)
    finally:
        for pid in workers:
            procs.kill(pid, signal.SIGCONT)
    wait_until(lambda: daemon.redis_pid() not in (None, old), 10, "Redis again")
    asker.join(25)
    expect(answers[0], 0)
    c.drop()
    reply = c.insist("task.list", {"limit": 500})
    equal(len([t for t in reply.result["tasks"] if t["text"] == "survivor"]), 1, "created once")


@case("nothing that a task holds steers a terminal: tables, show, errors, and JSON stays JSON")
def terminal():
    text = "evil\x1b]0;owned\x07\u009b31m\u202e\r\n\x7f"
    task = c.insist("task.create", {"text": text, "payload": {"p": text}}).result["id"]
    bad = re.compile(rb"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae")
    escapes = re.compile(rb"\x1b\[(?:0|1)m")
    for words in (["task", "list"], ["task", "show", task], ["task", "list", "--json"], ["call", "task.get", f'{{"id":"{task}"}}'],
                  ["task", "show", "--json", task], ["events"], ["events", "--json"], ["task", "show", "t-1\x1b[31m"],
                  ["\x1b[31mverb"]):
        _, out = procs.run_on_terminal([procs.binary("claudebench"), *words], env={"CLAUDEBENCH_CONFIG": daemon.config_path})
        left = escapes.sub(b"", out)
        check(b"\x1b" not in left and not bad.search(left.replace(b"\r", b"")), f"{words}: {out!r}")
    _, out = procs.run_on_terminal([procs.binary("claudebench"), "task", "show", "--json", task],
                                   env={"CLAUDEBENCH_CONFIG": daemon.config_path})
    equal(json.loads(out)["text"], text, "the same JSON")


@case("colours: none in a pipe or with NO_COLOR, bold titles on a terminal")
def colors():
    equal(daemon.client("task", "list").stdout.count(b"\x1b"), 0)
    argv = [procs.binary("claudebench"), "task", "list"]
    env = {"CLAUDEBENCH_CONFIG": daemon.config_path}
    check(b"\x1b[1m" in procs.run_on_terminal(argv, {**env, "NO_COLOR": ""})[1], "bold")
    check(b"\x1b" not in procs.run_on_terminal(argv, {**env, "NO_COLOR": "1"})[1], "NO_COLOR")
    check(b"\x1b" not in procs.run_on_terminal(argv, {**env, "NO_COLOR": "", "TERM": "dumb"})[1], "TERM=dumb")


@case("stdout that cannot be written is not success")
def full_stdout():
    with open("/dev/full", "wb") as full:
        for verb in (["task", "list"], ["events"], ["call", "task.list"], ["hook", "test-rules"],
                     ["hook", "test-rules", "-v"], ["--help"]):
            process = procs.start([procs.binary("claudebench"), *verb], env={"CLAUDEBENCH_CONFIG": daemon.config_path},
                                  stdout=full, stderr=subprocess.PIPE)
            err = process.communicate(timeout=10)[1]
            equal((process.returncode, err), (1, b"claudebench: cannot write: No space left on device\n"), verb)
        for words in (["--help"], ["-V"], ["-t", "-c", daemon.config_path], ["-T", "-c", daemon.config_path]):
            process = procs.start([procs.binary("claudebenchd"), *words], stdout=full, stderr=subprocess.PIPE)
            err = process.communicate(timeout=10)[1]
            equal((process.returncode, err), (1, b"claudebenchd: cannot write: No space left on device\n"), words)


@case("with stdout closed nothing that is meant for people reaches Redis, and it is not success")
def closed_stdout():
    task = json.loads(call("task.create", '{"text":"x"}').stdout)["id"]
    for verb in (["task", "show", task], ["task", "list", "--json"], ["task", "add", "y"], ["hook", "test-rules", "-v"], ["--help"]):
        process = subprocess.Popen([procs.binary("claudebench"), *verb], stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1),
                                   env=procs.environment({"CLAUDEBENCH_CONFIG": daemon.config_path}))
        err = process.communicate(timeout=10)[1]
        equal((process.returncode, err), (1, b"claudebench: cannot write: Bad file descriptor\n"), verb)


start()
main()
