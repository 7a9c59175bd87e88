"""systems.py: the systems that bench/run compares: what each needs, how it is started, and what it can do."""

import os
import re
import shutil
import socket
import subprocess
import sys

from .processes import free_port, read, rss_bytes, tree

HERE = os.path.dirname(os.path.abspath(__file__))
START_S = 20
OURS = "its consumers here are small drivers in C"
WAITS = "its client waits for each call"


def output_of(*argv):
    """What a program prints, "" when it cannot be run."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def version_in(text):
    found = re.search(r"\d+(\.\d+)+", text)
    return found.group() if found else "?"


def can_connect(address):
    kind = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(kind) as s:
        return s.connect_ex(address) == 0


def start_redis(box, aof, port=0):
    """The same settings for everybody. The append only file is not written anew while somebody is measured."""
    box.redis = box.start("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", box.socket,
                                    "--dir", box.folder, "--save", "", "--hash-max-listpack-value", "1024",
                                    "--zset-max-listpack-entries", "16",
                                    "--appendonly", "no" if aof == "none" else "yes", "--appendfsync", "everysec",
                                    "--auto-aof-rewrite-percentage", "0"])
    box.wait(lambda: can_connect(box.socket), START_S, "redis-server answers")


class System:
    """What is common to most. `orders`: what its producer can do; `sizes`: tasks, so that a measurement takes about a second."""

    name = title = ""
    orders = ("sync",)
    batches = False  # its consumers can claim and complete tasks in batches
    is_asked_itself = False  # requests are answered by its own workers, not by who handles tasks
    sizes = {}
    is_peer = on_redis = True
    dies = "handled by another"  # what becomes of the tasks of a consumer that dies
    why_not = {}  # what it cannot do: the beginning of a measure's name, and why

    def reasons(self):
        return {"drain_batch": "only this system gives and takes several tasks in one call", **self.why_not}

    def __init__(self, options):
        self.options = options

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None if shutil.which("redis-server") else "redis-server is not installed"

    def version(self):
        return ""

    def kept(self, aof):
        """Where its tasks are, in words."""
        return "Redis, AOF everysec" if aof == "everysec" else "Redis, no AOF"

    def env(self):
        return {}

    def start(self, box, aof):
        start_redis(box, aof)

    def producer(self, box):
        raise NotImplementedError

    def consumer(self, box, in_batches=False):
        raise NotImplementedError

    def memory(self, box):
        """{"worker": bytes, …}, with consumers running."""
        return {"redis": box.redis.rss_bytes(), "worker": max(p.rss_bytes() for p in box.processes if p.name == "consumer")}

    def store(self, box):
        """Bytes of the process that holds the queue."""
        return rss_bytes(box.redis.pid)

    def size(self, measure):
        """Tasks of a measurement: whole batches."""
        size = int(self.sizes.get(measure, 1000) * self.options.scale)
        return max(20, size) if measure == "latency" else max(100, size // 100 * 100)


# ---- this system, and the limit ----


class Claudebench(System):
    name, title = "claudebench", "ClaudeBench"
    orders = ("sync", "flight", "batch", "ask", "ask_flight")
    batches = True
    is_asked_itself = True
    sizes = {"sync": 2500, "flight": 18000, "batch": 40000, "drain": 9000, "drain_batch": 16000, "life": 8000, "ask": 2000,
             "ask_flight": 12000, "deep": 12000, "latency": 150}
    is_peer = False

    def missing(self):
        for name in ("claudebenchd", "claudebench-worker", "claudebench-bench-peer"):
            if not os.access(self.program(name), os.X_OK):
                return f"{self.program(name)} is not built"
        return super().missing()

    def program(self, name):
        return os.path.join(self.options.build, name)

    def version(self):
        return version_in(output_of(self.program("claudebenchd"), "--version"))

    def configure(self, box):
        """As bench/env/env_daemon.c: the limits that a queue of a million would meet are raised, the rest is as it comes."""
        path = os.path.join(box.folder, "claudebench.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""config_version: 1
instance: {{ id: bench }}
redis: {{ embedded: false, url: "unix://{box.socket}" }}
supervisor: {{ pidfile: {box.folder}/pid, control_socket: {box.folder}/control.sock, state_dir: {box.folder} }}
limits: {{ backlog: 100000000 }}
task: {{ max_pending: 100000000 }}
""")
        box.env["BENCH_CONFIG"] = path
        return path

    def start(self, box, aof):
        start_redis(box, aof)
        box.server = box.start("server", [self.program("claudebenchd"), "-c", self.configure(box)])
        box.wait(lambda: "event=daemon_ready" in read(box.server.log), START_S, "claudebenchd is ready")

    def producer(self, box):
        return box.start("producer", [self.program("claudebench-bench-peer"), "claudebench", "produce"])

    def consumer(self, box, in_batches=False):
        more = {"BENCH_BATCHES": "1"} if in_batches else {}
        return box.start("consumer", [self.program("claudebench-bench-peer"), "claudebench", "consume"], **more)

    def memory(self, box):
        return {"redis": box.redis.rss_bytes(), "server": rss_bytes(box.server.pid),
                "worker": max((rss_bytes(pid) for pid in tree(box.server.pid)[1:]), default=0)}


