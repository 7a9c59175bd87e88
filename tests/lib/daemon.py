"""daemon.py: claudebenchd under test, in the foreground, with a configuration in a temporary folder."""

import json
import os
import re
import signal
import socket

import modes
import procs
import tap
import users
from caller import Caller
from privredis import PrivateRedis
from resp import Resp, RespError, rename_prefix

FAST = {
    "supervisor": {"restart_min_ms": 50, "restart_max_ms": 1000, "stop_timeout_ms": 5000},
    "log": {"level": "info", "format": "text", "destination": "stderr"},
}


def yaml(value, indent=0):
    """YAML of nested dicts: block mappings, scalars and lists as JSON."""
    lines = []
    for key, item in value.items():
        name = key if re.fullmatch(r"[a-z_]+", key) else json.dumps(key)
        if isinstance(item, dict) and item:
            lines.append(f"{' ' * indent}{name}:")
            lines.append(yaml(item, indent + 2))
        else:
            lines.append(f"{' ' * indent}{name}: {json.dumps(item)}")
    return "\n".join(lines)


def merge(base, over):
    made = dict(base)
    for key, item in over.items():
        made[key] = merge(made[key], item) if isinstance(item, dict) and isinstance(made.get(key), dict) else item
    return made


SCHEMAS = {}  # what system.discover says; the same for every daemon of one build


def learn_schemas():
    """Fills SCHEMAS from a daemon without fault points (a fault may hit the request that asks)."""
    if not SCHEMAS:
        with Daemon() as d:
            d.caller()


def _instead_of_embedded(config):
    """A server with the settings that an embedded one would have had, and the configuration without those that are its own."""
    redis = dict((config or {}).get("redis", {}))
    own = PrivateRedis(aof=True, fsync=redis.pop("appendfsync", "everysec"), maxmemory=redis.pop("maxmemory", 0))
    return own, {**(config or {}), "redis": redis}


