#!/usr/bin/env python3
"""acks.py: when a write counts as done: ack memory, local-fsync, replica:N, by our own client (common/ack.h), with a
replica that stands still, one that is missing, and masters that die (row F18 of tests/results/faults.md; 20 of them with CB_LONG=1 or CB_FAULTS=1)."""

import os
import re
import threading
import time

from cbtest import *

CONFIG = {"domains": {"task": {"workers": 2}, "system": {"workers": 1}}, "redis": {"timeout_ms": 1000}}
QUICK = ["repl-diskless-sync yes", "repl-diskless-sync-delay 0"]
MASTERS = 20 if LONG or FAULTS else 2


class Pair:
    """A master and, unless told otherwise, its replica, behind one path that leads to whoever is the master."""

    def __init__(self, replica=True):
        self.path = f"{procs.subfolder('m')}/s"
        self.servers = []
        self.master = self.add()
        self.point()
        self.replica = self.add(self.master) if replica else None

    def add(self, master=None):
        follow = [f"replicaof 127.0.0.1 {master.port}"] if master else []
        made = PrivateRedis(tcp=True, lines=QUICK + follow)
        self.servers.append(made)
        if master:
            wait_until(lambda: self.link_is_up(made), 20, "the replica has all")
        return made

    @staticmethod
    def link_is_up(replica):
        with replica.client() as r:
            return r.info("replication").get("master_link_status") == "up"

    def point(self):
        os.symlink(self.master.socket, self.path + ".new")
        os.rename(self.path + ".new", self.path)

    def fail_over(self):
        """The master dies, its replica takes its place and gets one of its own."""
        self.master.kill9()
        with self.replica.client() as r:
            r.call("REPLICAOF", "NO", "ONE")
        self.master = self.replica
        self.point()
        self.replica = self.add(self.master)

    # What a Daemon wants to know of its Redis.

    @property
    def url(self):
        return f"unix://{self.path}"

    @property
    def process(self):
        return self.master.process

    @property
    def pid(self):
        return self.master.pid

    def client(self, timeout=10.0, **kw):
        return Resp(self.path, timeout=timeout, **kw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            if server.running():
                server.cont()
                server.kill9()


def create(d, text, *options, timeout="20s"):
    """`claudebench call task.create`: (exit code, task id or None, stderr)."""
    done = d.client("call", "task.create", '{"text":"%s"}' % text, "--timeout", timeout, *options, timeout=60)
    found = re.search(rb'"id":"(t-\d+)"', done.stdout)
    return done.returncode, found and found[1].decode(), done.stderr.decode()


@case("an ack that is none is refused: by the client with 64, by a worker with the field's name")
def wrong():
    with Daemon() as d:
        for ack in ("replica", "replica:", "replica:0", "replica:17", "replica:1x", "disk", "", "Memory", "replica:01"):
            code, _, err = create(d, "x", "--ack", ack)
            equal((code, "memory, local-fsync or replica:N" in err), (64, True), ack)
            if ack:
                reply = d.caller().ask("task.create", {"text": "x"}, more=[("ack", ack)])
                equal((reply.code, reply.data["path"]), (-32600, "ack"), ack)
        equal(create(d, "x", "--ack", "memory")[0], 0)


@case("local-fsync: refused unless Redis says that it has appendfsync always, whatever our own option says")
def local_fsync():
    with Daemon() as d:  # embedded, everysec
        code, _, err = create(d, "x", "--ack", "local-fsync")
        equal((code, "appendfsync always; got local-fsync" in err), (65, True), err)
    with Daemon(config={"redis": {"appendfsync": "always"}}) as d:
        wait_until(lambda: create(d, "x", "--ack", "local-fsync")[0] == 0, 10, "the daemon has looked")
    with PrivateRedis(aof=True, fsync="always") as redis, Daemon(redis) as d:
        wait_until(lambda: create(d, "x", "--ack", "local-fsync")[0] == 0, 10, "the daemon has looked")
        with redis.client() as r:
            r.call("CONFIG", "SET", "appendfsync", "everysec")
            r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # else it is only looked at every ten seconds
        wait_until(lambda: create(d, "x", "--ack", "local-fsync")[0] == 65, 20, "it looks again")
    with PrivateRedis(aof=False, fsync="always") as redis, Daemon(redis) as d:
        equal(create(d, "x", "--ack", "local-fsync")[0], 65, "no append-only file at all")


@case("replica:1 without a replica: done and not confirmed is unknown, 69; the repeat with its key finds the same task")
def no_replica():
    with Pair(replica=False) as pair, Daemon(pair, config=CONFIG) as d:
        code, task, err = create(d, "one", "--ack", "replica:1", timeout="1500ms")
        equal((code, task), (69, None), err)
        check("done, but confirmed by only 0 of 1 replicas" in err, err)
        check("claudebenchd running" not in err, "the daemon is not to blame: " + err)
        idem = re.search(r"--idem (\S+):", err)[1]
        pair.replica = pair.add(pair.master)
        code, task, err = create(d, "one", "--ack", "replica:1", "--idem", idem)
        equal(code, 0, err)
        equal([t["id"] for t in d.caller().call("task.list", {})["tasks"]], [task])
        equal(create(d, "two", "--ack", "replica:2", timeout="1500ms")[0], 69, "two are wanted")
        done = d.client("call", "task.list", "--ack", "replica:2", "--timeout", "1500ms")
        equal(done.returncode, 0, "what only reads is confirmed by nobody")


@case("a replica that stands still: the write waits for it, and is done once")
def paused_replica():
    with Pair() as pair, Daemon(pair, config=CONFIG) as d:
        pair.replica.sigstop()
        got = []
        writer = threading.Thread(target=lambda: got.append(create(d, "waits", "--ack", "replica:1")))
        writer.start()
        c = d.caller()
        wait_until(lambda: len(c.call("task.list", {})["tasks"]) == 1, 10, "Redis has it")
        equal(create(d, "quick")[0], 0, "who does not ask does not wait")
        check(not got, "it is not answered")
        with d.connect() as r:  # it has asked, and will again
            wait_until(lambda: int(r.info("commandstats").get("cmdstat_wait", "calls=0,").split("=")[1].split(",")[0]) >= 1, 10,
                       "it has asked Redis")
        pair.replica.cont()
        writer.join(20)
        equal((got[0][0], got[0][1] is not None), (0, True), got[0][2])
        tasks = c.call("task.list", {})["tasks"]
        equal(sorted(t["text"] for t in tasks), ["quick", "waits"])
        check(got[0][1] in [t["id"] for t in tasks], f"{got} {tasks}")


@case("redis.wait_replicas: writes that do not say how safe they are to be are confirmed by so many; fewer replicas are said")
def wait_replicas():
    config = merge(CONFIG, {"redis": {"wait_replicas": 1}})
    with Pair(replica=False) as pair, Daemon(pair, config=config, ready=False) as d:
        def shown():
            return d.client("status").stdout.decode()

        wait_until(lambda: "redis has 0 of the 1 replicas that redis.wait_replicas wants" in shown(), 10, shown)
        code, _, err = create(d, "one", timeout="1200ms")
        equal((code, "confirmed by only 0 of 1 replicas" in err), (69, True), err)
        equal(create(d, "two", "--ack", "memory")[0], 0, "who says memory does not wait")
        pair.replica = pair.add(pair.master)
        d.wait_ready()
        equal(create(d, "three")[0], 0)
        with d.connect() as r:
            waits = int(r.info("commandstats")["cmdstat_wait"].split("=")[1].split(",")[0])
            equal(d.client("task", "add", "four").returncode, 0)
            check(int(r.info("commandstats")["cmdstat_wait"].split("=")[1].split(",")[0]) > waits, "all verbs of claudebench do")


class Writer:
    """Creates tasks one after the other by `claudebench call --ack replica:1`."""

    def __init__(self, d, name):
        self.d, self.name, self.n = d, name, 0
        self.acked, self.unknown, self.problems = {}, [], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.write)
        self.thread.start()

    def write(self):
        while not self.stopping.is_set():
            self.n += 1
            text = f"{self.name}-{self.n}"
            code, task, err = create(self.d, text, "--ack", "replica:1", timeout="60s")
            if code == 0:
                self.acked[text] = task
            elif code == 69:
                self.unknown.append(text)
            else:
                self.problems.append(f"{text}: {code} {err}")

    def end(self):
        self.stopping.set()
        self.thread.join(90)
        check(not self.thread.is_alive(), f"{self.name} has ended")