class Bare(Claudebench):
    name, title = "bare", "raw Redis"
    dies = "kept, and nobody hands them on"  # that is what a supervisor is for

    def version(self):
        return version_in(output_of("redis-server", "--version"))

    def start(self, box, aof):
        start_redis(box, aof)
        self.configure(box)
        box.server = box.start("server", [self.program("claudebench-bench-peer"), "claudebench", "serve"])
        box.wait(lambda: len(tree(box.server.pid)) > 2, START_S, "the bare servers run")

    def memory(self, box):
        return {"redis": box.redis.rss_bytes(), "worker": max(rss_bytes(pid) for pid in tree(box.server.pid))}


# ---- peers with servers of their own ----


class Beanstalkd(System):
    name, title = "beanstalkd", "beanstalkd"
    on_redis = False
    why_not = {"ask": "has no replies to requests", "rss_worker": OURS}
    orders = ("sync", "flight", "batch")
    sizes = {"sync": 8000, "flight": 60000, "batch": 80000, "drain": 24000, "life": 20000, "deep": 40000, "latency": 150}

    def missing(self):
        if not shutil.which("beanstalkd"):
            return "beanstalkd is not installed"
        return Claudebench(self.options).missing()

    def version(self):
        return version_in(output_of("beanstalkd", "-v"))

    def kept(self, aof):
        return "binlog, fsync each second" if aof == "everysec" else "memory"

    def start(self, box, aof):
        address = os.path.join(box.folder, "beanstalkd.sock")
        binlog = ["-b", box.folder, "-f", "1000"] if aof == "everysec" else []
        box.env["BENCH_ADDRESS"] = address
        box.server = box.start("server", ["beanstalkd", "-l", "unix:" + address, *binlog])
        box.wait(lambda: can_connect(address), START_S, "beanstalkd answers")

    def driver(self, box, role):
        return box.start(role, [os.path.join(self.options.build, "claudebench-bench-peer"), self.name, "consume" if role == "consumer" else "produce"])

    def producer(self, box):
        return self.driver(box, "producer")

    def consumer(self, box, in_batches=False):
        return self.driver(box, "consumer")

    def memory(self, box):
        return {"server": box.server.rss_bytes(), **({"redis": box.redis.rss_bytes()} if hasattr(box, "redis") else {})}

    def store(self, box):
        return box.server.rss_bytes()


class Gearmand(Beanstalkd):
    name, title = "gearmand", "gearmand"
    why_not = {"rss_worker": OURS}
    orders = ("sync", "flight", "batch", "ask", "ask_flight")
    sizes = {"sync": 4000, "flight": 12000, "batch": 12000, "drain": 8000, "life": 6000, "ask": 1500, "ask_flight": 6000, "deep": 6000, "latency": 150}

    def missing(self):
        if not shutil.which("gearmand"):
            return "gearmand is not installed"
        return Claudebench(self.options).missing()

    def version(self):
        return version_in(output_of("gearmand", "--version"))

    def kept(self, aof):
        return "memory, background jobs also in Redis, AOF everysec" if aof == "everysec" else "memory"

    def start(self, box, aof):
        port, queue = free_port(), []
        if aof == "everysec":
            redis_port = free_port()
            start_redis(box, aof, redis_port)
            queue = ["-q", "redis", "--redis-server", "127.0.0.1", "--redis-port", str(redis_port)]
        box.env["BENCH_ADDRESS"] = f"127.0.0.1:{port}"
        user = ["-u", "root"] if os.geteuid() == 0 else []
        box.server = box.start("server", ["gearmand", "-L", "127.0.0.1", "-p", str(port), "-l", "stderr", "-P", box.folder + "/pid", *user, *queue])
        box.wait(lambda: can_connect(("127.0.0.1", port)), START_S, "gearmand answers")


