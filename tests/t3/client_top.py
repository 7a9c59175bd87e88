#!/usr/bin/env python3
"""client_top.py: `claudebench top` on a terminal: what it shows, its keys, sizes, a daemon that goes and comes, and that the terminal is
given back whatever ends it."""

import os
import signal
import threading

import fake_control
from cbtest import *
from fake_control import HOSTILE, FakeControl
from screen import Terminal

if not os.path.exists(procs.binary("claudebench-top")):
    add_case("claudebench top", lambda: (_ for _ in ()).throw(Skip("built without ncurses")))
    main()


def top(control, *options, columns=80, rows=24, env=None):
    return Terminal([procs.binary("claudebench"), "top", "-d", "200ms", *options], columns, rows, {**control.env, **(env or {})})


def title(lines):
    """The line of the list's titles."""
    return next((i for i, line in enumerate(lines) if "REQUESTS" in line or "PENDING" in line or "STATUS" in line), len(lines))


def first_row(t, mark, column, value, second=""):
    """Waits until the list is sorted by this column, its first row has this value there, and its second one begins so. All of it is
    waited for, as a look may come in the middle of drawing."""

    def is_so(text):
        lines = text.splitlines()
        rows = lines[title(lines) + 1 :]
        return mark in text and len(rows) > 1 and rows[0].split()[column : column + 1] == [value] and rows[1].startswith(second)

    return t.wait_for(is_so)


@case("views by Tab and number, rates, the keys at the bottom, ? and q; exit 0 and the terminal as before")
def views():
    requests = [0]

    def answer(_):
        requests[0] += 50
        s = fake_control.status()
        s["workers"][0]["requests"] = requests[0]
        return s

    with FakeControl(answer) as c, top(c) as t:
        lines = t.wait_for(lambda text: "[1 workers]" in text and "q quit" in text)
        check(lines[0].startswith("status    healthy") and "q quit" in lines[-1], lines)
        for word in ("up 1 h 2 min", "2.0 MiB of 1.0 GiB", "3 pending, oldest 1 min 30 s", "12.5 req/s", "task 4, oldest 30 ms"):
            check(word in "\n".join(lines), word)
        t.wait_for(lambda text: any(float(x.split()[5]) > 50 for x in text.splitlines() if x.startswith("task ") and " 4242 " in x))
        t.press("\t")
        first_row(t, "[2 queues]", 0, "default", second="build ")
        t.press("3")
        t.wait_for(lambda text: "[3 instances]" in text and "\n*  host-a " in text and "\n   agent-1 " in text)
        t.press("4")
        t.wait_for("task.create ")
        t.press("?")
        t.wait_for("sort the other way round")
        t.press("x")
        t.wait_for("[4 methods]")
        t.press("q")
        equal(t.wait_end(), 0)
        check(t.is_restored(), t.raw[-200:])


@case("sorted by any column, both ways; --view, --sort, --reverse; scrolled")
def sorting():
    queues = [{"queue": f"q{i:02}", "paused": False, "pending": i * 7 % 40, "in_progress": i, "delayed": 0, "blocked": 0, "failed": 0}
              for i in range(40)]
    s = fake_control.status()
    s["figures"]["queues"] = queues
    with FakeControl(s) as c, top(c, "--view", "queues", "--sort", "running") as t:
        first_row(t, "RUNNING▾", 0, "q39")
        t.press("r")
        lines = first_row(t, "RUNNING▴", 0, "q00")
        page = len(lines) - title(lines) - 2
        t.wait_for(f"  1-{page} of 40  every")
        t.press("\x1bOB")  # one down
        t.wait_for(f"  2-{page + 1} of 40")
        t.press("\x1bOF")  # End
        t.wait_for(lambda text: "-40 of 40" in text and text.splitlines()[-2].startswith("q39"))
        t.press("<")
        first_row(t, "PENDING▾", 2, "39")
        t.press("q")
        equal(t.wait_end(), 0)
    with FakeControl(s) as c:
        done = procs.run([procs.binary("claudebench"), "top", "--sort", "nothing"], env=c.env)
        equal((done.returncode, b"it has DOMAIN, SLOT" in done.stderr), (64, True), done.stderr)
        equal(procs.run([procs.binary("claudebench"), "top", "--view", "nothing"], env=c.env).returncode, 64)
        equal(procs.run([procs.binary("claudebench"), "top"], env=c.env).returncode, 64, "no terminal")
        for delay, said in (("1", b"needs a terminal"), ("61", b"61 is out of range"), ("199ms", b"199ms is out of range")):
            done = procs.run([procs.binary("claudebench"), "top", "-d", delay], env=c.env)
            check(said in done.stderr, f"{delay}: without a unit it is seconds: {done.stderr}")