@case(f"the master is killed, {MASTERS} times: what replica:1 has acknowledged is there, once, under its id")
def failover():
    draw = rng("failover")
    with Pair() as pair:
        d = Daemon(pair, config=CONFIG)
        writers = [Writer(d, f"w{i}") for i in range(3)]
        try:
            for turn in range(MASTERS):
                before = sum(len(w.acked) for w in writers)
                wanted = before + draw.randint(3, 12)
                wait_until(lambda n=wanted: sum(len(w.acked) for w in writers) >= n, 60, f"writes before failover {turn}", step=0.001)
                pair.fail_over()
        finally:
            for w in writers:
                w.end()
        equal([p for w in writers for p in w.problems], [])
        with pair.client() as r:
            lost = [(text, task) for w in writers for text, task in w.acked.items()
                    if (r.call("HGET", f"cb:task:{task}", "text") or b"").decode() != f'"{text}"']
            pages, cursor = [], None
            c = d.caller()
            while True:
                page = c.call("task.list", {"limit": 500, **({"cursor": cursor} if cursor else {})})
                pages += page["tasks"]
                cursor = page.get("next")
                if not cursor:
                    break
        equal(lost, [], "acknowledged and lost")
        texts = [t["text"] for t in pages]
        acked = {text for w in writers for text in w.acked}
        equal(sorted(t for t in set(texts) if texts.count(t) > 1 and t in acked), [], "there twice")
        check(acked <= set(texts), "all are listed")
        note(f"{MASTERS} masters killed, {len(acked)} writes acknowledged, {sum(len(w.unknown) for w in writers)} unknown")
        wait_until(lambda: d.client("status").returncode == 0, 20, "healthy")
        d.stop()


if __name__ == "__main__":
    arguments()
    main()
