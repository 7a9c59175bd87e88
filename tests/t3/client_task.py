#!/usr/bin/env python3
"""client_task.py: `claudebench task add, list, show, update, cancel, retry, rm, import, export, queues, pause, resume`."""

import datetime
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios
import threading
import unicodedata

from cbtest import *

daemon = None
c = None
counter = 0


def start():
    global daemon, c
    daemon = Daemon()
    at_exit(daemon.stop)
    c = daemon.caller()


def task(*args, **kw):
    return daemon.client("task", *args, **kw)


def good(done):
    equal(done.returncode, 0, done.stderr.decode(errors="replace"))
    return done.stdout.decode()


def path(text=None):
    global counter
    counter += 1
    name = f"{procs.folder()}/file-{counter}.jsonl"
    if text is not None:
        with open(name, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
    return name


def seconds(rfc3339):
    return datetime.datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp()


def listed(queue):
    found, cursor = [], None
    while True:
        page = c.insist("task.list", {"queue": queue, "limit": 500, **({"cursor": cursor} if cursor else {})}).result
        found += page["tasks"]
        cursor = page.get("next")
        if not cursor:
            return found


@case("task add: every option arrives; prints the id, with --json the result")
def add():
    out = good(task("add", "do it", "-p", "70", "--queue", "qa", "--role", "x,y", "-r", "z", "--payload", '{"n":9007199254740993}',
                    "--metadata", '{"k":[]}', "--max-attempts", "5", "--lease", "5", "--delay", "600"))
    check(re.fullmatch(r"t-\d+\n", out), out)
    got = json.loads(good(task("show", "--json", out.strip())))
    equal((got["text"], got["priority"], got["queue"], got["roles"], got["maxAttempts"]), ("do it", 70, "qa", ["x", "y", "z"], 5))
    delay = seconds(got["next_run_at"]) - seconds(got["createdAt"])
    check(abs(delay - 600) < 1, f"without a unit it is seconds: {delay}")
    equal((got["payload"], got["metadata"]), ({"n": 9007199254740993}, {"k": []}))
    got = json.loads(good(task("add", "--json", "--", "--dashes")))
    equal((got["text"], got["status"], got["priority"]), ("--dashes", "pending", 50))
    one, two = good(task("add", "x", "--idem", "k1")), good(task("add", "x", "--idem", "k1"))
    equal(one, two)


@case("task add: what is no JSON, no UTF-8 or out of range is refused with 65, and nothing is sent through")
def add_bad():
    for words, text in (
        (["x", "--payload", "{"], "--payload is not JSON"),
        (["x", "--payload", '1,"priority":99'], "--payload is not JSON"),
        (["x", "--metadata", "[]"], "metadata"),
        (["x", "--priority", "101"], "priority"),
        (["x", "--queue", "no such:queue"], "queue"),
        (["x" * 501], "text"),
        ([""], "text"),
        ([b"\xff\xfe"], "UTF-8"),
    ):
        done = task("add", *words)
        equal(done.returncode, 65, f"{words} {done.stderr!r}")
        check(text.encode() in done.stderr, done.stderr)


@case("task list: pages by cursor, filters, --json a line each; task show prints every member")
def list_and_show():
    ids = [r.result["id"] for r in c.insist_all([("task.create", {"text": f"n{i}", "queue": "many", "priority": i % 100}, token())
                                                 for i in range(450)])]
    lines = good(task("list", "--queue", "many", "--all", "--json")).splitlines()
    equal(sorted(json.loads(line)["id"] for line in lines), sorted(ids))
    equal(len(good(task("list", "--queue", "many", "--json")).splitlines()), 50)
    equal(len(good(task("list", "--queue", "many", "--limit", "7")).splitlines()), 8)
    more = b"claudebench: there is more: --all, or a larger --limit\n"
    for words, told in (([], more), (["--json"], more), (["--limit", "449"], more), (["--limit", "450"], b""), (["--all"], b""),
                        (["--limit", "450", "--json"], b""), (["--limit", "451"], b"")):
        equal(task("list", "--queue", "many", *words).stderr, told, words)
    priorities = [json.loads(line)["priority"] for line in lines]
    equal(priorities, sorted(priorities, reverse=True))
    equal(good(task("list", "--queue", "many", "--status", "completed", "--all", "--json")), "")
    table = good(task("list", "--queue", "many", "--limit", "3")).splitlines()
    check(table[0].split() == ["ID", "STATUS", "PRIO", "QUEUE", "TRY", "WORKER", "CREATED", "TEXT"], table[0])
    shown = good(task("show", ids[0]))
    for name in ("id:", "text:", "status:", "priority:", "queue:", "createdAt:"):
        check(f"{name} " in shown, shown)
    done = task("show", "t-12345")
    equal(done.returncode, 66, done.stderr)
    equal(task("list", "--status", "nonsense").returncode, 65)


@case("task list: tasks that have ended come newest first, or oldest first when asked for, page by page as well")
def list_ended():
    # In the order of their ids, which is that of tasks that end in the same millisecond.
    ids = sorted(r.result["id"] for r in c.insist_all([("task.create", {"text": "x", "queue": "ended"}, token()) for _ in range(230)]))
    for id in ids:
        check(c.ask("task.cancel", {"id": id}).ok, id)

    def listed(*words):
        return [json.loads(line)["id"] for line in good(task("list", "--queue", "ended", "--status", "cancelled", "--json", *words)).splitlines()]

    equal(listed("-n", "3"), ids[:-4:-1])
    equal(listed("--all"), ids[::-1])
    equal(listed("--all", "--order", "oldest"), ids)
    refused = task("list", "--order", "sideways")
    equal([refused.returncode, "order" in refused.stderr.decode()], [65, True])


@case("task list on a terminal of 80 columns: a line a task, whatever it holds; in a pipe everything")
def list_fits():
    worker = "a-very-long-host-name.of-some-provider.example.org-4711"
    texts = ["日本語のテキストはとても長いです、端末より長いかもしれません、本当に長い" * 2, "x" * 500, "short"]
    for text in texts:
        good(task("add", text, "--queue", "fits"))
    c.call("task.claim", {"workerId": worker, "queue": "fits"})
    for columns in ("80", "40"):
        code, out = procs.run_on_terminal([procs.binary("claudebench"), "task", "list", "--queue", "fits"],
                                          env={"CLAUDEBENCH_CONFIG": daemon.config_path, "COLUMNS": columns, "NO_COLOR": ""})
        equal(code, 0)
        lines = re.sub(r"\x1b\[\d*m", "", out.decode()).splitlines()
        equal(len(lines), 4, out)
        for line in lines:
            width = sum(2 if unicodedata.east_asian_width(ch) in "WF" else 1 for ch in line)
            check(width <= int(columns), f"{width}: {line}")
    check("t-" in lines[1] and "short" in out.decode(), out)
    piped = good(task("list", "--queue", "fits"))
    check(all(text in piped for text in [*texts, worker, "CREATED"]), piped)


@case("task show: how the attempts ended is a table below the rest; a task without any has none")
def show_attempts():
    made = good(task("add", "tried", "--queue", "tried", "--backoff", "0")).strip()
    check("attempts" not in good(task("show", made)) and "TRY" not in good(task("show", made)), "none")
    for worker, error in (("w1", "no such \x1b file"), ("w-2", "again")):
        held = wait_until(lambda w=worker: c.insist("task.claim", {"workerId": w, "queue": "tried"}).result["tasks"], 10)[0]
        c.insist("task.fail", {"id": made, "lease_token": held["lease_token"], "error": error})
    shown = good(task("show", made))
    head, table = shown.split("\n\n")
    rows = table.splitlines()
    equal(rows[0].split(), ["TRY", "OUTCOME", "SIGNAL", "WORKER", "STARTED", "ENDED", "ERROR"])
    check(re.fullmatch(r" *1 +failed +- +w1 +2\S+Z +2\S+Z +no such \\x1b file", rows[1]), rows[1])
    check(re.fullmatch(r" *2 +failed +- +w-2 +2\S+Z +2\S+Z +again", rows[2]), rows[2])
    check(len(rows) == 3 and "attempts:" not in head and "error:" in head, shown)
    equal(len(json.loads(good(task("show", made, "--json")))["attempts"]), 2)


@case("task update: every option arrives; refusals are 64, 65, 66 or 73")
def update():
    one = good(task("add", "old", "--queue", "upd")).strip()
    got = json.loads(good(task("update", one, "-t", "new é", "-p", "7", "--metadata", '{"k":[]}', "--if-version", "1", "--json",
                               "--idem", "u1")))
    equal((got["text"], got["priority"], got["metadata"], got["version"]), ("new é", 7, {"k": []}, 2))
    again = task("update", one, "-t", "new é", "-p", "7", "--metadata", '{"k":[]}', "--if-version", "1", "--json", "--idem", "u1")
    equal(json.loads(good(again)), got)
    check("text:          plain\n" in good(task("update", one, "--text", "plain")), "members, one a line")
    for words, code in ((["-p", "101"], 65), (["--if-version", "1", "-p", "5"], 73), (["-s", "completed"], 73), (["-s", "nope"], 65),
                        ([], 64), (["--metadata", "{"], 65), (["-t", b"\xff"], 65), (["-p", "x"], 64)):
        done = task("update", one, *words)
        equal(done.returncode, code, f"{words} {done.stderr!r}")
    equal(task("update", "t-12345", "-p", "1").returncode, 66)
    equal(json.loads(good(task("update", one, "-s", "cancelled", "-j")))["status"], "cancelled")


@case("task rm: gone, once; one in progress is refused with 73")
def remove():
    one = good(task("add", "x", "--queue", "rm")).strip()
    c.call("task.claim", {"workerId": "w", "queue": "rm"})
    done = task("rm", one)
    equal((done.returncode, b"in_progress" in done.stderr), (73, True), done.stderr)
    c.call("task.complete", {"id": one})
    equal(good(task("rm", one, "--idem", "r1")), "")
    equal(json.loads(good(task("remove", one, "--idem", "r1", "--json"))), {"id": one, "status": "deleted"}, "its other name")
    equal((task("rm", one).returncode, task("show", one).returncode), (66, 66))


@case("task add: delays, dependencies, unique keys and limits arrive")
def add_more():
    first = good(task("add", "first", "--queue", "more")).strip()
    second = good(task("add", "second", "--queue", "more", "--delay", "6h", "--max-crashes", "7", "--backoff", "5s",
                       "--backoff-max", "1m", "--lease", "2m", "--partition", "repo.1")).strip()
    got = json.loads(good(task("show", "-j", second)))
    check(6 * 3600 - 60 < seconds(got["next_run_at"]) - seconds(got["createdAt"]) < 6 * 3600 + 60, got)
    equal(daemon.connect().call("HMGET", daemon.key(f"task:{second}"), "bo", "lm"), [b"5000 60000", b"120000"])
    check(got["status"] == "delayed" and got["next_run_at"] > got["createdAt"], got)
    equal(got["partition"], "repo.1")
    told = daemon.connect().call("XRANGE", daemon.key("partition:repo.1"), "-", "+")
    equal([told[0][1][1], told[0][1][5], len(told)], [b"task.created", second.encode(), 1])
    third = good(task("add", "third", "--after", f"{first},{second}", "--on-dependency-failure", "block", "--unique", "k é")).strip()
    got = json.loads(good(task("show", "-j", third)))
    equal([got["status"], got["waiting_for"], got["unique_key"]], ["blocked", [first, second], "k é"])
    again = task("add", "x", "--unique", "k é")
    equal([good(again).strip(), b"already" in again.stderr], [third, True])
    got = json.loads(good(task("show", "-j", good(task("add", "x", "--run-at", "2036-01-01T02:00:00+02:00")).strip())))
    equal(got["next_run_at"], "2036-01-01T00:00:00.000Z")
    for words in (["--after", "t-7"], ["--after", "nonsense"], ["--on-dependency-failure", "no"], ["--run-at", "tomorrow"],
                  ["--delay", "100000d"], ["--partition", "detected"], ["--partition", "a:b"],
                  ["--delay", "1", "--run-at", "2036-01-01T00:00:00Z"]):
        done = task("add", "x", *words)
        equal(done.returncode, 65, f"{words} {done.stderr!r}")
    for words in (["--delay", "-1"], ["--delay", "soon"], ["--backoff", "5 s"], ["--lease", "1.5h"]):
        done = task("add", "x", *words)
        equal([done.returncode, b"is not a time" in done.stderr], [64, True], done.stderr)


@case("task cancel, task retry: by id, one by one, with the right exit codes")
def change():
    ids = [good(task("add", f"n{i}", "--queue", "chg")).strip() for i in range(4)]
    version = str(json.loads(good(task("show", "-j", ids[0])))["version"])
    equal(task("cancel", ids[0], "--if-version", "77").returncode, 73)
    equal(good(task("cancel", ids[0], "--if-version", version, "--reason", "not needed é")), "")
    equal(json.loads(good(task("show", "-j", ids[0])))["error"], "not needed é")
    equal(good(task("cancel", ids[0])), "")
    done = task("cancel", ids[1], "t-12345", ids[2], "--json")
    equal(done.returncode, 66, done.stderr)
    rows = {r["id"]: r for r in map(json.loads, done.stdout.decode().splitlines())}
    equal([rows[ids[1]]["status"], rows[ids[2]]["status"], rows["t-12345"]["error"]["code"]], ["cancelled", "cancelled", -32004])
    equal(task("retry", ids[3]).returncode, 73)
    equal(good(task("retry", ids[0], ids[1], "--attempts", "2")), "")
    got = json.loads(good(task("show", "-j", ids[0])))
    equal([got["status"], got["maxAttempts"]], ["pending", 2])
    held = c.call("task.claim", {"workerId": "w", "queue": "chg"})["tasks"][0]
    equal(good(task("cancel", held["id"])), "")
    equal(c.ask("task.renew", {"id": held["id"], "lease_token": held["lease_token"]}).data["state"], "cancelled")
    for words in ([], ["--all"], ["--all", ids[0]], ["--queue", "chg"], ["--all", "--status", "completed"], ["x" * 40],
                  ["--all", "--queue", "q", "--if-version", "3"], [ids[0], ids[1], "--if-version", "3"]):
        equal(task("cancel", *words).returncode, 64, words)
    for words in ([], ["--all"], ["--dead"], ["--all", "--queue", "chg"], [ids[0], "--cancelled"]):
        equal(task("retry", *words).returncode, 64, words)


@case("task cancel --all, task retry --all: a queue of 1200, page by page; the others stay")
def change_all():
    made = c.insist_all([("task.create", {"text": f"n{i}", "queue": ["all1", "all2"][i % 3 == 0]}, token()) for i in range(1200)])
    equal(len(made), 1200)
    c.call("task.claim", {"workerId": "w", "queue": "all1", "maxTasks": 5})
    equal(good(task("cancel", "--all", "--queue", "all1", "--status", "in_progress")), "5 tasks cancelled\n")
    equal(good(task("cancel", "--all", "--queue", "all1")), "795 tasks cancelled\n")
    equal({t["status"] for t in listed("all2")}, {"pending"})
    equal(good(task("retry", "--all", "--dead", "--queue", "all1")), "0 tasks retried\n")
    rows = good(task("retry", "--all", "--cancelled", "--queue", "all1", "--json")).splitlines()
    equal([len(rows), {json.loads(r)["status"] for r in rows}], [800, {"pending"}])
    for t in c.call("task.claim", {"workerId": "w", "queue": "all1", "maxTasks": 30})["tasks"]:
        c.call("task.fail", {"id": t["id"], "lease_token": t["lease_token"], "error": "e", "retry": False})
    equal(good(task("retry", "--all", "--dead", "--queue", "all1")), "30 tasks retried\n")
    equal({t["status"] for t in listed("all1")}, {"pending"})


@case("task queues, pause, resume: counts, and nothing is claimed meanwhile")
def queues():
    for i in range(3):
        good(task("add", f"n{i}", "--queue", "paused-1"))
    rows = {r["queue"]: r for r in map(json.loads, good(task("queues", "--json")).splitlines())}
    equal([rows["paused-1"]["pending"], rows["paused-1"]["paused"]], [3, False])
    equal(good(task("pause", "paused-1")), "")
    equal(c.call("task.claim", {"workerId": "w", "queue": "paused-1"}), {"claimed": False, "tasks": [], "paused": True})
    table = good(task("queues")).splitlines()
    equal(table[0].split(), ["QUEUE", "STATE", "PENDING", "DELAYED", "BLOCKED", "RUNNING", "DEAD", "OLDEST"])
    (row,) = [line.split() for line in table if line.startswith("paused-1 ")]
    equal(row[1:7], ["paused", "3", "0", "0", "0", "0"])
    equal(json.loads(good(task("pause", "--json"))), {"paused": True})
    done = task("resume", "paused-1")
    check(b"all queues" in done.stderr and done.returncode == 0, done.stderr)
    equal(json.loads(good(task("resume", "--json"))), {"paused": False})
    equal(c.call("task.claim", {"workerId": "w", "queue": "paused-1"})["claimed"], True)
    equal(task("pause", "no such:queue").returncode, 65)


@case("task import: every good line once, in order; bad ones by number; exit 65")
def import_lines():
    lines = ['{"text":"one","priority":90}', "", '{"text":"two","payload":{"n":9007199254740993,"e":[]}}', "{", "[1]",
             '{"text":""}', '{"txt":"x"}', '{"text":"three","queue":"elsewhere"}', '{"text":"dup","text":"dup"}',
             "\ufeff{}", '  {"text" : "four"}  \r', '{"text":"no newline at the end"}']
    done = task("import", path("\ufeff" + "\n".join(lines)), "--queue", "imp1")
    equal(done.returncode, 65, done.stderr.decode())
    numbers = [int(n) for n in re.findall(r"line (\d+):", done.stderr.decode())]
    equal(sorted(numbers), [4, 5, 6, 7, 9, 10], done.stderr.decode())
    check("line 6: text: " in done.stderr.decode(), done.stderr.decode())
    check(b"5 tasks created" in done.stdout and b"6 bad lines" in done.stdout, done.stdout)
    equal({t["text"] for t in listed("imp1")}, {"one", "two", "four", "no newline at the end"})
    equal([t["text"] for t in listed("elsewhere")], ["three"])
    two = [t for t in listed("imp1") if t["text"] == "two"][0]["id"]
    check(b'"payload":{"n":9007199254740993,"e":[]}' in task("show", "--json", two).stdout, "byte by byte")


@case("task import: a thousand lines from a pipe; --json names line and id")
def import_many():
    text = "".join(f'{{"text":"n{i}","queue":"imp2"}}\n' for i in range(1050))
    done = task("import", "-", "--json", input=text.encode())
    rows = [json.loads(line) for line in good(done).splitlines()]
    equal(rows[-1], {"created": 1050, "existing": 0, "bad": 0})
    equal(sorted(r["line"] for r in rows[:-1]), list(range(1, 1051)))
    by_line = {r["line"]: r["id"] for r in rows[:-1]}
    tasks = {t["id"]: t["text"] for t in listed("imp2")}
    equal(len(tasks), 1050)
    check(all(tasks[i] == f"n{n - 1}" for n, i in by_line.items()), "ids belong to their lines")


@case("task import --strict stops at the first bad line, whoever finds it")
def import_strict():
    for queue, bad in (("imp3", "{"), ("imp4", '{"text":""}')):
        lines = [f'{{"text":"n{i}"}}' for i in range(150)] + [bad] + [f'{{"text":"m{i}"}}' for i in range(2000)]
        done = task("import", "--strict", "--queue", queue, path("\n".join(lines)))
        equal(done.returncode, 65, done.stderr)
        equal(re.findall(r"line (\d+):", done.stderr.decode()), ["151"], done.stderr.decode())
        got = {t["text"] for t in listed(queue)}
        check({f"n{i}" for i in range(150)} <= got, "what stands before it is imported")
        check(len(got) <= 200 + 7 * 100, f"{len(got)} imported")  # its own batch, and those that may be in flight with it


@case("task import: repeated under the same --idem it adds nothing, also with bad lines in it")
def import_idem():
    lines = [f'{{"text":"n{i}"}}' for i in range(250)]
    lines[120] = '{"text":""}'
    lines[30] = "nonsense"
    name = path("\n".join(lines))
    for _ in range(3):
        done = task("import", "--idem", "same", "--queue", "imp5", name)
        equal(done.returncode, 65, done.stderr)
        check(b"248 tasks created, now or earlier under this key, in " in done.stdout, done.stdout)
    equal(len(listed("imp5")), 248)
    name = path("".join(f'{{"text":"u{i}","unique_key":"{i % 3}","queue":"imp11"}}\n' for i in range(5)))
    for said in (b"3 tasks created in ", b", 2 had a unique_key that was there, 0 bad lines\n"), (b"0 tasks created in ", b", 5 had a unique_key "):
        done = task("import", name)
        check(all(text in done.stdout for text in said), done.stdout)
    rows = [json.loads(line) for line in good(task("import", "--json", name)).splitlines()]
    equal((len(rows), rows[-1]), (6, {"created": 0, "existing": 5, "bad": 0}))


@case("task import: files that cannot be read; long lines; nothing at all")
def import_odd():
    equal(task("import", "/no/such/file").returncode, 66)
    equal(task("import", procs.folder()).returncode, 66)
    check(b"0 tasks created" in task("import", path("\n\n")).stdout, "empty")
    big = '{"text":"big","payload":"' + "x" * 300000 + '"}'
    done = task("import", "--queue", "imp6", path(f'{{"text":"a"}}\n{big}\n{{"text":"b"}}\n'))
    equal(done.returncode, 65)
    check(b"line 2: longer than" in done.stderr, done.stderr)
    equal(len(listed("imp6")), 2)


@case("task import: connections cut and a worker killed under it: every line once")
def import_under_fire():
    count = 20000 if LONG else 4000
    name = path("".join(f'{{"text":"n{i}","queue":"imp7"}}\n' for i in range(count)))
    process = procs.start([procs.binary("claudebench"), "task", "import", name], env={"CLAUDEBENCH_CONFIG": daemon.config_path},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    cuts, victim = 0, daemon.workers("task")[0]
    with daemon.connect() as r:
        while process.poll() is None and cuts < 20:
            for line in r.call("CLIENT", "LIST").decode().splitlines():
                found = re.search(r"^id=(\d+) .* name=claudebench ", line)
                if found:
                    r.call("CLIENT", "KILL", "ID", found.group(1))
                    cuts += 1
            if cuts >= 3 and victim:
                procs.kill(victim)
                victim = None
    out, err = process.communicate(timeout=60)
    equal(process.returncode, 0, err.decode())
    check(f"{count} tasks created".encode() in out, out)
    note(f"{cuts} cuts")
    texts = [t["text"] for t in listed("imp7")]
    equal(len(texts), count)
    equal(len(set(texts)), count, "none twice")


def peak_kib(count):
    """The largest resident size of an import of so many lines."""
    name, result = path(), path()
    with open(name, "w", encoding="ascii") as f:
        for i in range(count):
            f.write(f'{{"text":"n{i}","queue":"imp8","payload":"{"p" * 400}"}}\n')
    script = ("import resource, subprocess, sys\n"
              "code = subprocess.call(sys.argv[2:])\n"
              "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
              "sys.exit(code)\n")
    done = procs.run(["python3", "-c", script, result, procs.binary("claudebench"), "task", "import", name],
                     env={"CLAUDEBENCH_CONFIG": daemon.config_path, "ASAN_OPTIONS": "quarantine_size_mb=1"}, timeout=600)
    equal(done.returncode, 0, done.stderr.decode())
    with open(result, encoding="ascii") as f:
        return int(f.read())


@case("task import: memory does not grow with the file")
def import_memory():
    many = 900000 if LONG else 30000  # task.max_pending is a million
    small, large = peak_kib(3000), peak_kib(many)
    note(f"peak {small} KiB for 3000 lines, {large} KiB for {many}")
    check(large < small + 4096, f"{small} and {large} KiB")


@case("task import shows a bar on a terminal, and nothing of it elsewhere")
def import_bar():
    name = path("".join(f'{{"text":"n{i}","queue":"imp9"}}\n' for i in range(5000)))
    code, out = procs.run_on_terminal([procs.binary("claudebench"), "task", "import", name],
                                      env={"CLAUDEBENCH_CONFIG": daemon.config_path}, timeout=60)
    equal(code, 0)
    check(b"[==" in out and b"\r" in out, out[-300:])
    done = task("import", "--queue", "imp10", name)
    check(b"\r" not in done.stderr and b"[" not in done.stderr, done.stderr)


@case("task list, show, queues --watch: again every second, what has changed with it; ends by the signal")
def watched():
    made = good(task("add", "watched", "--queue", "watched")).strip()
    for words in (["list", "--queue", "watched"], ["show", made], ["queues"]):
        process = procs.start([procs.binary("claudebench"), "task", *words, "--watch", "--json"],
                              env={"CLAUDEBENCH_CONFIG": daemon.config_path}, stdout=subprocess.PIPE)
        check(process.stdout.readline(), "shown at once")
        good(task("update", made, "--priority", str(60 + len(words))))
        while (f'"priority":{60 + len(words)}'.encode() if words != ["queues"] else b'"watched"') not in process.stdout.readline():
            check(process.poll() is None, "goes on")
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        equal(process.wait(10), -signal.SIGINT)
    gone = task("show", "t-1", "--watch")
    equal(gone.returncode, 66, gone.stderr)


def first_screen(rows, *words):
    """What --watch puts on a terminal of so many rows until it has put its second screen, without the second."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
    process = procs.start([procs.binary("claudebench"), *words, "--watch"], stdout=slave, stderr=slave,
                          env={"CLAUDEBENCH_CONFIG": daemon.config_path, "NO_COLOR": "1", "TERM": "xterm"})
    os.close(slave)
    out = bytearray()
    wait_until(lambda: out.extend(os.read(master, 65536)) or out.count(b"\x1b[J") >= 2, 20, lambda: bytes(out), step=0)
    process.send_signal(signal.SIGINT)
    os.close(master)
    equal(process.wait(10), -signal.SIGINT)
    before, home, screen = bytes(out).decode().split("\x1b[J")[0].partition("\x1b[H")
    equal((before, home), ("", "\x1b[H"), bytes(out))
    return screen.replace("\x1b[K", "").replace("\r", "")


@case("--watch on a low terminal keeps the head in sight and says how much is left out; a high one shows all")
def low_terminal():
    queue = "lowterm"
    for i in range(12):
        good(task("add", "-q", queue, f"n{i}"))
    lines = first_screen(8, "task", "list", "-q", queue).split("\n")
    check(lines[0].startswith("ID ") and lines[1].endswith("n0") and lines[5].endswith("n4"), lines)
    equal(lines[6:], ["... 7 more lines", ""])
    equal(len(first_screen(15, "task", "list", "-q", queue).split("\n")), 14)
    equal(first_screen(8, "task", "list", "-q", "lowterm-none", "--json"), "")
    lines = first_screen(15, "task", "list", "-q", queue, "-n", "3").split("\n")
    equal((len(lines), lines[-2]), (6, "there is more: --all, or a larger --limit"), lines)
    id = good(task("add", "-q", queue, "--payload", '"' + "x" * 400 + '"', "long")).strip()
    lines = first_screen(16, "task", "show", id).split("\n")
    check(lines[0].startswith("id:") and lines[-2].startswith("... "), lines)
    check(sum(max(1, -(-len(line) // 80)) for line in lines[:-1]) <= 15, lines)


start()
main()