@case("other sizes, while it runs: 200x60 with the log, 44x12, too small; no line is ever wider")
def sizes():
    with FakeControl() as c, top(c) as t:
        t.wait_for("[1 workers]")
        t.resize(200, 60)
        t.wait_for(lambda text: "daemon_ready" in text and "\nLOG\n" in text and text.splitlines()[-1].startswith("q quit"))
        t.resize(44, 12)
        t.wait_for(lambda text: "[1 workers]" in text and "\ntask " in text)
        t.resize(30, 8)
        t.wait_for("min 40x10; q quits")
        t.resize(20, 8)
        t.wait_for(lambda text: text.splitlines()[:1] == ["min 40x10; q quits"])
        t.resize(80, 24)
        t.wait_for("4243")
        t.press("q")
        equal(t.wait_end(), 0)


@case("a daemon that goes away and comes back")
def away():
    with FakeControl() as c, top(c) as t:
        t.wait_for("[1 workers]")
        c.stop()
        t.wait_for(lambda text: "no daemon there" in text and "trying again" in text and "4243" in text)  # what it said last stays
        c.answer = fake_control.status(instance="host-again", status="degraded", reasons=["redis is down"])
        c.start()
        t.wait_for("host-again")
        t.wait_for(lambda text: "redis is down" in text and "no daemon there" not in text)
        t.press("q")
        equal(t.wait_end(), 0)
    with FakeControl() as c:
        c.stop()
        with top(c) as t:
            t.wait_for("no daemon there")
            c.start()
            t.wait_for("[1 workers]")
            t.press("q")
            equal(t.wait_end(), 0)


@case("a daemon that hangs keeps no key waiting; when it goes on, so does the list")
def hanging():
    goes_on, hangs = threading.Event(), threading.Event()
    goes_on.set()

    def answer(_):
        if not goes_on.is_set():
            hangs.set()
            goes_on.wait(60)
        return fake_control.status()

    with FakeControl(answer) as c, top(c) as t:
        # A test that is held up between these lines finds top in doubt already: then it is tried again.
        for _ in range(10):
            t.press("1")
            t.wait_for(lambda text: "[1 workers]" in text and "trying again" not in text)
            hangs.clear()
            goes_on.clear()
            hangs.wait(60)
            t.press("2")
            lines = t.wait_for("[2 queues]")
            was_in_doubt = "trying again" in "\n".join(lines)
            goes_on.set()
            if not was_in_doubt:
                break
        check(not was_in_doubt, lines)
        t.wait_for(lambda text: "[2 queues]" in text and "trying again" not in text)
        t.press("q")
        equal(t.wait_end(), 0)


@case("signals and a closed terminal end it; a crash, too, leaves the terminal as it was")
def ends():
    with FakeControl() as c:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGSEGV):
            with top(c) as t:
                t.wait_for("[1 workers]")
                check(1049 in t.screen.modes, "a screen of its own")
                procs.kill(t.process.pid, signum)
                equal(t.wait_end(), -signum)
                check(t.is_restored(), (signum, t.raw[-200:]))
        for kind, word in (("dumb", b"TERM"), ("no-such-terminal", b"TERM")):
            with top(c, env={"TERM": kind}) as t:
                equal(t.wait_end(), 64)
                check(word in t.raw and t.is_restored(), t.raw)


@case("what others wrote is escaped; no colour with NO_COLOR; ASCII where the locale has no more")
def escaped():
    s = fake_control.status(reasons=[HOSTILE], instance=HOSTILE)
    s["log"][0]["text"] = HOSTILE
    s["workers"][0]["method"] = HOSTILE
    s["figures"]["instances"][1]["id"] = HOSTILE
    with FakeControl(s) as c:
        for color in (False, True):
            with top(c, rows=40, env={"NO_COLOR": "" if color else "1"}) as t:
                t.wait_for("reason    a\\x1b[31mb\\u202ec\\u009bd\\ne")
                t.press("3")
                t.wait_for("a\\x1b[31mb")
                t.press("q")
                equal(t.wait_end(), 0)
                check(b"\x1b[31mb" not in t.raw and "\u202e".encode() not in t.raw, "escaped")
                equal(b"\x1b[32m" in t.raw or b"\x1b[1m\x1b[32m" in t.raw, color, t.raw[:300])
        with top(c, env={"LC_ALL": "C"}) as t:
            t.wait_for("DOMAIN^")
            check(all(b < 0x80 for b in t.raw), "ASCII where the locale has no more")


main()
