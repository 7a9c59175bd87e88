#!/usr/bin/env python3
"""redis_cluster.py: a Redis Cluster of three masters: who is found, what happens while the slot is moved, and after a
failover; backups. (Under load, with the oracle: t5/redis_cluster.py. The rest of the suite: make check-cluster.)"""

import contextlib
import os
import subprocess
import time

from backups import HeldBackup, HeldRestore
from cbtest import *
from cluster import Cluster, call, in_step

CONFIG = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}, "hook": {"workers": 0}}}
CANARY = "{cb}:requests:canary"
shared = []


def cluster():
    if not shared:
        shared.append(Cluster(replicas=1))
        at_exit(shared[0].end)
    return shared[0]


def daemon(c, **kw):
    """It is told of a master that does not have the slot."""
    return Daemon(c, config=CONFIG, prefix="{cb}", **kw)


def create(d, text="x"):
    return d.client("call", "task.create", '{"text":"%s"}' % text)


def redis_url(d):
    return d.status()["redis"]["url"]


@case("a prefix without a hash tag is refused at the start, with words", faults="F27")
def no_tag():
    c = cluster()
    d = Daemon(c, config=CONFIG, start=False, prefix="cb")
    d.config["redis"]["prefix"] = "cb"  # whatever CB_TEST_REDIS says
    d.start(ready=False)
    equal(d.process.wait(20), 78)
    check('redis.prefix \\"cb\\" has no hash tag' in d.log() and 'make it \\"{cb}\\"' in d.log(), d.log_tail())
    told = 0
    for node in c.masters():  # a client is told by whichever node it asks that does not happen to have the key
        d.config["redis"]["url"] = node.url
        d.write_config()
        done = d.client("call", "task.create", '{"text":"x"}', "--timeout", "300ms")
        check(done.returncode in (69, 70), done)
        told += b'redis.prefix needs a hash tag, such as "{cb}"' in done.stderr
    check(told >= 2, f"{told} of 3")


@case("the node that has the slot is found from any other, by daemon, workers and clients", faults="F27")
def found():
    c = cluster()
    with daemon(c) as d:
        equal(create(d).returncode, 0)
        equal(redis_url(d), f"{c.owner().url}/0")
        for node in c.nodes:
            d.config["redis"]["url"] = node.url  # of the replica, too
            d.write_config()
            equal(create(d).returncode, 0, node.url)
            equal(d.client("task", "list").returncode, 0, node.url)
        # The first one named is not there: daemons and clients that start now ask the next.
        d.config["redis"]["url"] = f"redis://127.0.0.1:1,{c.other().url.removeprefix('redis://')}"
        d.write_config()
        equal(create(d).returncode, 0, "with one that is down")
        d.config["redis"]["prefix"] = "cb"
        d.write_config()
        done = procs.run([procs.binary("claudebenchd"), "-t", "-c", d.config_path])
        check(done.returncode == 78 and b"names several nodes of a Cluster" in done.stderr, done)


@case("while the slot is moved no script runs, and everybody waits; then all goes on at the other node", faults="F27")
def moved():
    c = cluster()
    with daemon(c) as d:
        equal(create(d, "before").returncode, 0)
        events = procs.start([procs.binary("claudebench"), "events", "-f", "--since", "0", "--json"],
                             env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=subprocess.PIPE)
        source, target = c.owner(), c.other()
        c.open_slot(source, target)
        # Every key that the commit knows of is still here; without the canary it would run, and lose itself half-way.
        with source.client() as r:
            try:
                r.call("EVAL", "#!lua\nreturn redis.call('XLEN', KEYS[1])", 2, "{cb}:requests:task", CANARY)
                fail("a script ran in a slot that is being moved")
            except RespError as problem:
                equal(problem.code, "TRYAGAIN")
        waiting = procs.start([procs.binary("claudebench"), "call", "task.create", '{"text":"during"}', "--timeout", "30s"],
                              env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: b"moving our keys" in d.client("status").stdout, 10, "status says why")
        equal(d.client("status").returncode, 1)
        check(waiting.poll() is None, "the client waits")
        check(c.move_keys(source, target) > 5, "keys were moved")
        c.close_slot(source, target)
        equal(waiting.wait(20), 0, "the request that was made meanwhile")
        wait_until(lambda: d.client("status").returncode == 0, 10, "healthy")
        equal(redis_url(d), f"{target.url}/0")
        with target.client() as r:
            texts = sorted(r.call("HGET", k, "text") for k in r.scan("{cb}:task:t-*"))
            equal([t for t in texts if t in (b'"before"', b'"during"')], [b'"before"', b'"during"'], "each once")
            equal(r.call("EXISTS", CANARY), 0, "the canary never exists")
        with source.client() as r:
            equal(len(r.call("CLUSTER", "GETKEYSINSLOT", c.slot, 10)), 0, "nothing is left behind")
        seen = 0
        while seen < 2:
            line = events.stdout.readline()
            check(line, "the events ended")
            seen += b"task.created" in line
        events.terminate()
        events.wait(10)
        equal(len(d.events("redis_error")), 0, "a slot that moves is no error")