class Daemon:
    """
    redis    None: embedded; else a PrivateRedis (external)
    config   nested dict laid over the defaults
    env      more environment (fault points)
    at       the host of network.py that it runs on
    more_fds descriptors that it may open after it was ready (a leader that pushes tasks has a second connection)
    Use as a context manager, or call start() and stop(). stop() checks that nothing is left.
    """

    def __init__(self, redis=None, config=None, env=None, prefix="cb", folder=None, instance="test-host", start=True,
                 ready=True, more_fds=0, at=None):
        self.own_redis, config = _instead_of_embedded(config) if redis is None and modes.IS_CLUSTER else (None, config)
        self.redis = redis = redis or self.own_redis
        rename_prefix(prefix)
        self.inside = at.inside if at else []
        # An upgrade leaves one more; the embedded server's pipe, which ends with it, hides that.
        self.more_fds = more_fds + (self.own_redis is not None)
        self.dir = folder or procs.subfolder("d")
        self.prefix = prefix
        self.env = dict(env or {})
        self.log_path = f"{self.dir}/log"
        self.config_path = f"{self.dir}/claudebench.yaml"
        self.redis_dir = f"{self.dir}/redis"
        base = merge(
            {
                "config_version": 1,
                "instance": {"id": instance},
                "redis": {
                    "embedded": redis is None,
                    "url": f"unix://{self.dir}/redis.sock" if redis is None else redis.url,
                    "dir": self.redis_dir,
                    "prefix": modes.prefix(prefix),
                },
                "supervisor": {
                    "pidfile": f"{self.dir}/pid",
                    "control_socket": f"{self.dir}/control.sock",
                    "state_dir": f"{self.dir}/state",
                },
                "audit": {"file": f"{self.dir}/audit.jsonl"},
            },
            FAST,
        )
        if users.ACL and redis is not None and "user" not in (config or {}).get("redis", {}):
            known = hasattr(redis, "login")  # else several of them, which have those of the usual prefix
            base["redis"].update(redis.login(prefix) if known else users.login(procs.folder(), prefix))
        self.config = merge(base, config or {})
        self.process = None
        self.fds_at_start = None
        self.open_at_start = {}
        self.schemas = SCHEMAS
        self.orphans = set()  # pids that the test left on purpose (kill -9 of the supervisor)
        if start:
            self.start(ready)

    # ---- life ----

    def write_config(self):
        with open(self.config_path, "w", encoding="utf-8") as f:
            f.write(yaml(self.config) + "\n")

    def start(self, ready=True):
        for name in ("claudebenchd", "claudebench", "claudebench-worker"):
            tap.check(os.path.exists(procs.binary(name)), f"{procs.binary(name)} is not built")
        if self.own_redis:
            if not self.own_redis.running():
                self.own_redis.start()
            self.own_redis.keep()
        self.write_config()
        os.makedirs(self.redis_dir, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = procs.start(
                [*self.inside, procs.binary("claudebenchd"), "-c", self.config_path],
                env={"CBTEST_DAEMON": self.dir, **self.env}, stdout=log, stderr=log
            )
        if ready:
            self.wait_ready()
            self.open_at_start = self.settled_fds()
            self.fds_at_start = len(self.open_at_start) + self.more_fds + self.audit_fds(self.open_at_start)
        return self

    @property
    def pid(self):
        return self.process.pid

    def settled_fds(self):
        """Its descriptors, when they are the same twice, with a pause: the connection that said "ready" is closed by then."""
        seen = [None, None]

        def settled():
            seen[:] = [seen[1], procs.fd_list(self.pid)]
            return seen[0] == seen[1]

        tap.wait_until(settled, 5, "its descriptors stay the same", step=0.01)
        return seen[1]

    def audit_fds(self, open_now):
        """The audit file is opened when Redis is there, which may be after the daemon is ready."""
        has_one = self.config.get("audit", {}).get("file", "default") != ""
        return int(has_one and not any("audit" in str(name) for name in open_now.values()))

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_runs(self, timeout=5.0):
        """It answers, ready or not: somebody listens on its control socket, whose file is there a moment earlier."""

        def is_listening():
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(f"{self.dir}/control.sock")
                return True

        tap.wait_until(is_listening, timeout, "it runs")

    def wait_ready(self, timeout=15.0):
        """Ready: `claudebench status` says healthy, so every wanted worker is READY and Redis answers."""

        def is_ready():
            if not self.running():
                tap.fail(f"claudebenchd ended with {self.process.returncode}:\n{self.log_tail()}")
            return os.path.exists(f"{self.dir}/control.sock") and self.client("status").returncode == 0

        tap.wait_until(is_ready, timeout, lambda: f"claudebenchd is ready; its log:\n{self.log_tail()}", step=0.01)

    def stop(self, check=True, signum=signal.SIGTERM, timeout=12.0, want=0):
        """Ends the daemon; with check: exit status, no process left, no fd growth, no sanitizer report."""
        grown, refused = None, None
        if self.running():
            if check:
                refused = self.refused_commands()
            if check and self.fds_at_start is not None:
                try:
                    tap.wait_until(lambda: procs.fd_count(self.pid) <= self.fds_at_start, 2, "fds back")
                except tap.Failure:
                    grown = procs.fd_list(self.pid)
            if check:
                self.check_no_zombies()
            procs.kill(self.pid, signal.SIGCONT)
            procs.kill(self.pid, signum)
            try:
                self.process.wait(timeout)
            except Exception:  # pylint: disable=broad-except
                tree = "\n".join(procs.describe(p) for p in [self.pid, *procs.descendants(self.pid)])
                self.kill_tree()
                if check:
                    tap.fail(f"claudebenchd did not end within {timeout} s:\n{tree}\n{self.log_tail()}")
        code = self.process.returncode if self.process else None
        if self.own_redis:
            self.own_redis.let_go()
            self.own_redis.stop()
        left = self.leftovers()
        shown = [procs.describe(p) for p in left]
        for pid in left:
            procs.kill(pid)
        if check:
            tap.equal(code, want, f"exit status of claudebenchd\n{self.log_tail()}")
            tap.check(not shown, "processes left behind:\n" + "\n".join(shown))
            tap.check(grown is None, f"more descriptors than the {self.fds_at_start} at the start\nthen: {self.open_at_start}\n"
                                     f"now: {grown}\n{self.log_tail(60)}")
            tap.check(not refused, f"commands that the ACL refused: {refused}")
            self.check_log()

    def refused_commands(self):
        """Of the embedded server: what our users were refused since it started."""
        try:
            with self.connect(timeout=2) as r:
                return users.refusals(r) if self.redis is None else []
        except (OSError, RespError):
            return []

    def check_log(self):
        log = self.log()
        for mark in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "assertion failed"):
            tap.check(mark not in log, f"{mark} in the log:\n{self.log_tail(60)}")

    def check_no_zombies(self, timeout=2.0):
        def none():
            return not [p for p in procs.descendants(self.pid) if (procs.stat(p) or "Z")[0] == "Z" and procs.stat(p)]

        tap.wait_until(none, timeout, "no zombie below claudebenchd")

    def leftovers(self):
        """Living processes of this daemon (by their command lines and folder)."""
        found = []

        def look():
            found[:] = [p for p in procs.leftovers() if self.owns(p)]
            return not found

        try:
            tap.wait_until(look, 1.0, "no process left")
        except tap.Failure:
            pass
        return list(found)

    def owns(self, pid):
        """Whether a process below us belongs to this daemon and not to another fixture."""
        if pid == self.pid:
            return False
        if self.redis is not None and self.redis.process is not None and pid == self.redis.pid:
            return False
        return procs.belongs(pid, f"CBTEST_DAEMON={self.dir}", self.dir)

    def kill_tree(self):
        tree = [self.pid, *procs.descendants(self.pid)]
        for pid in tree:
            procs.kill(pid)
        self.process.wait()

    def kill9(self):
        """kill -9 of the supervisor only; what it leaves is remembered as expected."""
        self.orphans.update(procs.descendants(self.pid))
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, problem, _):
        if kind is None:
            self.stop()
        else:
            tap.note("claudebenchd's log ended so:")
            tap.note(self.log_tail(25))
            self.stop(check=False)

    # ---- log ----

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def events(self, name=None):
        """Log lines as dicts (event=… key=value), those of one event only when named."""
        found = []
        for line in self.log().splitlines():
            fields = dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line))
            if "event" in fields and (name is None or fields["event"] == name):
                found.append(fields)
        return found

    def logged(self, name, n=1, where=lambda fields: True, timeout=5.0):
        """The lines of one event, as soon as there are `n`: what a script did is seen by others before its caller tells of it."""
        def lines():
            return [fields for fields in self.events(name) if where(fields)]

        tap.wait_until(lambda: len(lines()) >= n, timeout, lambda: f"{n} of {name} in the log: {lines()}\n{self.log_tail()}")
        return lines()

    # ---- Redis ----

    def connect(self, timeout=10.0):
        """A connection that may do everything."""
        if self.redis is not None:
            return self.redis.client(timeout=timeout)
        return Resp(f"{self.dir}/redis.sock", *users.ADMIN, timeout=timeout)

    def as_user(self, who, timeout=10.0):
        """A connection as the server's user `daemon` or `client`; as the default user of one that has none."""
        if self.redis is None:
            with open(f"{self.redis_dir}/{who}.password", encoding="ascii") as f:
                return Resp(f"{self.dir}/redis.sock", who, f.readline().strip(), timeout=timeout)
        if isinstance(self.redis, PrivateRedis):
            return self.redis.as_user(who, self.prefix, timeout)
        return self.connect(timeout)

    def connect_caller(self):
        """Callers have the rights of claudebench, unless a test says how to connect."""
        return self.connect() if "connect" in self.__dict__ else self.as_user("client")

    def redis_pid(self):
        """The embedded server's pid, or None. (Of the one that is in its place, whoever runs it: modes.py.)"""
        if self.own_redis:
            return self.own_redis.pid if self.own_redis.running() else None
        for pid in procs.descendants(self.pid):
            s = procs.stat(pid)
            if s and s[0] != "Z" and s[2].startswith("redis-server"):
                return pid
        return None

    def caller(self, schemas=True, **kw):
        made = Caller(self.connect_caller, self.prefix, schemas=self.schemas if schemas else {}, **kw)
        if schemas and not self.schemas:
            made.learn_schemas()
        return made

    def key(self, rest):
        return f"{self.prefix}:{rest}"

    # ---- client and workers ----

    def client(self, *args, input=None, env=None, timeout=20):
        """Runs `claudebench …` against this daemon."""
        return procs.run(
            [procs.binary("claudebench"), *args],
            env={"CLAUDEBENCH_CONFIG": self.config_path, **(env or {})},
            input=input,
            timeout=timeout,
        )

    def client_json(self, *args, **kw):
        done = self.client(*args, **kw)
        tap.equal(done.returncode, 0, f"claudebench {' '.join(args)}: {done.stderr.decode(errors='replace')}")
        return json.loads(done.stdout)

    def status(self):
        """What `claudebench status --json` says, healthy or not: its exit code tells which."""
        return json.loads(self.client("status", "--json").stdout)

    def workers(self, domain=None):
        """Pids of the living workers."""
        found = []
        for pid in procs.children(self.pid):
            words = procs.cmdline(pid)
            if words and os.path.basename(words[0]) == "claudebench-worker" and procs.alive(pid):
                if domain is None or ("-d" in words and words[words.index("-d") + 1 :][:1] == [domain]):
                    found.append(pid)
        return found

    def backlog(self, domain="task"):
        with self.connect() as r:
            return r.call("XLEN", self.key(f"requests:{domain}"))

    def pending(self, domain="task"):
        """[(entry id, consumer, idle ms, deliveries)] of the group `workers`."""
        with self.connect() as r:
            rows = r.call("XPENDING", self.key(f"requests:{domain}"), "workers", "-", "+", 1000)
        return [(e.decode(), c.decode(), i, d) for e, c, i, d in rows]

    def duplicates(self):
        with self.connect() as r:
            return int(r.call("GET", self.key("duplicates:prevented")) or 0)

    def stream(self, name):
        """[(id, {field: bytes})] of a stream."""
        with self.connect() as r:
            rows = r.call("XRANGE", self.key(name), "-", "+")
        return [(i.decode(), {f[k].decode(): f[k + 1] for k in range(0, len(f), 2)}) for i, f in rows]

    def told(self, kind):
        """The ids of the tasks that events of this type tell of, in their order: one event tells of several (`ids`) or of one (`id`)."""
        return [task for _, e in self.stream("stream:events") if e["type"] == kind.encode()
                for task in (e.get("ids") or e["id"]).decode().split()]
