#!/usr/bin/env python3
"""refusals.py: a Redis that does not do as it is told (common/redis_faults.def): each refusal is said in its own words by the
daemon and by claudebench, with the right exit status, asked again without a storm, and over when it is over."""

import json
import os
import re
import subprocess
import time

from cbtest import *

CONFIG = {"domains": {"task": {"workers": 2}, "system": {"workers": 1}, "hook": {"workers": 0}}, "redis": {"timeout_ms": 1000}}
MAIN = ["save \"\""]


def kill_others(r):
    r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


class Refusal:
    """`begin` and `end` take the connection of the test; words: in the client's message, and in the status. `prepare`: before the
    daemon starts; what it returns is for the section redis of the configuration."""

    def __init__(self, name, begin, end, client, code, status, prepare=None):
        self.name, self.begin, self.end, self.client, self.code, self.status = name, begin, end, client, code, status
        self.prepare = prepare or (lambda redis, r: {})


def set_config(**options):
    def set_all(redis, r):
        for name, value in options.items():
            r.call("CONFIG", "SET", name.replace("_", "-"), value)

    return set_all


def fail_saving(redis, r):
    os.makedirs(f"{redis.dir}/dump.rdb/x")
    r.call("CONFIG", "SET", "save", "3600 1")
    r.call("BGSAVE")
    wait_until(lambda: r.info("persistence")["rdb_last_bgsave_status"] == "err", 10, "it cannot save")


def save_again(redis, r):
    os.rmdir(f"{redis.dir}/dump.rdb/x")
    os.rmdir(f"{redis.dir}/dump.rdb")
    r.call("CONFIG", "SET", "save", "")


def demote(redis, r):
    r.call("REPLICAOF", "127.0.0.1", "1")


def promote(redis, r):
    r.call("REPLICAOF", "NO", "ONE")


def lose_master(redis, r):
    r.call("CONFIG", "SET", "replica-serve-stale-data", "no")
    demote(redis, r)


def want_password(redis, r):
    r.call("CONFIG", "SET", "requirepass", "geheim")
    kill_others(r)


