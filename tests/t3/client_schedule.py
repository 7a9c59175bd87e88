#!/usr/bin/env python3
"""client_schedule.py: `claudebench schedule add, list, show, pause, resume, remove`."""

import json
import re
import signal
import subprocess

from cbtest import *

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon()
    at_exit(daemon.stop)
    c = daemon.caller()


def schedule(*args, **kw):
    return daemon.client("schedule", *args, **kw)


def good(done):
    equal(done.returncode, 0, done.stderr.decode(errors="replace"))
    return done.stdout.decode()


def get(sid):
    return c.call("schedule.get", {"id": sid})


@case("add: every option arrives; prints the id, with --json the result; the same again changes nothing")
def add():
    words = ["add", "do it", "--id", "night", "--cron", "30 6 * * mon-fri", "-z", "Europe/Berlin", "--missed", "all",
             "--start", "2031-01-01T00:00:00Z", "--end", "2031-12-31T00:00:00Z", "-p", "70", "-q", "qa", "-r", "x,y",
             "--payload", '{"n":9007199254740993}', "--metadata", '{"k":[]}', "--max-attempts", "5", "--lease", "5"]
    equal(good(schedule(*words)), "night\n")
    got = get("night")
    equal([got["cron"], got["timezone"], got["missed"], got["start"], got["end"], got["next_run_at"]],
          ["30 6 * * mon-fri", "Europe/Berlin", "all", "2031-01-01T00:00:00.000Z", "2031-12-31T00:00:00.000Z",
           "2031-01-01T05:30:00.000Z"])
    equal(got["template"], {"text": "do it", "priority": 70, "queue": "qa", "roles": ["x", "y"], "max_attempts": 5,
                            "lease_ms": 5000, "payload": {"n": 9007199254740993}, "metadata": {"k": []}})
    again = json.loads(good(schedule(*words, "--json")))
    equal([again["outcome"], again["schedule"]["version"]], ["unchanged", got["version"]])
    equal(schedule(*words, "--if-version", "0").returncode, 73)
    out = good(schedule("add", "x", "--every", "90m", "--paused"))
    check(re.fullmatch(r"s-\d+\n", out), out)
    got = get(out.strip())
    equal([got["every_ms"], got["status"]], [5400000, "paused"])
    one, two = (good(schedule("add", "x", "--every", "1d", "--idem", "k1")) for _ in range(2))
    equal(one, two)


@case("add: wrong use is 64, what the method refuses 65, with its place")
def add_bad():
    for words, code, text in (
        (["x"], 64, "--cron or --every"), (["x", "--cron", "@daily", "--every", "1h"], 64, "not both"),
        (["x", "--every", "60"], 64, "number with its unit"), (["x", "--every", "s"], 64, "number with its unit"),
        (["x", "--every", "1y"], 64, "number with its unit"), (["x", "--every", "99999999999999999999d"], 64, "number"),
        (["x", "--every", "9223372036854775807d"], 64, "number"), (["x", "--every", "-5s"], 64, "number"),
        (["x", "--every", "10ms"], 65, "every_ms"), (["x", "--cron", "0 25 * * *"], 65, "hour at byte 3: 0 to 23"),
        (["x", "--cron", "@daily", "-z", "Moon/Base"], 65, "timezone"), (["x", "--cron", "@daily", "--payload", "{"], 65, "JSON"),
        (["", "--cron", "@daily"], 65, "template.text"), ([b"\xff", "--cron", "@daily"], 65, "UTF-8"),
        (["x", "--cron", b"\xff"], 65, "UTF-8"), (["x", "--cron", "@daily", "--missed", "some"], 65, "missed"),
    ):
        done = schedule("add", *words)
        equal(done.returncode, code, words)
        check(text in done.stderr.decode(), f"{words}: {done.stderr.decode()}")


@case("list: a table with local times, JSON by line, states; escapes what others wrote")
def listing():
    for one in c.call("schedule.list", {"limit": 500})["schedules"]:
        c.call("schedule.remove", {"id": one["id"]})
    equal(good(schedule("list")), "")
    c.call("schedule.add", {"id": "a", "cron": "0 12 1 1 *", "start": "2031-06-01T00:00:00Z", "template": {"text": "evil\u001b[2J"}})
    c.call("schedule.add", {"id": "b", "every_ms": 5400000, "template": {"text": "bee"}, "paused": True})
    rows = good(schedule("list", env={"TZ": "Asia/Kolkata"})).splitlines()
    equal(rows[0].split(), ["ID", "STATUS", "WHEN", "ZONE", "NEXT", "FIRED", "TEXT"])
    check(re.fullmatch(r"a +active +0 12 1 1 \* +UTC +2032-01-01 17:30:00 IST +0 +evil\\x1b\[2J", rows[1]), rows[1])
    check(re.fullmatch(r"b +paused +every 90m +UTC +- +0 +bee", rows[2]), rows[2])
    equal([json.loads(row)["id"] for row in good(schedule("list", "--json")).splitlines()], ["a", "b"])
    equal(len(good(schedule("list", "-s", "paused")).splitlines()), 2)
    equal(schedule("list", "-s", "asleep").returncode, 65)
    for i in range(250):
        c.call("schedule.add", {"id": f"n{i:03}", "every_ms": 86400000, "template": {"text": "x"}})
    equal(len(good(schedule("list")).splitlines()), 253, "more than a page")


@case("list --json: names and expressions as they are; --watch shows it again, with what has changed")
def watched():
    for one in c.call("schedule.list", {"limit": 500})["schedules"]:
        c.call("schedule.remove", {"id": one["id"]})
    c.call("schedule.add", {"id": "a/b", "cron": "*/5 * * * *", "timezone": "Europe/Berlin", "template": {"text": "\\/ é"}})
    line = good(schedule("list", "--json"))
    check('"a/b"' in line and '"*/5 * * * *"' in line and '"Europe/Berlin"' in line, line)
    equal(json.loads(line)["template"]["text"], "\\/ é")
    process = procs.start([procs.binary("claudebench"), "schedule", "list", "--json", "--watch"],
                          env={"CLAUDEBENCH_CONFIG": daemon.config_path}, stdout=subprocess.PIPE)
    equal(json.loads(process.stdout.readline())["status"], "active")
    good(schedule("pause", "a/b"))
    while json.loads(process.stdout.readline())["status"] != "paused":
        check(process.poll() is None, "goes on")
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    equal(process.wait(10), -signal.SIGINT)


@case("show, pause, resume, remove; what is not there is 66")
def others():
    c.call("schedule.add", {"id": "x y", "every_ms": 86400000, "template": {"text": "t"}})
    check("status:" in good(schedule("show", "x y")), "show")
    equal(json.loads(good(schedule("show", "x y", "--json"))), get("x y"))
    equal(good(schedule("pause", "x y")), "")
    equal(get("x y")["status"], "paused")
    equal(json.loads(good(schedule("resume", "x y", "-j")))["status"], "active")
    equal(schedule("remove", "x y", "--if-version", "1").returncode, 73)
    equal(good(schedule("remove", "x y", "--idem", "k2")), "")
    equal(json.loads(good(schedule("rm", "x y", "--idem", "k2", "--json"))), {"id": "x y"}, "its other name")
    for verb in ("show", "pause", "resume", "remove"):
        equal(schedule(verb, "x y").returncode, 66)
    equal(schedule("list", "now").returncode, 64)
    equal(schedule("lost").returncode, 64)


start()
main()
