"""sentinels.py: a master, its replica and the Redis Sentinels that watch them, all on 127.0.0.1.

    with Watched() as redis, sentinel_daemon(redis) as d:
        redis.master.kill9()
        redis.wait_promoted()
"""

import os
import socket
import subprocess
import threading

import procs
import tap
from daemon import Daemon, merge
from privredis import PrivateRedis
from resp import Resp, RespError, encode

NAME = "mymaster"
QUICK = ["repl-diskless-sync yes", "repl-diskless-sync-delay 0"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Sentinel:
    """One of them. `password`: what it asks of its callers."""

    def __init__(self, master_port, quorum=1, down_ms=400, password="", name=NAME):
        self.port, self.password = free_port(), password
        self.dir = procs.subfolder("s")
        lines = [f"port {self.port}", "bind 127.0.0.1", f'dir "{self.dir}"', f'logfile "{self.dir}/log"',
                 f"sentinel monitor {name} 127.0.0.1 {master_port} {quorum}",
                 f"sentinel down-after-milliseconds {name} {down_ms}", f"sentinel failover-timeout {name} 4000"]
        if password:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        self.path = f"{self.dir}/sentinel.conf"
        with open(self.path, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        self.process = None
        self.start()

    def start(self):
        with open(f"{self.dir}/out", "ab") as out:
            self.process = procs.start(["redis-server", self.path, "--sentinel"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        tap.wait_until(self.answers, 10, "the sentinel answers")

    @property
    def node(self):
        return f"127.0.0.1:{self.port}"

    def client(self):
        return Resp(("127.0.0.1", self.port), password=self.password or None, timeout=2)

    def ask(self, *words):
        with self.client() as c:
            return c.call("SENTINEL", *words)

    def answers(self):
        try:
            with self.client() as c:
                return c.call("PING") == b"PONG"
        except (OSError, RespError):
            return False

    def master_port(self):
        try:
            return int(self.ask("get-master-addr-by-name", NAME)[1])
        except (OSError, RespError, TypeError):
            return 0

    def knows(self, what, count):
        """It has found so many `replicas` or other `sentinels`."""
        try:
            return len(self.ask(what, NAME)) >= count
        except (OSError, RespError):
            return False

    def could_promote(self):
        """It knows a replica that it may make the master, were this one to die."""
        try:
            return any(f[b"flags"] == b"slave" and f[b"master-link-status"] == b"ok"
                       for f in (dict(zip(r[::2], r[1::2])) for r in self.ask("replicas", NAME)))
        except (OSError, RespError, KeyError):
            return False

    def end(self):
        procs.kill(self.process.pid, 18)
        self.process.kill()
        self.process.wait()


class Watched:
    """A master and a replica of it, watched by `count` sentinels, of which `quorum` have to agree. To a Daemon it is its Redis:
    whoever is the master at the time."""

    def __init__(self, count=1, quorum=1, down_ms=400, password=""):
        self.servers = [PrivateRedis(tcp=True, lines=QUICK, start=False) for _ in range(2)]
        self.master = self.servers[0].start()
        self.follow(self.servers[1])
        self.sentinels = [Sentinel(self.master.port, quorum, down_ms, password) for _ in range(count)]
        for s in self.sentinels:
            tap.wait_until(lambda s=s: s.knows("replicas", 1) and s.knows("sentinels", count - 1), 20, "the sentinels know all")

    @property
    def replica(self):
        return self.servers[1 - self.servers.index(self.master)]

    def follow(self, server):
        """Starts it, empty, as the replica of the master."""
        replicaof = f"replicaof 127.0.0.1 {self.master.port}"
        server.lines.append(replicaof)
        server.start()
        server.lines.remove(replicaof)
        self.wait_in_step(server)

    def wait_in_step(self, server=None):
        def in_step():
            with (server or self.replica).client() as r:
                return r.info("replication").get("master_link_status") == "up"

        tap.wait_until(in_step, 20, "the replica has all")

    def wait_promoted(self, timeout=30):
        """The sentinels have made the replica the master."""
        new = self.replica

        def is_promoted():
            try:
                with new.client(timeout=2) as r:
                    return r.call("ROLE")[0] == b"master"
            except (OSError, RespError):
                return False

        tap.wait_until(is_promoted, timeout, "the replica is promoted", step=0.01)
        self.master = new

    def wait_told(self, timeout=15):
        """All sentinels tell of the master, and may promote its replica."""
        tap.wait_until(lambda: all(s.master_port() == self.master.port and s.could_promote() for s in self.sentinels), timeout,
                       "the sentinels agree")

    def demote(self):
        """Another one is made master while this one lives."""
        def is_begun():
            try:
                return self.sentinels[0].ask("failover", NAME) == b"OK"
            except RespError as problem:
                if problem.code in ("INPROG", "NOGOODSLAVE"):  # the last one is not over for all of them
                    return False
                raise

        tap.wait_until(is_begun, 20, "the sentinel begins", step=0.05)
        self.wait_promoted()

    @staticmethod
    def wait_follows(server):
        """The sentinels have made it a replica: of one that lives, after eight seconds."""
        def is_replica():
            with server.client() as r:
                return r.call("ROLE")[0] == b"slave"

        tap.wait_until(is_replica, 30, "the old master is a replica", step=0.01)

    # What a Daemon wants to know of its Redis.

    @property
    def url(self):
        return ""

    @property
    def process(self):
        return self.master.process

    @property
    def pid(self):
        return self.master.pid

    @property
    def nodes(self):
        return [s.node for s in self.sentinels]

    def client(self, timeout=10.0, **kw):
        return self.master.client(timeout=timeout, **kw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sentinels:
            s.end()
        for server in self.servers:
            if server.running():
                server.cont()
                server.kill9()


def sentinel_daemon(redis, config=None, nodes=None, **kw):
    """A Daemon that finds its Redis (a Watched, or with `nodes` any other) through the sentinels. Not started yet."""
    d = Daemon(redis, config=config, start=False, **kw)
    del d.config["redis"]["url"]
    d.config = merge(d.config, {"redis": {"sentinel": {"master": NAME, "nodes": nodes or redis.nodes}}})
    password = redis.sentinels[0].password if isinstance(redis, Watched) else ""
    if password:
        path = f"{d.dir}/sentinel.password"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write(password + "\n")
        d.config["redis"]["sentinel"]["password_file"] = path
    return d


class FakeSentinel(threading.Thread):
    """Says what it is told to say: `answer` is (host, port), None for a name that it does not know, or an error text."""

    def __init__(self, answer=None):
        super().__init__(daemon=True)
        self.answer, self.asked = answer, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    @property
    def node(self):
        return f"127.0.0.1:{self.port}"

    def run(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        with s, s.makefile("rb") as commands:
            while head := commands.readline():
                words = []
                for _ in range(int(head[1:])):
                    commands.readline()
                    words.append(commands.readline().strip().decode())
                s.sendall(self._reply(words))

    def _reply(self, words):
        if words[0] != "SENTINEL":
            return b":1\r\n" if words[:2] == ["CLIENT", "ID"] else b"+PONG\r\n" if words[0] == "PING" else b"+OK\r\n"
        self.asked += 1
        if self.answer is None:
            return b"*-1\r\n"
        if isinstance(self.answer, str):
            return f"-{self.answer}\r\n".encode()
        return encode(self.answer)
