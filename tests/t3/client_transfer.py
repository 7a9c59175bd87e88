#!/usr/bin/env python3
"""client_transfer.py: `claudebench task export`, and what `task import` does when there is no room or no patience."""

import json
import os
import re
import signal
import subprocess

from cbtest import *

daemon = None
c = None
counter = 0


def start():
    global daemon, c
    daemon = Daemon()
    at_exit(daemon.stop)
    c = daemon.caller()


def task(*args, d=None, **kw):
    return (d or daemon).client("task", *args, **kw)


def good(done):
    equal(done.returncode, 0, done.stderr.decode(errors="replace"))
    return done.stdout


def path(text=None):
    global counter
    counter += 1
    name = f"{procs.folder()}/transfer-{counter}.jsonl"
    if text is not None:
        with open(name, "wb") as f:
            f.write(text.encode())
    return name


def listed(queue, caller=None):
    found, cursor = [], None
    while True:
        page = (caller or c).insist("task.list", {"queue": queue, "limit": 500, **({"cursor": cursor} if cursor else {})}).result
        found += page["tasks"]
        cursor = page.get("next")
        if not cursor:
            return found


def begin(*args, d=None, **kw):
    return procs.start([procs.binary("claudebench"), "task", *args], env={"CLAUDEBENCH_CONFIG": (d or daemon).config_path},
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


@case("what is exported is imported as it was: bytes, priority, roles, metadata, attempts; under new ids")
def round_trip():
    lines = ['{"text":"é \\u001b","priority":90,"queue":"rt1","roles":["gpu","cpu"],"metadata":{"a":[],"b":{}},'
             '"payload":{"n":9007199254740993,"e":[],"f":1e400,"s":"\\n \\u2028"},"max_attempts":7}',
             '{"text":"plain","queue":"rt1"}']
    good(task("import", path("\n".join(lines))))
    pretty = '{"text":"pretty","queue":"rt1","payload":[\n  1,\r\n  "a\\nb"\n]}'
    good(daemon.client("call", "task.create", pretty))
    large = json.dumps({"text": "large", "queue": "rt1", "payload": "x" * (262144 - 48)})
    good(daemon.client("call", "task.create", "-", input=large.encode()))
    first = good(task("export", "-q", "rt1"))
    rows = [json.loads(line) for line in first.splitlines()]
    equal([r["text"] for r in rows], [t["text"] for t in listed("rt1")], "in the order of the list")
    rows.sort(key=lambda r: ["é \x1b", "plain", "pretty", "large"].index(r["text"]))
    check(b'"payload":{"n":9007199254740993,"e":[],"f":1e400,"s":"\\n \\u2028"}' in first, first[:400])
    equal((rows[0]["priority"], rows[0]["roles"], rows[0]["metadata"], rows[0]["max_attempts"]),
          (90, ["gpu", "cpu"], {"a": [], "b": {}}, 7))
    equal(rows[2]["payload"], [1, "a\nb"])
    old = {t["id"] for t in listed("rt1")}
    for i in old:
        c.call("task.delete", {"id": i})
    done = task("import", "-", input=first)
    check(b"4 tasks created" in good(done), done.stdout)
    equal(sorted(good(task("export", "-q", "rt1")).splitlines()), sorted(first.splitlines()), "and again")
    check(not old & {t["id"] for t in listed("rt1")}, "ids are new")


@case("export: every state, or one; pages in the order of the list; --output makes a file and never overwrites one")
def states_and_files():
    ids = [r.result["id"] for r in c.wait_all(c.send_many(
        [("task.create", {"text": f"n{i}", "queue": "st1"}, {}) for i in range(730)]), 30)]
    taken = []
    for _ in range(3):
        taken += c.call("task.claim", {"workerId": "w", "queue": "st1"})["tasks"]
    c.call("task.complete", {"id": taken[0]["id"], "lease_token": taken[0]["lease_token"], "result": 1})
    c.call("task.update", {"id": ids[-1], "updates": {"status": "cancelled"}})
    texts = lambda *a: [json.loads(line)["text"] for line in good(task("export", "-q", "st1", *a)).splitlines()]
    equal(sorted(texts()), sorted(f"n{i}" for i in range(730)))
    equal(texts("-s", "completed"), [taken[0]["text"]])
    equal(sorted(texts("-s", "in_progress")), sorted(t["text"] for t in taken[1:]))
    equal(texts("-s", "cancelled"), ["n729"])
    equal(texts("-s", "pending"), [t["text"] for t in listed("st1") if t["status"] == "pending"], "in order")
    name = path()
    done = task("export", "-q", "st1", "-o", name)
    equal((good(done), done.stderr), (b"", b"claudebench: 730 tasks exported\n"))
    with open(name, "rb") as f:
        equal(len(f.read().splitlines()), 730)
    done = task("export", "-o", name)
    check(done.returncode == 73 and b"File exists" in done.stderr, done.stderr)
    equal(task("export", "-s", "nonsense").returncode, 65)
    name = path()
    done = task("export", "-s", "nonsense", "-o", name)
    equal((done.returncode, f"{name} was not written" in done.stderr.decode(), os.path.exists(name)), (65, True, False), done.stderr)
    equal(len(good(task("export", "-s", "cancelled", "-q", "st1", "-o", name))), 0, "the next try")
    equal(good(task("export", "-q", "none")), b"")


@case("export to a reader that has enough, and to a full disk, is no success")
def bad_output():
    reader, writer = os.pipe()
    process = procs.start([procs.binary("claudebench"), "task", "export"], env={"CLAUDEBENCH_CONFIG": daemon.config_path},
                          stdout=writer, stderr=subprocess.PIPE)
    os.close(reader)
    os.close(writer)
    err = process.communicate(timeout=20)[1]
    equal(process.returncode, 1, err)
    with open("/dev/full", "wb") as full:
        process = procs.start([procs.binary("claudebench"), "task", "export"], stdout=full, stderr=subprocess.PIPE,
                              env={"CLAUDEBENCH_CONFIG": daemon.config_path})
        err = process.communicate(timeout=20)[1]
    equal(process.returncode, 1)
    check(b"No space left" in err, err)


@case("import names the line and the member, not the batch's index")
def own_words():
    text = '{"text":"a"}\n' * 30 + '{"text":""}\n{"text":"b","priority":101}\n{"text":"c","nix":1}\n'
    done = task("import", "-q", "ow1", path(text))
    equal(done.returncode, 65)
    err = done.stderr.decode()
    for said in ("line 31: text: expected string of 1 to 500 bytes, got empty string",
                 "line 32: priority: expected integer from 0 to 100, got number 101", 'line 33: expected known members only'):
        check(said in err, f"{said}: {err}")
    check("tasks[" not in err, err)
    done = task("import", "-q", "a b", path(text))
    equal((done.returncode, done.stdout, done.stderr.count(b"\n")), (65, b"", 1), done.stderr)


@case("import without room: says so, goes on when there is some, and gives up with 75 after --wait")
def no_room():
    with Daemon(config={"task": {"max_pending": 150}}) as d:
        own = d.caller()
        name = path("".join(f'{{"text":"n{i}"}}\n' for i in range(400)))
        done = task("import", "--wait", "1", "--idem", "once", name, d=d)
        equal(done.returncode, 75, done.stderr)
        err = done.stderr.decode()
        check("(-32007); waiting for room, 1 s at most" in err and "--idem once" in err, err)
        created = int(re.match(rb"(\d+) tasks? created", done.stdout).group(1))
        equal(len(listed("default", own)), created)
        check(0 < created <= 250, f"{created} created")
        began = task("import", "--wait", "0", "--idem", "once", name, d=d)
        equal(began.returncode, 75, began.stderr)
        check(b"waiting" not in began.stderr, began.stderr)
        process = begin("import", "--wait", "20", "--idem", "once", name, d=d)
        while process.poll() is None:
            for t in own.insist("task.claim", {"workerId": "w", "maxTasks": 20}).result["tasks"]:
                own.insist("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})
        out, err = process.communicate(timeout=20)
        equal(process.returncode, 0, err)
        check(b"400 tasks created" in out, out)
        check(err.count(b"waiting for room") <= 3, err)
        texts = {t["text"] for t in listed("default", own)}
        equal(texts, {f"n{i}" for i in range(400)}, "each once")
        equal(len(listed("default", own)), 400)


@case("Ctrl-C of an import: what was created is counted, and a repeat under the key adds the rest")
def interrupted():
    count = 30000
    name = path("".join(f'{{"text":"n{i}","queue":"int1"}}\n' for i in range(count)))
    process = begin("import", "--idem", "int", name)
    with daemon.connect() as r:
        wait_until(lambda: r.call("ZCARD", "cb:queue:int1:pending") > 500, 10, "under way")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        equal(process.returncode, -signal.SIGINT, f"ended by the signal: {err}")
        created = int(re.match(rb"(\d+) tasks? created", out).group(1))
        equal(r.call("ZCARD", "cb:queue:int1:pending"), created)
    check(500 < created < count, f"{created} created")
    check(b"to go on, repeat the command with --idem int" in err, err)
    note(f"{created} created before")
    done = task("import", "--idem", "int", name, timeout=60)
    check(f"{count} tasks created".encode() in good(done), done.stdout)
    texts = [t["text"] for t in listed("int1")]
    equal((len(texts), len(set(texts))), (count, count), "each once")
    silent = procs.start([procs.binary("claudebench"), "task", "import", "-", "-q", "int2"], stdin=subprocess.PIPE,
                         env={"CLAUDEBENCH_CONFIG": daemon.config_path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    silent.stdin.write(b'{"text":"a"}\n' * 130)
    silent.stdin.flush()
    with daemon.connect() as r:
        wait_until(lambda: r.call("ZCARD", "cb:queue:int2:pending") == 100, 5, "what is a batch is sent before more comes")
        silent.send_signal(signal.SIGINT)
        wait_until(lambda: silent.poll() is not None, 5, "a stdin that says nothing does not keep it")
        out = silent.stdout.read()
        check(out.startswith(b"100 tasks created"), out)
        equal(r.call("ZCARD", "cb:queue:int2:pending"), 100)


@case("Ctrl-C of an export: lines are whole, and it says how many there are")
def interrupted_export():
    with open(path(), "wb") as out:
        process = procs.start([procs.binary("claudebench"), "task", "export"], stdout=out, stderr=subprocess.PIPE,
                              env={"CLAUDEBENCH_CONFIG": daemon.config_path})
        wait_until(lambda: os.path.getsize(out.name) > 0 or process.poll() is not None, 10, "under way")
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=20)[1]
    with open(out.name, "rb") as f:
        lines = f.read().splitlines()
    for line in lines:
        json.loads(line)
    equal(process.returncode, -signal.SIGTERM)
    equal(err.decode(), f"claudebench: {len(lines)} tasks exported; there are more\n")
    name = path()
    process = procs.start([procs.binary("claudebench"), "task", "export", "-o", name], stderr=subprocess.PIPE,
                          env={"CLAUDEBENCH_CONFIG": daemon.config_path})
    wait_until(lambda: os.path.exists(name) and os.path.getsize(name) > 0 or process.poll() is not None, 10, "under way", step=0)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=20)[1]
    equal((process.returncode, err.decode(), os.path.exists(name)), (-signal.SIGTERM, f"claudebench: {name} was not written\n", False))


@case("export: memory does not grow with the number of tasks; a line of progress on a terminal, none elsewhere")
def memory():
    script = ("import resource, subprocess, sys\n"
              "code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
              "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n")
    peaks = []
    for queue in ("rt1", "int1"):
        done = procs.run(["python3", "-c", script, procs.binary("claudebench"), "task", "export", "-q", queue],
                         env={"CLAUDEBENCH_CONFIG": daemon.config_path, "ASAN_OPTIONS": "quarantine_size_mb=1"}, timeout=120)
        code, peak = done.stdout.split()
        equal(code, b"0", done.stderr)
        peaks.append(int(peak))
    note(f"peak {peaks[0]} KiB for 4 tasks (one of 256 KiB), {peaks[1]} KiB for many")
    check(peaks[1] < peaks[0] + 4096, f"{peaks}")
    code, out = procs.run_on_terminal([procs.binary("claudebench"), "task", "export", "-q", "int1", "-o", path()],
                                      env={"CLAUDEBENCH_CONFIG": daemon.config_path}, timeout=60)
    equal(code, 0)
    check(b"\rexport " in out and b"tasks exported" in out, out[-200:])


start()
main()
