#!/usr/bin/env python3
"""failover.py: the master dies, is demoted or is cut off, and its replica takes its place (rows F18, F19 of tests/results/faults.md).

Who waits for the replica's acknowledgement before it counts anything as said loses nothing. Daemons and agents find the
master through a proxy, as they would through a virtual address; or the daemon and claudebench ask Redis Sentinels.
"""

import json
import os
import time

import network
from backups import HeldBackup, HeldRestore
from cbtest import *
from proxy import Proxy
from sentinels import Watched, sentinel_daemon

CONFIG = {"domains": {"task": {"workers": 3}, "system": {"workers": 2}}, "task": {"backoff_ms": 100, "max_attempts": 20},
          "redis": {"timeout_ms": 1000}}
SLOTS = 5
QUICK = ["repl-diskless-sync yes", "repl-diskless-sync-delay 0"]


class Pair:
    """A master and its replica. Each has its place in the other's life."""

    def __init__(self, at=(None, None), lines=()):
        self.servers = [PrivateRedis(tcp=True, at=h, lines=[*QUICK, *lines], start=False) for h in at]
        self.servers[0].start()
        self.master = self.servers[0]
        self.follow()

    @property
    def replica(self):
        return self.servers[1 - self.servers.index(self.master)]

    def follow(self):
        """Starts the replica, empty, and waits until it has all."""
        replica = self.replica
        replica.lines = [x for x in replica.lines if not x.startswith("replicaof")]
        replica.lines.append(f"replicaof {self.master.address} {self.master.port}")
        replica.start()
        replica.lines.pop()
        self.wait_in_step()

    def wait_in_step(self):
        def in_step():
            with self.replica.client() as r:
                return r.info("replication").get("master_link_status") == "up"

        wait_until(in_step, 20, "the replica has all")

    def promote(self):
        with self.replica.client() as r:
            r.call("REPLICAOF", "NO", "ONE")
        self.master = self.replica

    def end(self):
        for server in self.servers:
            server.cont()
            server.kill9()


def through(proxy, redis, **kw):
    d = Daemon(redis, config=merge(CONFIG, {"redis": {"url": proxy.url}}), start=False, **kw)
    d.connect = lambda timeout=3.0: Resp(proxy.path, timeout=timeout)
    return d.start()


def takes_writes(c):
    """Until a write is taken."""
    began = time.monotonic()
    check(c.insist("task.create", {"text": "first", "queue": "probe"}, timeout=30, each=0.5).ok, "taken")
    return time.monotonic() - began


def pause(load, seconds):
    until = time.monotonic() + seconds
    wait_until(lambda: load.check() or time.monotonic() >= until, seconds + 5, "time")


class Probes:
    """Writes that are not part of the load; the oracle is told of them."""

    def __init__(self, d, load):
        self.c, self.load, self.n = d.caller(schemas=False), load, 0

    def one(self):
        self.n += 1
        key = f"probe-{self.n}"
        self.load.journal.attempted([key])
        began = time.monotonic()
        reply = self.c.insist("task.create", {"text": key}, timeout=30, each=0.5)
        check(reply.ok, short(reply.raw))
        return time.monotonic() - began

    def by_client(self, d):
        """The same by claudebench, which finds the master by itself. The repeats have one key: they are one task."""
        self.n += 1
        key = f"probe-{self.n}"
        self.load.journal.attempted([key])
        began = time.monotonic()
        call = ["call", "task.create", json.dumps({"text": key}), "--idem", key]
        wait_until(lambda: d.client(*call, timeout=40).returncode == 0, 30, "claudebench has found the master")
        return time.monotonic() - began


