"""working.py: what the tests of `claudebench work` share: its processes, its jobs, and the tasks that they get."""

import datetime
import os
import signal

from cbtest import *

LEASE = 1200

daemon = None
c = None
counter = 0


def start():
    """A daemon for all cases: (daemon, caller)."""
    global daemon, c
    daemon = Daemon(config={"task": {"lease_ms": LEASE, "backoff_ms": 100}, "cluster": {"agent_lease_ms": 5 * LEASE}})
    at_exit(daemon.stop)
    c = daemon.caller()
    return daemon, c


class Work:
    """A running `claudebench work`. Its stderr is in .said()."""

    def __init__(self, *options, command, queue=None, env=None):
        global counter
        counter += 1
        self.queue = queue or f"q{counter}"
        self.id = f"w{counter}"
        self.log = f"{procs.folder()}/work-{counter}.log"
        words = list(options)
        if "--id" not in words:
            words += ["--id", self.id]
        else:
            self.id = words[words.index("--id") + 1]
        with open(self.log, "wb") as log:
            self.process = procs.start(
                [procs.binary("claudebench"), "work", "--queue", self.queue, *words, "--", *command],
                env={"CLAUDEBENCH_CONFIG": daemon.config_path, "SECRET_OF_MINE": "1", **(env or {})},
                stdout=log,
                stderr=log,
            )

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=15):
        try:
            return self.process.wait(timeout)
        except Exception:
            fail(f"{self.id} did not end within {timeout} s: {self.said()}")

    def stop(self, want=0):
        self.term()
        equal(self.wait(), want, self.said())


def queue_name():
    return f"q{counter + 1}"


def add(queue, text="t", **more):
    reply = c.insist("task.create", {"text": text, "queue": queue, **more})
    check(reply.ok, short(reply.raw))
    return reply.result["id"]


def get(task):
    reply = c.insist("task.get", {"id": task})
    check(reply.ok, short(reply.raw))
    return reply.result


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def wait_status(task, status, timeout=10.0):
    wait_until(lambda: get(task)["status"] == status, timeout, lambda: f"{task} {status}: {get(task)}")
    return get(task)


def script(text):
    """An executable sh script."""
    global counter
    counter += 1
    path = f"{procs.folder()}/job-{counter}.sh"
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


def fifo():
    global counter
    counter += 1
    path = f"{procs.folder()}/fifo-{counter}"
    os.mkfifo(path)
    return path


def let_go(path, timeout=10.0):
    """Lets the reader of a fifo go on; waits for it to be there."""

    def try_open():
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            return True
        except OSError:
            return False

    wait_until(try_open, timeout, f"a reader of {path}")


def let_all_go(gate, is_done, timeout=10.0):
    """Opens and closes the fifo until the readers are through."""

    def look():
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            pass
        return is_done()

    wait_until(look, timeout, "all jobs through")


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def exists(path):
    return os.path.exists(path)


def gone(pid):
    return not procs.alive(pid)


def pid_in(path):
    wait_until(lambda: exists(path) and read_file(path).endswith(b"\n"), 10, f"a pid in {path}")
    return int(read_file(path).split()[0])
