#!/usr/bin/env python3
"""cut_links.py: three hosts with addresses of their own, a daemon on each, Redis on the first; links are cut and healed.
The long form (CB_FAULTS=1 or CB_LONG=1) has partitions, half-open connections and random cuts under load, too.

Everything that the daemons, workers and agents say to Redis goes over these links; the test itself looks on over a socket file.
"""

import collections
import os
import re
import time

import network
from cbtest import *
from load import AgentProcess

CONFIG = {
    "domains": {"task": {"workers": 2}, "system": {"workers": 2}},
    # Longer than a request is in the hands of a host that was cut off: one of them may be a beat that renews.
    "task": {"lease_ms": 8000, "backoff_ms": 100, "max_attempts": 20},
    "cluster": {"agent_lease_ms": 5000},
    "redis": {"timeout_ms": 2000},
}
SLOTS = 4
OTHERS = (1, 2)  # hosts without Redis

net = redis = None
daemons = []


def start():
    """The third host's daemon comes first, so that it leads."""
    global net, redis
    network.need_network()
    if net is None:
        learn_schemas()
        net = network.Network(3)
        at_exit(net.end)
        redis = PrivateRedis(at=net.hosts[0])
        at_exit(redis.stop)
        daemons.extend(Daemon(redis, config=CONFIG, instance=f"host-{i}", at=h, start=False) for i, h in enumerate(net.hosts))
        for d in reversed(daemons):
            d.start()
            at_exit(d.stop)
    wait_until(all_well, 15, "all hosts are well")


def all_well():
    return all(d.status()["status"] == "healthy" and d.status()["hosts"]["seen"] == 3 for d in daemons)


def wall():
    with redis.client() as r:
        s, us = r.call("TIME")
    return int(s) * 1000 + int(us) // 1000


def events(since, *kinds):
    return [(int(entry.split("-")[0]), {k: v.decode() for k, v in e.items()}) for entry, e in daemons[0].stream("stream:events")
            if int(entry.split("-")[0]) >= since and e["type"].decode() in kinds]


def first(since, kind, seconds, **want):
    """Wall ms of the first such event."""
    def found():
        return [ms for ms, e in events(since, kind) if all(e.get(k) == v for k, v in want.items())]

    return wait_until(found, seconds, f"{kind} {want or ''}", step=0.02)[0]


def links_of(host):
    """Redis's connections to a host."""
    with redis.client() as r:
        rows = [dict(f.split("=", 1) for f in row.split() if "=" in f) for row in r.text("CLIENT", "LIST").splitlines()]
    return [row["id"] for row in rows if row["addr"].startswith(f"{host.address}:")]


class Work:
    """`claudebench work` on a host; its jobs note their begin and wait for the file `go`."""

    def __init__(self, number, name, folder):
        self.d, self.log, self.folder = daemons[number], f"{folder}/{name}.log", folder
        job = f"{folder}/job"
        with open(f"{job}.new", "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\necho $CLAUDEBENCH_TASK_ID $PPID >>{folder}/begun\n"
                    f"while [ ! -e {folder}/go ]; do sleep 0.05; done\n")
        os.chmod(f"{job}.new", 0o755)
        os.rename(f"{job}.new", job)
        with open(self.log, "wb") as log:
            self.process = procs.start([*self.d.inside, procs.binary("claudebench"), "work", "--id", name, "--queue", "far", "--jobs",
                                        "3", "--", job], env={"CLAUDEBENCH_CONFIG": self.d.config_path}, stdout=log, stderr=log)

    def begun(self):
        """Tasks that it has begun."""
        try:
            with open(f"{self.folder}/begun", encoding="ascii") as f:
                return [line.split()[0] for line in f if int(line.split()[1]) == self.process.pid]
        except FileNotFoundError:
            return []

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        self.process.terminate()
        equal(self.process.wait(15), 0, self.said())