def failover(tasks, turns, rate):
    dice = rng("failover")
    pair = Pair()
    proxy = Proxy(pair.master.socket)
    d = through(proxy, pair.servers[0])
    with Load(d, tasks=tasks, agents=4, producers=2, rate=rate, lease_ms=3000, replicas=1) as load:
        probes = Probes(d, load)
        for turn in range(turns):
            pause(load, dice.uniform(0.3, 1.2))
            old = pair.master
            is_demoted = turn % 4 == 3
            if not is_demoted:
                old.kill9()
            pair.promote()
            if is_demoted:  # writes to it are refused from now on, and what blocked there is told
                with old.client() as r:
                    r.call("REPLICAOF", pair.master.address, pair.master.port)
                pause(load, dice.uniform(0.2, 1.5))
            proxy.switch(pair.master.socket)
            figure("promoted_s", probes.one())
            wait_until(lambda: d.status()["redis"]["state"] == "up", 10, "the supervisor has it, too")
            if is_demoted:
                pair.wait_in_step()
            else:
                pair.follow()
        load.finish(60)
    load.verdict(60, slots=SLOTS, table=True)
    wait_until(lambda: d.client("status").returncode == 0, 10, "healthy")
    d.redis = pair.master
    d.stop()
    pair.end()
    proxy.end()


if FAULTS or LONG:  # the short form, with our own client, is t2/acks.py
    add_case("the master is killed or demoted under load, twenty times: nothing is lost that the replica had acknowledged",
             lambda: failover(3000, 20, 60), faults="F18")


def by_sentinels(tasks, turns, rate):
    """Nobody but the sentinels promotes, and nobody tells the daemon of it. The agents are told by the test."""
    dice = rng("sentinels")
    with Watched(count=3, quorum=2) as redis:
        d = sentinel_daemon(redis, CONFIG).start()
        with Load(d, tasks=tasks, agents=4, producers=2, rate=rate, lease_ms=3000, replicas=1) as load:
            probes = Probes(d, load)
            for turn in range(turns):
                pause(load, dice.uniform(0.3, 1.5))
                old = redis.master
                is_demoted = turn % 3 == 1  # it lives: what blocks there gets UNBLOCKED, what writes READONLY
                if is_demoted:
                    redis.demote()
                    redis.wait_follows(old)  # until then it goes on by itself, and what it takes nobody acknowledges
                else:
                    old.kill9()
                    redis.wait_promoted()
                load.check()
                figure("promoted_s", probes.one())
                figure("client_s", probes.by_client(d))
                name = f"redis://127.0.0.1:{redis.master.port} (master mymaster)"
                wait_until(lambda n=name: (d.status()["redis"]["state"], d.status()["redis"]["url"]) == ("up", n), 10,
                           lambda n=name: f"the supervisor has {n}, too: {d.status()['redis']}, {d.log_tail(15)}")
                if not is_demoted:
                    redis.follow(old)
                redis.wait_in_step()
                redis.wait_told()
            load.finish(60)
        load.verdict(60, slots=SLOTS, table=True)
        wait_until(lambda: d.client("status").returncode == 0, 10, "healthy")
        equal(d.events("child_died"), [])
        d.stop()


def restored_meanwhile(turns):
    """The old master takes all for up to a second after another one was promoted, and the sentinels still lead there."""
    path = f"{procs.subfolder('b')}/backup"
    refused = 0
    with PrivateRedis(lines=QUICK) as single, Daemon(single, config=CONFIG) as d:
        equal(d.client("call", "task.create", '{"text":"kept"}').returncode, 0)
        equal(d.client("backup", path).returncode, 0)
    for _ in range(turns):
        with Watched() as redis:
            d = sentinel_daemon(redis, CONFIG)
            d.write_config()
            redis.wait_told()
            with redis.client() as r:
                held = HeldRestore(d, r)
            old = redis.master
            redis.demote()
            code, said = held.go_on(path, timeout=90)
            check(code in (0, 69, 75), f"{code} {said}")
            redis.wait_follows(old)
            redis.wait_in_step(old)
            redis.wait_told()
            if code != 0:
                refused += 1
                check("run restore again" in said or code == 69, said)
                again = d.client("restore", path, timeout=90)
                check(again.returncode in (0, 73), again.stderr)
            with redis.client() as r, old.client() as o:
                check(r.call("EXISTS", d.key("meta")) == 1 == o.call("EXISTS", d.key("meta")), "what was said to be restored is there")
    note(f"{refused} of {turns} were refused")


def backup_stands_still():
    """redis-cli would wait for ever."""
    path = f"{procs.subfolder('b')}/backup"
    with PrivateRedis(tcp=True, lines=QUICK) as redis, Daemon(redis, config={**CONFIG, "redis": {"timeout_ms": 2000}}) as d:
        held = HeldBackup(d, path)
        redis.sigstop()
        code, said = held.wait(60)
        redis.cont()
        check(code == 69 and "stopped sending" in said and "run backup again" in said, f"{code} {said}")
        equal(os.listdir(os.path.dirname(path)), [], "nothing is left")


