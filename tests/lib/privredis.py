"""privredis.py: a redis-server of the test's own, on a unix socket in a temporary folder."""

import os
import re
import signal
import socket
import subprocess
import threading

import modes
import procs
import tap
import users
from resp import Resp, RespError


class PrivateRedis:
    """Starts on construction. The same folder and socket are kept over restarts.

    aof       appendonly (fsync=everysec, always or no)
    lines     more configuration lines
    tcp       also listen on 127.0.0.1, on a free port (self.port)
    alone     whatever CB_TEST_REDIS says (modes.py)
    at        runs on a host of network.py and listens at its address (self.address, self.port), too
    acl_file  its users, all of them: a file that also has users.ADMIN
    env       more environment (a shim)
    """

    def __init__(self, aof=False, fsync="everysec", lines=(), tcp=False, maxmemory=0, start=True, at=None, alone=False,
                 acl_file=None, env=None):
        self.env = env
        self.dir = procs.subfolder("r")
        self.at, self.address = at, at.address if at else "127.0.0.1"
        self.socket = f"{self.dir}/s"
        self.aof, self.fsync, self.lines, self.maxmemory = aof, fsync, list(lines), maxmemory
        self.port = 6379 if at else free_port() if tcp else 0
        self.process = None
        self.keeper = None
        self.prefixes = []
        self.acl_file = acl_file
        if acl_file:
            self.lines.append(f"aclfile {acl_file}")
        elif users.ACL:
            if not any(line.startswith("user default ") for line in self.lines):
                self.lines.append("user default off resetpass ~* &* +@all")
            self.lines += [f"masteruser {users.ADMIN[0]}", f"masterauth {users.ADMIN[1]}"]  # when it is a replica
            self.login()
        self.around = None if alone or at or acl_file else modes.around(self)
        if start:
            self.start()

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        """What daemons are given. (Tests themselves always use the socket, which no link that is cut can take away.)"""
        if self.around:
            return self.around.url()
        return f"redis://{self.address}:{self.port}" if self.at else f"unix://{self.socket}"

    @property
    def shown_url(self):
        """What a daemon that is connected says of it."""
        return f"redis://{self.address}:{self.port}/0" if self.around else self.url

    def config(self):
        return "\n".join(
            [
                f"port {self.port}",
                f"bind {self.address}",
                f"protected-mode {'no' if self.at else 'yes'}",
                f"unixsocket {self.socket}",
                "unixsocketperm 700",
                f'dir "{self.dir}"',
                f'logfile "{self.dir}/log"',
                'save ""',
                f"appendonly {'yes' if self.aof else 'no'}",
                f"appendfsync {self.fsync}",
                "auto-aof-rewrite-percentage 0",
                f"maxmemory {self.maxmemory}",
                "maxmemory-policy noeviction",
                "hash-max-listpack-value 1024",
                "zset-max-listpack-entries 16",
                "enable-debug-command yes",
                "daemonize no",
                *(self.around.lines() if self.around else []),
                *self.lines,
                "",
            ]
        )

    def start(self, wait=True):
        with open(f"{self.dir}/out", "ab") as out:
            inside = self.at.inside if self.at else []
            program = users.REAL if self.acl_file else "redis-server"
            self.process = procs.start([*inside, program, "-"], env=self.env, stdin=subprocess.PIPE, stdout=out, stderr=out)
        self.process.stdin.write(self.config().encode())
        self.process.stdin.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=20):
        def answers():
            if self.process.poll() is not None:
                tap.fail(f"redis-server ended with {self.process.returncode}:\n{self.log()}")
            try:
                with self.client(timeout=2) as c:
                    return c.call("PING") == b"PONG"
            except RespError as problem:
                if problem.code == "LOADING":
                    return False
                return problem.code == "NOAUTH"

        tap.wait_until(answers, timeout, "redis-server answers")
        if self.around:
            self.around.is_ready()

    def client(self, timeout=10.0, **kw):
        if self.acl_file:
            kw.setdefault("login", users.ADMIN)
        return Resp(self.socket, timeout=timeout, **kw)

    def login(self, prefix="cb"):
        """The users of a daemon with this prefix, which it gets with the first one: what its configuration says of them."""
        if not users.ACL or self.acl_file:
            return {}
        if prefix not in self.prefixes:
            self.prefixes.append(prefix)
            lines = users.acl_lines(procs.top_srcdir(), prefix)
            self.lines += lines
            if self.running():
                with self.client() as c:
                    for line in lines:
                        c.call("ACL", "SETUSER", *_words(line)[1:])
        return users.login(procs.folder(), prefix)

    def as_user(self, who, prefix="cb", timeout=10.0):
        """A connection as `daemon` or `client`."""
        if self.login(prefix):
            return self.client(timeout=timeout, user=users.name(who, prefix), password=users.PASSWORDS[who])
        return self.client(timeout=timeout)

    def check_refusals(self):
        if users.ACL and self.running():
            users.check_refusals(self.client, "the tests' Redis")

    def log(self):
        try:
            with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill9(self):
        self.check_refusals()
        self.process.kill()
        self.process.wait()

    def restart(self, wait=True):
        """kill -9 and start again; with aof the data comes back, else it is empty."""
        if self.running():
            self.kill9()
        self.start(wait)

    def keep(self):
        """Starts it again whenever it dies, as a supervisor does with the embedded one; until let_go()."""
        def watch(ended):
            while not ended.wait(0.05):
                if not self.running():
                    self.start(wait=False)

        if not self.keeper:
            ended = threading.Event()
            self.keeper = ended, threading.Thread(target=watch, args=(ended,), daemon=True)
            self.keeper[1].start()

    def let_go(self):
        if self.keeper:
            self.keeper[0].set()
            self.keeper[1].join()
            self.keeper = None

    def sigstop(self):
        os.kill(self.pid, signal.SIGSTOP)
        tap.wait_until(lambda: procs.stat(self.pid)[0] == "T", 2, "redis-server stopped")

    def cont(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        if self.running():
            self.cont()
            self.check_refusals()
            self.process.terminate()
            self.process.wait(20)
        if self.around:
            self.around.ended()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.running():
            self.kill9()
        if self.around:
            self.around.ended()


def _words(line):
    """A line of an ACL file; a selector is one word."""
    return re.findall(r"\([^)]*\)|\S+", line)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

