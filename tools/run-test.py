#!/usr/bin/env python3
"""run-test.py SECONDS COMMAND...: runs one test program and leaves no process of it behind.

Called by automake's TAP driver for every test. The test gets a session of its own, and whatever it starts,
daemons too, comes back to this process when its parent dies (PR_SET_CHILD_SUBREAPER), so that all of it can be
ended: when the test is over, when the time is up (exit 124), when somebody types Ctrl-C or make is killed.
A test that ends well but leaves a process behind for more than GRACE_S has failed (exit 99).
"""
import ctypes
import os
import signal
import subprocess
import sys
import time

GRACE_S = 3.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
EXIT_TIMEOUT = 124
EXIT_LEFTOVER = 99

libc = ctypes.CDLL(None, use_errno=True)


class Ended(Exception):
    """A signal told us to stop; carries the exit status."""


def on_signal(number, _frame):
    raise Ended(EXIT_TIMEOUT if number == signal.SIGALRM else 128 + number)


def descendants():
    """Every living process below this one, as (pid, command line)."""
    parents = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:
                state, ppid = stat.read().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                parents[int(entry)] = int(ppid)
        except OSError:
            continue
    found = {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, ppid in parents.items() if ppid in found and pid not in found}
        grown = bool(more)
        found |= more
    found.discard(os.getpid())
    return sorted(found)


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return cmdline.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


def reap():
    """Collects every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def kill_all():
    """Asks everything below us to end, then makes it."""
    deadline = time.monotonic() + GRACE_S
    for pid in descendants():
        try:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
    while descendants():
        if time.monotonic() > deadline:
            for pid in descendants():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        reap()
        time.sleep(0.02)
    reap()


def wait_for(pid):
    """Reaps whatever ends until the test itself has; returns its status as a shell would."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def leftovers():
    """What is still there when the test has ended and its helpers had the time to follow."""
    deadline = time.monotonic() + GRACE_S
    while True:
        reap()
        left = descendants()
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 64
    limit = int(sys.argv[1])
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, on_signal)
    try:
        signal.alarm(limit)
        child = subprocess.Popen(sys.argv[2:], start_new_session=True)
        status = wait_for(child.pid)
        signal.alarm(0)
        left = leftovers()
        if left:
            print(f"# {len(left)} processes were left behind:")
            for pid in left:
                print(f"#   {pid} {command_of(pid)}")
            status = status or EXIT_LEFTOVER
    except Ended as ended:
        status = ended.args[0]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        if status == EXIT_TIMEOUT:
            print(f"# time is up: {limit} s")
    kill_all()
    sys.stdout.flush()
    # The Popen object must not try to reap what was reaped here.
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
