"""cluster.py: Redis Clusters on 127.0.0.1, made by hand: nodes, slots that move, masters that fail over."""

import time

import tap
import users
from privredis import PrivateRedis, free_port
from resp import RespError

SLOTS = 16384


def node_lines(port, timeout_ms):
    """What makes a redis-server a node. The bus has a port of its own, as port + 10000 may be taken or too high."""
    return ["cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-port {port}", f"cluster-node-timeout {timeout_ms}",
            "cluster-announce-ip 127.0.0.1", "repl-diskless-sync-delay 0"]


class Node(PrivateRedis):
    """One node; in nobody's cluster yet."""

    def __init__(self, timeout_ms=15000, lines=(), **kw):
        self.bus_port = free_port()
        super().__init__(tcp=True, alone=True, lines=[*node_lines(self.bus_port, timeout_ms), *lines], **kw)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


def call(node, *words):
    with node.client(timeout=20) as c:
        return c.call(*words)


def node_id(node):
    return call(node, "CLUSTER", "MYID").decode()


def cluster_info(node):
    lines = call(node, "CLUSTER", "INFO").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def is_ok(node, known):
    info = cluster_info(node)
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == known


def join(masters, ranges):
    """Makes one cluster of running nodes that know nothing; `ranges` says who gets which slots."""
    for epoch, (node, (first, last)) in enumerate(zip(masters, ranges), 1):
        with node.client() as c:
            c.call("CLUSTER", "ADDSLOTSRANGE", first, last)
            c.call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
    introduce(masters[0], masters[1:])
    tap.wait_until(lambda: all(is_ok(n, len(masters)) for n in masters), 30, "the cluster is ok", step=0.02)


def introduce(node, others):
    with node.client() as c:
        for other in others:
            c.call("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)


class Neighbours:
    """The two other masters of a PrivateRedis that is one (modes.py)."""

    def __init__(self, redis):
        self.redis = redis
        self.bus_port = redis.bus_port = free_port()
        if not redis.port:
            redis.port = free_port()
        self.others = [Node(start=False) for _ in range(2)]
        self.is_joined = False

    def lines(self):
        return node_lines(self.bus_port, 15000)

    def url(self):
        return self.others[0].url

    def is_ready(self):
        """Called when the server answers."""
        ended = [n for n in self.others if not n.running()]
        for node in ended:
            node.start(wait=False)
        for node in ended:
            node.wait_ready()
        if not self.is_joined:
            self.is_joined = True
            join([self.redis, *self.others], [(0, SLOTS - 3), (SLOTS - 2, SLOTS - 2), (SLOTS - 1, SLOTS - 1)])
        tap.wait_until(lambda: is_ok(self.redis, 3), 30, "the cluster is ok", step=0.02)

    def ended(self):
        for node in self.others:
            if node.running():
                node.kill9()


class Cluster:
    """Masters with a third of the slots each, and `replicas` of the one that has the slot of `prefix`."""

    process = None  # a Daemon asks what is the one server's, which may be anybody

    def __init__(self, prefix="{cb}", replicas=0, timeout_ms=2000, lines=()):
        self.nodes = [Node(timeout_ms, lines, start=False) for _ in range(3 + replicas)]
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()
        third = SLOTS // 3
        join(self.nodes[:3], [(0, third - 1), (third, 2 * third - 1), (2 * third, SLOTS - 1)])
        self.slot = call(self.nodes[0], "CLUSTER", "KEYSLOT", prefix)
        owner = self.owner()
        for node in self.nodes[3:]:
            self.add_replica(node, owner)

    def login(self, prefix):
        """As PrivateRedis.login(): users are known to each node by itself."""
        return [node.login(prefix) for node in self.nodes][0]

    def add_replica(self, node, master):
        introduce(node, self.masters()[:1])
        tap.wait_until(lambda: is_ok(node, len(self.nodes)), 30, "the new node knows all", step=0.02)
        call(node, "CLUSTER", "REPLICATE", node_id(master))
        tap.wait_until(lambda: in_step(node), 30, "the replica has the master's data", step=0.02)

    def alive(self):
        return [n for n in self.nodes if n.running()]

    def masters(self):
        found = []
        for node in self.alive():
            with node.client() as c:
                if c.info("replication")["role"] == "master":
                    found.append(node)
        return found

    def owner(self):
        """The master that has the slot, by its own word."""
        for node in self.alive():
            for line in call(node, "CLUSTER", "NODES").decode().splitlines():
                words = line.split()
                if "myself" in words[2] and "master" in words[2] and any(self.is_in(w) for w in words[8:]):
                    return node
        return None

    def is_in(self, word):
        if word.startswith("["):
            return False
        first, _, last = word.partition("-")
        return int(first) <= self.slot <= int(last or first)

    def other(self):
        """A master that does not have the slot."""
        owner = self.owner()
        return next(n for n in self.masters() if n is not owner)

    @property
    def url(self):
        return self.other().url

    def client(self, timeout=10.0, **kw):
        """A connection to the owner of the slot."""
        return tap.wait_until(self.owner, 20, "somebody has the slot").client(timeout=timeout, **kw)

    # ---- moving the slot ----

    def open_slot(self, source, target):
        call(target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", node_id(source))
        call(source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", node_id(target))

    def move_keys(self, source, target, count=20, pause=None):
        """All keys of the slot, `count` at a time; how many there were."""
        moved = 0
        auth = ["AUTH2", *users.ADMIN] if users.ACL else []
        with source.client(timeout=60) as c:
            while keys := c.call("CLUSTER", "GETKEYSINSLOT", self.slot, count):
                c.call("MIGRATE", "127.0.0.1", target.port, "", 0, 20000, *auth, "KEYS", *keys)
                moved += len(keys)
                if pause:
                    pause()
        return moved

    def close_slot(self, source, target):
        """The target first, so that nobody is sent to one that does not know yet."""
        name = node_id(target)
        for node in (target, source, *[n for n in self.masters() if n not in (target, source)]):
            # A key may have come while the last ones went: it goes, too.
            def assign(at=node):
                try:
                    return call(at, "CLUSTER", "SETSLOT", self.slot, "NODE", name)
                except RespError as problem:
                    if "keys for this hash slot" not in problem.text:
                        raise
                    self.move_keys(source, target)
                    return None

            tap.wait_until(assign, 20, "the slot has changed its node")

    def move(self, target=None, pause=None):
        """The slot goes to another master; (that one, number of keys, seconds)."""
        source = self.owner()
        target = target or self.other()
        began = time.monotonic()
        self.open_slot(source, target)
        moved = self.move_keys(source, target, pause=pause)
        self.close_slot(source, target)
        tap.wait_until(lambda: self.owner() is target, 20, "the target has the slot")
        return target, moved, time.monotonic() - began

    # ---- the end ----

    def end(self):
        for node in self.nodes:
            if node.running():
                node.cont()
                node.kill9()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def in_step(replica):
    with replica.client() as c:
        info = c.info("replication")
    return info["role"] == "slave" and info.get("master_link_status") == "up"