if FAULTS or LONG:  # once, and without load: t4/sentinel.py
    add_case("a restore while the master is demoted is either kept or refused", lambda: restored_meanwhile(2), faults="F18")
    add_case("a backup of a server that stands still ends", backup_stands_still, faults="F18")
    add_case("three sentinels, whose master is killed or demoted under load: nothing is lost that the replica had acknowledged",
             lambda: by_sentinels(1600, 6, 40), faults="F18")


class OldSide:
    """A client that still reaches the old master only: what it is told, with and without the replica."""

    def __init__(self, proxy):
        self.c = Caller(lambda: Resp(proxy.path, timeout=2), actor="old-side")
        self.accepted, self.acked = [], 0
        self.refused_at = None

    def write(self):
        try:
            reply = self.c.ask("task.create", {"text": "old side", "queue": "old"}, timeout=1)
        except (RespError, Failure, OSError) as problem:  # NOREPLICAS, or no worker may commit
            note(f"the old side says: {problem}")
            self.refused_at = time.monotonic()
            return False
        if not reply.ok:
            note(f"the old side says: {reply.error}")
            self.refused_at = time.monotonic()
            return False
        self.accepted.append(reply.result["id"])
        self.c.back.call("PING")
        self.acked += self.c.back.call("WAIT", 1, 100) >= 1
        return True


@case("the old master is still reachable by one host and its replica was promoted: the old side refuses soon, what was acknowledged stays",
      faults="F19")
def split():
    network.need_network()
    with network.Network(2) as net:
        pair = Pair(at=net.hosts, lines=["min-replicas-to-write 1", "min-replicas-max-lag 2", "repl-ping-replica-period 1"])
        # The promoted one would refuse, too, without a replica: until it has one it may go on alone.
        with pair.replica.client() as r:
            r.call("CONFIG", "SET", "min-replicas-to-write", "0")
        proxies = [Proxy(pair.master.socket) for _ in range(2)]
        daemons = [through(p, pair.servers[0], instance=f"host-{i}") for i, p in enumerate(proxies)]
        with Load(daemons[1], tasks=400 if FAULTS else 100, agents=3, producers=2, rate=80, lease_ms=3000, replicas=1) as load:
            pause(load, 1)
            began = time.monotonic()
            old = pair.master
            net.hosts[1].cut()
            pair.promote()
            proxies[1].switch(pair.master.socket)
            figure("promoted_s", Probes(daemons[1], load).one())
            side = OldSide(proxies[0])
            wait_until(lambda: not side.write(), 15, "the old side refuses", step=0.05)
            note(f"the old side took {len(side.accepted)} writes for {side.refused_at - began:.2f} s, acknowledged by the replica: "
                 f"{side.acked}")
            equal(side.acked, 0, "acknowledged on the old side")
            figure("old_side_refuses_s", side.refused_at - began)
            check(not side.write(), "and goes on to")
            # The link is whole again: the old master follows the new one, and its host finds that.
            net.hosts[1].heal()
            with old.client() as r:
                r.call("REPLICAOF", pair.master.address, pair.master.port)
            pair.wait_in_step()
            proxies[0].switch(pair.master.socket)
            wait_until(lambda: all(d.status()["redis"]["state"] == "up" for d in daemons), 15, "both have the new one")
            load.finish(60)
        load.verdict(60, slots=2 * SLOTS)
        with pair.master.client() as r:
            lost = [t for t in side.accepted if not r.call("EXISTS", f"cb:task:{t}")]
        figure("unacknowledged_lost", len(lost))
        equal(len(lost), len(side.accepted), "what only the old side had is gone, and it had told nobody otherwise")
        wait_until(lambda: all(d.client("status").returncode == 0 for d in daemons), 15, "healthy")
        for d in daemons:
            d.redis = pair.master
            d.stop()
        pair.end()
        for p in proxies:
            p.end()


if __name__ == "__main__":
    network.enter_user_namespace()
    arguments()
    learn_schemas()
    main(timeout=600 if FAULTS else None)