def have_user(redis, r):
    redis.password_file = f"{redis.dir}/own.password"
    with open(os.open(redis.password_file, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write("right\n")
    right_password(redis, r)
    return {"user": "own", "password_file": redis.password_file}


def right_password(redis, r):
    r.call("ACL", "SETUSER", "own", "on", "resetpass", ">right", "~*", "&*", "+@all")


def other_password(redis, r):
    r.call("ACL", "SETUSER", "own", "resetpass", ">other")
    kill_others(r)


def have_much(redis, r):
    """So that the load takes a while: each key is one of the moments at which the server looks for commands."""
    for name, value in {"rdbcompression": "no", "loading-process-events-interval-bytes": "1024"}.items():
        r.call("CONFIG", "SET", name, value)
    r.pipeline([["SET", f"other:{i}", "x" * 1500] for i in range(3000)])
    return {}


def load_again(redis, r):
    r.call("CONFIG", "SET", "key-load-delay", "20000")  # µs
    redis.busy = redis.client()
    redis.busy.send("DEBUG", "RELOAD")
    wait_until(lambda: says(redis, "LOADING"), 10, "it loads")


def end_loading(redis, r):
    r.call("CONFIG", "SET", "key-load-delay", "0")
    equal(redis.busy.read(30), b"OK")
    redis.busy.close()


def take_rights(redis, r):
    r.call("ACL", "SETUSER", "default", "-xadd", "-evalsha", "-fcall")


def give_rights(redis, r):
    r.call("ACL", "SETUSER", "default", "+@all")


def be_full(redis, r):
    r.call("CONFIG", "SET", "maxclients", "1")
    kill_others(r)


def be_busy(redis, r):
    r.call("CONFIG", "SET", "busy-reply-threshold", "50")
    redis.busy = redis.client()
    redis.busy.send("EVAL", "while true do end", 0)
    wait_until(lambda: says(redis, "BUSY"), 5, "it is busy")


def says(redis, code):
    try:
        with redis.client(timeout=2) as other:
            other.call("PING")
            return False
    except RespError as problem:
        return problem.code == code


def end_busy(redis, r):
    with redis.client() as other:
        other.call("SCRIPT", "KILL")
    redis.busy.close()


REFUSALS = [
    Refusal("OOM", set_config(maxmemory=1), set_config(maxmemory=0), "Redis has no memory left (OOM ", 75, "creating methods are refused"),
    Refusal("MISCONF", fail_saving, save_again, "Redis cannot save its data and takes no writes (MISCONF ", 69,  # PING is refused, too
           
            "Redis cannot save its data and takes no writes (MISCONF "),
    Refusal("NOREPLICAS", set_config(min_replicas_to_write=1), set_config(min_replicas_to_write=0),
            "Redis has too few replicas and takes no writes (NOREPLICAS ", 75, "Redis has too few replicas and takes no writes (NOREPLICAS "),
    Refusal("READONLY", demote, promote, "this Redis is a replica, it takes no writes (READONLY ", 69,
            # What a command was told, what blocking reads were told, what the next connection finds out (ROLE).
            ("this Redis is a replica, it takes no writes", "Redis has ended a blocking read (UNBLOCKED ")),
    Refusal("MASTERDOWN", lose_master, promote, "this Redis is a replica that has lost its master (MASTERDOWN ", 69,
            "this Redis is a replica that has lost its master (MASTERDOWN "),
    Refusal("NOAUTH", want_password, set_config(requirepass=""), "Redis wants a password (NOAUTH ", 77,
            "redis refuses user or password: "),
    Refusal("WRONGPASS", other_password, right_password, "Redis does not know this user or password (WRONGPASS ", 77,
            "redis refuses user or password: ", have_user),
    Refusal("LOADING", load_again, end_loading, "Redis is loading its data (LOADING ", 69, "redis is loading", have_much),
    Refusal("NOPERM", take_rights, give_rights, "the ACL does not give us the right (NOPERM ", 77,
            "the ACL does not give us the right (NOPERM "),
    Refusal("MAXCLIENTS", be_full, set_config(maxclients=1000), "Redis has no room for another connection (ERR max number of clients reached)", 69,
            "Redis has no room for another connection (ERR max number of clients reached)"),
    Refusal("BUSY", be_busy, end_busy, "a script of somebody keeps Redis busy (BUSY ", 69, "a script of somebody keeps Redis busy (BUSY "),
]


def asked(r):
    """Connections and commands so far, refused ones included."""
    stats = r.info("stats")
    rejected = sum(int(re.search(r"rejected_calls=(\d+)", row).group(1)) for name, row in r.info("commandstats").items())
    return (int(stats["total_connections_received"]) + int(stats["rejected_connections"]),
            int(stats["total_commands_processed"]) + rejected)


def refused(refusal):
    with PrivateRedis(lines=MAIN) as redis, redis.client(timeout=20) as r, \
            Daemon(redis, config=merge(CONFIG, {"redis": refusal.prepare(redis, r)})) as d:
        wanted = refusal.status if isinstance(refusal.status, tuple) else (refusal.status,)
        refusal.begin(redis, r)
        try:
            done = d.client("call", "task.create", '{"text":"x"}', "--timeout", "1500ms", timeout=30)
            equal(done.returncode, refusal.code, done.stderr.decode())
            check(refusal.client.encode() in done.stderr, done.stderr.decode())
            wait_until(lambda: any(w in "\n".join(d.status()["reasons"]) for w in wanted), 10, lambda: d.status()["reasons"])
            if refusal.name != "BUSY":  # which answers no questions
                before, began = asked(r), time.monotonic()
                wait_until(lambda: time.monotonic() - began > 3, 10, "time")
                connections, commands = (b - a for a, b in zip(before, asked(r)))
                note(f"{refusal.name}: {connections} connections and {commands} commands in 3 s")
                check(connections <= 60 and commands <= 600, f"{connections} connections, {commands} commands in 3 s")
        finally:
            refusal.end(redis, r)
        wait_until(lambda: d.client("status").returncode == 0, 15, lambda: f"healthy: {d.status()['reasons']}")
        equal(d.client("task", "add", "after").returncode, 0, "served")
        equal(d.events("child_died"), [])
        lines = [line for line in d.log().splitlines() if refusal.name in line]
        check(len(lines) <= 20, f"{len(lines)} lines say {refusal.name}")


@case("UNBLOCKED: who blocks is sent away: workers and a claim that waits come back, and nobody notices")
def unblocked():
    with PrivateRedis(lines=MAIN) as redis, Daemon(redis, config=CONFIG) as d, redis.client() as r:
        claim = procs.start([procs.binary("claudebench"), "call", "task.claim", '{"workerId":"w","wait_ms":30000}'],
                            env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=subprocess.PIPE)
        wait_until(lambda: r.call("HLEN", "cb:waiters") == 1, 10, "the claim waits")
        sent_away = wait_until(lambda: unblock_all(r), 10, "all workers and the claim block")
        note(f"{sent_away} were sent away")
        wait_until(lambda: r.call("HLEN", "cb:waiters") == 1 and len(blocked(r)) >= sent_away, 10, "they block again")
        equal(d.client("task", "add", "after").returncode, 0, "served")
        equal(json.loads(claim.communicate(timeout=20)[0])["tasks"][0]["text"], "after", "the claim that waited has it")
        check(d.client("status").returncode == 0, "healthy")
        equal(d.events("child_died"), [])


def blocked(r):
    """Ids of connections that wait in a blocking command."""
    fields = [dict(w.split("=", 1) for w in row.split() if "=" in w) for row in r.text("CLIENT", "LIST").splitlines()]
    return [f["id"] for f in fields if "b" in f["flags"]]


def unblock_all(r):
    """How many; 0 as long as somebody is still on his way."""
    ids = blocked(r)
    return len(ids) >= 4 and sum(r.pipeline([["CLIENT", "UNBLOCK", i, "ERROR"] for i in ids]))


for one in REFUSALS:
    add_case(f"{one.name}: in its own words, without a storm, and over when it is over", lambda one=one: refused(one))


if __name__ == "__main__":
    main(timeout=300)
