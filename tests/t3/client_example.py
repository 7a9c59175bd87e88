#!/usr/bin/env python3
"""client_example.py: the example job of ./quickstart: it passes, it notices loss, and it leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import time

from cbtest import *

JOB = os.path.join(procs.top_srcdir(), "examples", "run-job.sh")


def environ():
    return {"TMPDIR": procs.subfolder("t")}


def run(build, env=None, timeout=100):
    env = env or environ()
    done = procs.run(["sh", JOB, build], env=env, timeout=timeout)
    equal(os.listdir(env["TMPDIR"]), [], "its folder is removed")
    check(not left_behind(), "processes left behind:\n" + "\n".join(procs.describe(p) for p in left_behind()))
    return done


def left_behind():
    return procs.leftovers()


def number(text, name):
    found = re.search(rf"^  {re.escape(name)} +(\d+)$", text, re.M)
    check(found, f"a row `{name}` in:\n{text}")
    return int(found.group(1))


def tampered(event_filter):
    """A build folder whose `claudebench events` tells something else at the end."""
    folder = procs.subfolder("b")
    for name in ("claudebenchd", "claudebench-worker"):
        os.symlink(procs.binary(name), f"{folder}/{name}")
    with open(f"{folder}/claudebench", "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\nreal={procs.binary('claudebench')}\n"
                f'if [ "$1" = events ] && [ "$2" != -f ]; then "$real" "$@" | {event_filter}; exit; fi\n'
                'exec "$real" "$@"\n')
    os.chmod(f"{folder}/claudebench", 0o755)
    return folder


# The first task that a task.completed tells of, one or the first of several: what becomes of it.
FIRST = r"""sed -E '0,/task.completed/{/task.completed/s/("ids?":")(t-[0-9]+) ?/\1%s/}'"""


@case("the job: two kills, nothing lost, nothing doubled, exit 0, and what to type next")
def passes():
    done = run(procs.top_builddir())
    text = done.stdout.decode()
    equal(done.returncode, 0, text + done.stderr.decode())
    created = number(text, "created")
    check(created >= 200, f"{created} tasks")
    equal((number(text, "completed"), number(text, "lost"), number(text, "doubled")), (created, 0, 0))
    check("kill -9" in text and "Type next:" in text, text)
    for row in ("task created -> completed", "request task.create_batch", "request task.claim", "request task.complete"):
        check(re.search(rf"^  {re.escape(row)}( +[0-9.]+){{3}}$", text, re.M), f"{row} in:\n{text}")
    check("\r" not in text, "plain lines in a pipe")


@case("a bar on a terminal")
def bar():
    code, out = procs.run_on_terminal(["sh", JOB, procs.top_builddir()], env=environ(), timeout=100)
    equal(code, 0, out.decode(errors="replace"))
    check(b"\r[=" in out, out[:500])


@case("a completion that is missing in the events is counted as lost, exit not 0")
def notices_loss():
    done = run(tampered(FIRST % ""))
    check(done.returncode != 0, "exit status")
    equal(number(done.stdout.decode(), "lost"), 1)
    check(b"FAILED: lost 1" in done.stderr, done.stderr)


@case("a task that was completed twice is counted, exit not 0")
def notices_doubles():
    done = run(tampered(FIRST % r"\2 \2 "))
    check(done.returncode != 0, "exit status")
    equal(number(done.stdout.decode(), "doubled"), 1)


@case("Ctrl-C, which reaches all of its processes, INT or TERM in the middle: everything ends, the exit status says why")
def interrupted():
    for kill, signum, want in ((os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGINT, 130), (os.kill, signal.SIGTERM, 143)):
        env = environ()
        process = procs.start(["sh", JOB, procs.top_builddir()], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              own_group=True)
        seen = b""
        while b"Imported" not in seen:
            line = process.stdout.readline()
            check(line, f"it ended early: {seen!r}")
            seen += line
        began = time.monotonic()
        kill(process.pid, signum)
        rest, _ = process.communicate(timeout=60)
        took = time.monotonic() - began
        note(f"{kill.__name__} {signum.name}: ended after {took:.1f} s")
        check(took < 10, f"{took:.1f} s")
        equal(process.returncode, want, (seen + rest).decode())
        equal(os.listdir(env["TMPDIR"]), [], "its folder is removed")
        wait_until(lambda: not left_behind(), 5, "nothing left behind")


@case("its daemon keeps everything in the job's folder: nothing of a daemon of the same user that runs beside")
def own_folder():
    folder = procs.subfolder("c")
    with open(os.path.join(procs.top_srcdir(), "examples", "claudebench.yaml"), encoding="utf-8") as f:
        text = f.read().replace("@DIR@", folder)
    with open(f"{folder}/c.yaml", "w", encoding="utf-8") as f:
        f.write(text)
    done = procs.run([procs.binary("claudebench"), "config", "--json", "-c", f"{folder}/c.yaml", "redis.dir", "supervisor", "audit"])
    equal(done.returncode, 0, done.stderr)
    paths = {name: one["value"] for name, one in json.loads(done.stdout).items() if "/" in str(one["value"])}
    check({"audit.file", "redis.dir", "supervisor.state_dir", "supervisor.control_socket", "supervisor.pidfile"} <= set(paths), paths)
    equal({name: value for name, value in paths.items() if not value.startswith(folder + "/")}, {})


@case("a folder without programs is wrong use")
def no_build():
    done = procs.run(["sh", JOB, "/nonexistent"])
    equal(done.returncode, 64)


main()