def hand_over(c, replica):
    """Redis gives a hand-over up that has taken 5 s, on a busy machine: then it is asked again, as one would."""
    asked = None

    def is_done():
        nonlocal asked
        if c.owner() is replica:
            return True
        if asked is None or time.monotonic() - asked > 7:
            with contextlib.suppress(RespError):  # it is the master by now
                call(replica, "CLUSTER", "FAILOVER")
            asked = time.monotonic()
        return False

    wait_until(is_done, 30, "the replica has taken over")


@case("the master hands over to its replica, which is followed", faults="F27")
def failed_over():
    c = cluster()
    replica = next(n for n in c.nodes if n not in c.masters())
    master = c.owner()
    if not has_replica(master, replica):  # the slot has moved away from it: that of the replica's master comes back
        master = c.move(next(n for n in c.masters() if has_replica(n, replica)))[0]
    with daemon(c) as d:
        equal(create(d, "one").returncode, 0)
        hand_over(c, replica)
        equal(create(d, "two").returncode, 0)
        wait_until(lambda: redis_url(d) == f"{replica.url}/0", 15, "the daemon is there")
        wait_until(lambda: d.client("status").returncode == 0, 15, "healthy")
        wait_until(lambda: in_step(master), 20, "the old master follows")


@case("a backup has the whole slot, or is refused when that was moved meanwhile; restore follows it, and refuses a prefix without a hash tag",
      faults="F27")
def backed_up():
    c = cluster()
    path = f"{procs.subfolder('b')}/backup"
    with daemon(c) as d:
        equal(create(d, "kept").returncode, 0)
        d.config["redis"]["timeout_ms"] = 30000  # however long we take here, redis-cli is not given up
        d.write_config()
        equal(d.client("backup", path).returncode, 0)
        held = HeldBackup(d, path + "-2")
        source, target = c.owner(), c.other()
        c.open_slot(source, target)
        c.move_keys(source, target)
        done = d.client("backup", path + "-3")
        check(done.returncode == 69 and b"moving our keys" in done.stderr, done.stderr)
        c.close_slot(source, target)
        code, said = held.go_on()
        check(code == 75 and "another server has the data now" in said and "run backup again" in said, f"{code} {said}")
        equal(os.listdir(os.path.dirname(path)), ["backup"], "nothing is left of those that failed")
    for node in c.masters():
        call(node, "FLUSHALL")
    with source.client() as r, target.client() as owner:
        held = HeldRestore(d, owner)
        c.move(source)
        code, said = held.go_on(path)
        equal(code, 0, said)
        check(r.call("DBSIZE") > 5 and owner.call("DBSIZE") == 0, "all of it is where the slot is")
    equal(d.client("restore", path).returncode, 73, "there are data now")
    with d.start():
        check(b"kept" in d.client("task", "list").stdout, "the task is back")
    with PrivateRedis(alone=True, lines=["repl-diskless-sync-delay 0"]) as single:
        s = Daemon(single, config=CONFIG, start=False)
        s.config["redis"]["prefix"] = "cb"
        with s.start():
            equal(s.client("backup", path + "-cb").returncode, 0)
    d.config["redis"]["prefix"] = "cb"
    for node in c.masters():  # the one that happens to have cb:meta, too, takes none of the others' keys
        had = call(node, "DBSIZE")
        d.config["redis"]["url"] = node.url
        d.write_config()
        done = d.client("restore", path + "-cb")
        check(done.returncode == 78 and b"redis.prefix needs a hash tag" in done.stderr, done)
        equal(call(node, "DBSIZE"), had, "nothing is written")


def has_replica(master, replica):
    with replica.client() as r:
        return int(r.info("replication").get("master_port", 0)) == master.port


if __name__ == "__main__":
    main()
