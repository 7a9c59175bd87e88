"""supervised.py: what the supervision tests share: the control socket and workers that do as they are told."""

import json
import os
import socket
import time

from cbtest import Daemon, PrivateRedis, check, procs, wait_until

FAKE = procs.binary("tests/t1/fake_worker")


class Control:
    """A client of the control socket."""

    def __init__(self, daemon, timeout=2.0):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(f"{daemon.dir}/control.sock")
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def ask(self, cmd):
        self.send(json.dumps({"cmd": cmd}).encode() + b"\n")
        return self.answer()

    def answer(self):
        line = self.file.readline()
        check(line.endswith(b"\n"), f"the control socket was closed: {line[:100]!r}")
        return json.loads(line)

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def status(daemon):
    with Control(daemon) as c:
        return c.ask("status")


def timed_status(daemon):
    """(answer, ms)"""
    started = time.monotonic()
    with Control(daemon) as c:
        answer = c.ask("status")
    return answer, (time.monotonic() - started) * 1000


def worker(daemon, slot):
    return status(daemon)["workers"][slot]


class FakeDaemon(Daemon):
    """A daemon with fake workers and a Redis of the test's own. `modes` is e.g. "task:crash"."""

    def __init__(self, modes="", config=None, ready=True, redis=None, workers=1, **kw):
        self.own_redis = redis is None
        redis = redis or PrivateRedis(aof=True)
        self.mode_path = f"{redis.dir}/modes"
        self.set_modes(modes)
        base = {"domains": {"task": {"workers": workers}, "system": {"workers": 1}, "hook": {"workers": 0}}}
        for domain, value in (config or {}).pop("domains", {}).items():
            base["domains"][domain] = value
        if "hook" not in daemon_domains():
            base["domains"].pop("hook")
        super().__init__(
            redis=redis,
            config={**(config or {}), **base},
            env={"CLAUDEBENCH_WORKER": FAKE, "FAKE_WORKER": self.mode_path},
            ready=ready,
            **kw,
        )

    def set_modes(self, modes):
        with open(self.mode_path + ".new", "w", encoding="ascii") as f:
            f.write(modes)
        os.rename(self.mode_path + ".new", self.mode_path)

    def stop(self, *args, **kw):
        super().stop(*args, **kw)
        if self.own_redis:
            self.redis.stop()

    def wait_status(self, wanted, timeout=5.0):
        wait_until(lambda: status(self)["status"] == wanted, timeout, lambda: f"{wanted}: {status(self)}")


_domains = []


def daemon_domains():
    """The domains that this build knows."""
    if not _domains:
        done = procs.run([procs.binary("claudebenchd"), "-T"])
        text = done.stdout.decode()
        section = text[text.index("\ndomains:") :].split("\n")[2:]
        for line in section:
            if line and not line.startswith(" "):
                break
            word = line.strip().rstrip(":")
            if line.startswith("  ") and line.strip().endswith(":") and not line.startswith("   "):
                _domains.append(word)
        check("task" in _domains, f"domains of this build: {_domains}")
    return _domains


def is_sanitized():
    """Sizes mean nothing in a sanitizer build."""
    with open(procs.binary("claudebenchd"), "rb") as f:
        return b"__asan_init" in f.read()


__all__ = ["Control", "FAKE", "FakeDaemon", "is_sanitized", "status", "timed_status", "worker"]