@case("only the addresses of the hosts lead to Redis, and a link that is cut is cut both ways")
def links():
    start()
    where = (redis.address, redis.port)
    check(all(h.reaches(where) for h in net.hosts), "all reach Redis")
    with redis.client() as r:
        links_ = [re.search(r"addr=(\S+)", row).group(1) for row in r.text("CLIENT", "LIST").splitlines()]
    own = tuple(f"{h.address}:" for h in net.hosts)
    check(all(a.startswith((*own, redis.socket)) for a in links_), links_)
    check(all(len(links_of(h)) >= SLOTS + 1 for h in net.hosts), "each host's daemon and workers use its address")
    host = net.hosts[1]
    host.cut()
    check(not host.reaches(where, 0.3), "cut")
    check(net.hosts[2].reaches(where), "the other one is not")
    host.heal()
    wait_until(lambda: host.reaches(where), 5, "healed")


def leader(r):
    found = r.hash("cb:leader:current")
    return found["id"].decode(), int(found["epoch"])


def let_one_of_the_others_lead():
    """The number of its host."""
    with redis.client() as r:
        if leader(r)[0] == "host-0":
            daemons[0].stop()
            wait_until(lambda: leader(r)[0] != "host-0", 5, "another one leads")
            daemons[0].start()
        return int(leader(r)[0][-1])


@case("the leader's host is cut off with an agent's tasks: given up, they move once, another one leads; back, all of it is told")
def cut_leader():
    start()
    number = let_one_of_the_others_lead()
    name, host, far_daemon = f"host-{number}", net.hosts[number], daemons[number]
    c = daemons[0].caller()
    folder = procs.subfolder("w")
    ids = c.call("task.create_batch", {"tasks": [{"text": f"t{i}", "queue": "far"} for i in range(3)]})["ids"]
    far = Work(number, "far", folder)
    wait_until(lambda: sorted(far.begun()) == sorted(ids), 10, far.said)
    with redis.client() as r:
        before = leader(r)
        near = Work(3 - number, "near", folder)
        began = wall()
        host.cut()
        elected = first(began, "leader.elected", 10)
        failed = first(began, "instance.failed", 10, instance=name)
        figure("leader_moved_s", (elected - began) / 1000)
        figure("host_noticed_s", (failed - began) / 1000)
        wait_until(lambda: sorted(near.begun()) == sorted(ids), 15, near.said)
        after = leader(r)
        check(after[0] != name and after[1] > before[1], f"{before}, then {after}")
        equal(far_daemon.status()["leader"]["is_self"], False, "the cut-off one does not think that it leads")
        healed = wall()
        host.heal()
        # The agent learns that its leases are over: its jobs are ended, and what they say is not told.
        wait_until(lambda: all(f"{t} dropped" in far.said() for t in ids), 15, far.said)
        wait_until(all_well, 15, "all hosts are well")
        note(f"well {(wall() - healed) / 1000:.2f} s after the heal")
        check(far_daemon.events("leader_lost"), "its log says that it does not lead any more")
        equal(leader(r), after)
        with open(f"{folder}/go", "w", encoding="ascii"):
            pass
        wait_until(lambda: all(c.call("task.get", {"id": t})["status"] == "completed" for t in ids), 10, "done")
        moved = collections.Counter(t for _, e in events(began, "task.reassigned", "task.lease_expired")
                                    for t in e["ids"].split())
        equal(dict(moved), {t: 1 for t in ids}, "each moved once")
        done = collections.Counter(t for _, e in events(began, "task.completed")
                                   for t in e.get("ids", e.get("id", "")).split())
        equal(dict(done), {t: 1 for t in ids}, "each completed once")
        equal([e["instance"] for _, e in events(began, "instance.failed")].count(name), 1)
    for w in (far, near):
        w.stop()