# ---- peers on Redis ----


class BullMQ(System):
    name, title = "bullmq", "BullMQ"
    orders = ("sync", "flight", "batch", "ask", "ask_flight")
    sizes = {"sync": 1200, "flight": 10000, "batch": 10000, "drain": 8000, "life": 6000, "ask": 300, "ask_flight": 3000, "deep": 9000, "latency": 150}

    def missing(self):
        if not shutil.which("node"):
            return "node is not installed"
        if not os.path.exists(os.path.join(self.options.cache, "node_modules/bullmq/package.json")):
            return "BullMQ is not installed: bench/run --install"
        return super().missing()

    def version(self):
        found = version_in(read(os.path.join(self.options.cache, "node_modules/bullmq/package.json")).partition('"version"')[2])
        return f"{found}, node {version_in(output_of('node', '--version'))}"

    def env(self):
        return {"BENCH_NODE": self.options.cache, "NODE_ENV": "production"}

    def producer(self, box):
        return box.start("producer", ["node", os.path.join(HERE, "bullmq.mjs"), "produce"])

    def consumer(self, box, in_batches=False):
        return box.start("consumer", ["node", os.path.join(HERE, "bullmq.mjs"), "consume"])


class Sidekiq(System):
    name, title = "sidekiq", "Sidekiq"
    dies = "lost"
    why_not = {"enqueue_flight": WAITS, "ask": "has no replies to requests"}
    orders = ("sync", "batch")
    sizes = {"sync": 2500, "batch": 10000, "drain": 5000, "life": 3000, "deep": 5000, "latency": 150}

    def missing(self):
        return super().missing() if shutil.which("sidekiq") else "sidekiq is not installed"

    def version(self):
        return version_in(output_of("sidekiq", "--version"))

    def producer(self, box):
        return box.start("producer", ["ruby", os.path.join(HERE, "sidekiq.rb")])

    def consumer(self, box, in_batches=False):
        return box.start("consumer", ["sidekiq", "-r", os.path.join(HERE, "sidekiq.rb"), "-c", "10"])


class PythonPeer(System):
    """A peer that is a module of Debian's own Python, perhaps not of the one that runs this."""

    module = ""

    def python(self):
        for python in (sys.executable, "/usr/bin/python3"):
            if output_of(python, "-c", f"import {self.module}, redis; print('there')").strip() == "there":
                return python
        return None

    def missing(self):
        return super().missing() if self.python() else f"python3-{self.module} is not installed"

    def version(self):
        return version_in(output_of(self.python(), "-c", f"from importlib.metadata import version; print(version('{self.module}'))"))

    def env(self):
        return {"PYTHONPATH": HERE, "PYTHONDONTWRITEBYTECODE": "1"}

    def producer(self, box):
        return box.start("producer", [self.python(), os.path.join(HERE, self.module + "_driver.py"), "produce"])


class Celery(PythonPeer):
    name = module = "celery"
    title = "Celery"
    dies = "lost"
    why_not = {"enqueue_flight": WAITS, "enqueue_batch": "has no call that enqueues several"}
    orders = ("sync", "ask", "ask_flight")
    sizes = {"sync": 1000, "drain": 800, "life": 600, "ask": 150, "ask_flight": 320, "deep": 800, "latency": 150}

    def consumer(self, box, in_batches=False):
        number = sum(1 for p in box.processes if p.name == "consumer")
        env = {"C_FORCE_ROOT": "1"} if os.geteuid() == 0 else {}
        return box.start("consumer", [self.python(), "-m", "celery", "-A", "celery_driver", "worker", "--pool", "prefork", "-c", "2", "-n", f"bench{number}",
                                      "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"], **env)


class RQ(PythonPeer):
    name = module = "rq"
    title = "RQ"
    dies = "marked as failed"
    why_not = {"enqueue_flight": WAITS, "ask": "a result has to be polled for"}
    orders = ("sync", "batch")
    sizes = {"sync": 1500, "batch": 3000, "drain": 600, "life": 500, "deep": 500, "latency": 150}

    def consumer(self, box, in_batches=False):
        return box.start("consumer", [self.python(), os.path.join(HERE, "rq_driver.py"), "consume"])


ALL = (Claudebench, Bare, BullMQ, Beanstalkd, Gearmand, Sidekiq, Celery, RQ)