def partition():
    start()
    with redis.client() as r:
        began = wall()
        for i in OTHERS:
            net.hosts[i].cut()
        figure("partition_found_s", (first(began, "partition.detected", 10) - began) / 1000)
        check(r.call("GET", "cb:partition:detected"), "the flag is set")
        wait_until(lambda: daemons[0].status()["status"] == "unhealthy", 5, "the one that is left knows")
        # Those outside know that they are: Redis is gone for them.
        wait_until(lambda: all(daemons[i].status()["redis"]["state"] == "down" for i in OTHERS), 10, "the others, too")
        healed = wall()
        for i in OTHERS:
            net.hosts[i].heal()
        figure("partition_over_s", (first(healed, "partition.recovered", 20) - healed) / 1000)
        wait_until(lambda: not r.call("GET", "cb:partition:detected"), 1, "the flag is cleared")
        wait_until(all_well, 15, "all hosts are well")
        equal([e["type"] for _, e in events(began, "partition.detected", "partition.recovered")],
              ["partition.detected", "partition.recovered"])


def half_open():
    start()
    c, host = daemons[0].caller(), net.hosts[1]
    # Redis's kernel forgets connections that it closed, so that the host comes back with some that nobody knows.
    procs.run([*net.hosts[0].inside, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_orphan_retries"])
    began = wall()
    host.cut()
    # The reads of its workers still stand in Redis for up to a second, and take entries that nobody will ever see.
    ids = []
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        ids += c.send_many([("task.create", {"text": f"half {len(ids) + i}"}, {"idem": token()}) for i in range(10)])
        c.poll(0.02)
    taken = [row for row in daemons[0].pending() if row[1].startswith("host-1/")]
    note(f"{len(ids)} requests, {len(taken)} in the hands of the host that is cut off")
    replies = c.wait_all(ids, 20)
    equal(len({r.result["id"] for r in replies}), len(ids))
    check(taken, "some were")
    figure("host_noticed_s", (first(began, "instance.failed", 10, instance="host-1") - began) / 1000)
    with redis.client() as r:
        for link in links_of(host):
            r.call("CLIENT", "KILL", "ID", link)
    equal(links_of(host), [])
    wait_until(lambda: not sockets(net.hosts[0], host.address), 20,
               lambda: f"Redis's kernel has forgotten them: {sockets(net.hosts[0], host.address)}", step=0.1)
    host.heal()
    wait_until(all_well, 20, "all hosts are well")
    wait_until(lambda: len(links_of(host)) >= SLOTS + 1, 20, "all its workers are connected again")
    created = [t for _, e in events(began, "task.created") for t in (e.get("ids") or e["id"]).split()]
    equal(len(set(created)), len(created))
    replies = c.wait_all(c.send_many([("task.create", {"text": "after"}, {}) for _ in range(50)]), 10)
    check(all(r.ok for r in replies), "served")


def silent_host():
    """Nobody says that the connections are dead, and redis.timeout_ms would wait for a minute: the kernel asks."""
    start()
    d, host = daemons[2], net.hosts[2]
    d.stop()
    d.config["redis"]["timeout_ms"] = 60000
    d.start()
    wait_until(all_well, 15, "all hosts are well")
    host.cut()
    began = time.monotonic()
    wait_until(lambda: d.status()["redis"]["state"] == "down", 20, "the supervisor notices")
    figure("silence_noticed_s", time.monotonic() - began)
    wait_until(lambda: all(w["state"] == "reconnect" for w in d.status()["workers"]), 20, lambda: f"the workers notice: {d.status()['workers']}")
    figure("silence_noticed_s", time.monotonic() - began)
    host.heal()
    wait_until(all_well, 20, "all hosts are well")
    d.stop()
    d.config["redis"]["timeout_ms"] = CONFIG["redis"]["timeout_ms"]
    d.start()


def power_cut():
    """A host loses its power: Redis has connections to nobody. It starts again, proves who it is, and nothing is left."""
    start()
    c, host, d = daemons[0].caller(), net.hosts[1], daemons[1]
    began = wall()
    host.cut()
    d.kill_tree()
    check(len(links_of(host)) >= SLOTS + 1, "Redis does not know")
    first(began, "instance.failed", 10, instance="host-1")
    wait_until(lambda: not [row for row in daemons[0].pending() + daemons[0].pending("system") if row[1].startswith("host-1/")], 10,
               "what its workers had is handed on")
    d.inside = net.reboot(1).inside
    d.start()
    wait_until(all_well, 15, "all hosts are well")
    wait_until(lambda: len(links_of(host)) <= 2 * SLOTS, 30, lambda: f"old connections are closed: {len(links_of(host))}")
    equal(len(events(began, "instance.registered")), 1)
    replies = c.wait_all(c.send_many([("task.create", {"text": "after"}, {}) for _ in range(50)]), 10)
    check(all(r.ok for r in replies), "served")


def sockets(host, peer):
    """States of the connections to a peer that a host's kernel knows (hexadecimal; 06: TIME_WAIT, closed on both sides)."""
    hexed = "".join(f"{int(n):02X}" for n in reversed(peer.split(".")))
    rows = procs.run([*host.inside, "cat", "/proc/self/net/tcp"]).stdout.decode().splitlines()[1:]
    return [row.split()[3] for row in rows if row.split()[2].startswith(hexed) and row.split()[3] != "06"]


def random_cuts():
    """Agents on both hosts work while links are cut and healed, each way, for a minute."""
    start()
    for d in daemons:
        d.stop()
    with redis.client() as r:
        r.call("FLUSHALL")  # the oracle judges all tasks that there are
    for d in daemons:
        d.start()
    dice = rng("cuts")
    with Load(daemons[0], tasks=4000, agents=1, producers=2, rate=60, lease_ms=2000) as load:
        # As long as they can be and keep up: then nearly every cut finds them at work.
        agents = [AgentProcess(daemons[i], load.ledger.path, i, at=net.hosts[i], work_ms=70) for i in OTHERS for _ in range(2)]
        for n, agent in enumerate(agents):
            agent.number = n
        until, cuts = time.monotonic() + 60, 0
        while time.monotonic() < until:
            hosts = [net.hosts[i] for i in OTHERS if dice.random() < 0.6] or [net.hosts[1]]
            is_inside, seconds = dice.random() < 0.3, dice.choice([0.2, 1, 3, 6])
            for h in hosts:
                (h.cut_inside if is_inside else h.cut)()
            end = time.monotonic() + seconds * dice.uniform(0.8, 1.2)
            wait_until(lambda t=end: load.check() or time.monotonic() > t, 30, "time")
            for h in hosts:
                (h.heal_inside if is_inside else h.heal)()
            cuts += 1
            end = time.monotonic() + dice.uniform(0.5, 4)
            wait_until(lambda t=end: load.check() or time.monotonic() > t, 30, "time")
        note(f"{cuts} cuts")
        load.finish(90)
        refused = sum(agent.stop() for agent in agents)
    verdict = load.verdict(90, slots=3 * SLOTS, table=True)
    figure("refused", refused)
    check(verdict.figures["repeats"] > 0, "some leases ended while their holders were cut off")
    wait_until(all_well, 20, "all hosts are well")


if FAULTS or LONG:
    add_case("two of three hosts are cut off: a partition is told, and that it is over when they are back", partition)
    add_case("half-open: requests that Redis gave to a host which is cut off are answered by others, once; it comes back", half_open)
    add_case("a host that is silent is noticed by the other end, whatever redis.timeout_ms is", silent_host)
    add_case("a host loses its power and starts again: what Redis gave it is handed on, it is itself again", power_cut)
    add_case("links are cut and healed at random under load: the oracle agrees", random_cuts)


if __name__ == "__main__":
    network.enter_user_namespace()
    main(timeout=600 if FAULTS or LONG else None)
