#!/usr/bin/env python3
"""client_events.py: `claudebench events`: where it begins and ends, what it keeps over lost connections, one order of
stream and pub/sub, readers whose place is kept, and what it says when events are gone."""

import datetime
import json
import os
import re
import signal
import subprocess
import threading
import time

import modes
import users
from cbtest import *

daemon = None
c = None
bounded = None  # a daemon that keeps little; filled at the start, looked at by the last case


def start():
    global daemon, c, bounded
    bounded = Daemon(config={"domains": {"task": {"workers": 1}, "system": {"workers": 1}},
                             "events": {"reader_idle_ms": 1000, "max_bytes": 1048576}})
    at_exit(bounded.stop)
    link = bounded.caller()
    link.call("system.event.subscribe", {"group": "idle", "since": "0"})
    for reply in link.wait_all(link.send_many([("system.event.publish", {"type": "user.big", "data": "x" * 16000}, {})
                                               for _ in range(200)])):
        check(reply.ok, "published")
    daemon = Daemon(config={"domains": {"task": {"workers": 1}, "system": {"workers": 2}}})
    at_exit(daemon.stop)
    c = daemon.caller()


def number(event_id):
    return tuple(map(int, event_id.split("-")))


class Follower:
    """A `claudebench events` in the background, its lines in a file."""

    def __init__(self, *options, config=None, stdout=None):
        self.path = f"{procs.folder()}/events-{token(8)}"
        with open(self.path, "wb") as out, open(self.path + ".err", "wb") as err:
            self.process = procs.start([procs.binary("claudebench"), "events", "--json", *options],
                                       env={"CLAUDEBENCH_CONFIG": config or daemon.config_path}, stdout=stdout or out, stderr=err)

    def rows(self):
        with open(self.path, encoding="utf-8") as f:
            return [json.loads(line) for line in f.read().rpartition("\n")[0].splitlines()]

    def ids(self):
        return [r["event"] for r in self.rows()]

    def said(self):
        with open(self.path + ".err", encoding="utf-8") as f:
            return f.read()

    def end(self, signum=signal.SIGINT, want=None):
        self.process.send_signal(signum)
        equal(self.process.wait(10), -signum if want is None else want, self.said())
        with open(self.path, encoding="utf-8") as f:
            check(f.read()[-1:] in ("", "\n"), "whole lines")


def publish(kind="user.event", count=1, **more):
    return [c.insist("system.event.publish", {"type": kind, **more}).result["event"] for _ in range(count)]


def shown(*options, want=0):
    done = daemon.client("events", "--json", *options)
    equal(done.returncode, want, done.stderr.decode())
    return [json.loads(line)["event"] for line in done.stdout.decode().splitlines()]


def stream():
    return [i for i, _ in daemon.stream("stream:events")]


@case("where it begins: an id, a time, so long ago, the last N; --count ends it; types may be several")
def beginnings():
    first = publish("user.one", 3)
    wait_until(lambda: time.time() * 1000 > number(first[-1])[0] + 20, 5, "a moment later")
    at = datetime.datetime.fromtimestamp((number(first[-1])[0] + 10) / 1000, datetime.timezone.utc).isoformat(timespec="milliseconds")
    second = publish("user.two", 3)
    equal(shown("--since", first[0], "-t", "user.*"), first[1:] + second)
    equal(shown("--since", at, "-t", "user.*"), second)
    equal(shown("--since", at.replace("+00:00", "Z"), "-t", "user.*"), second)
    equal(shown("--since", "1d", "-t", "user.*"), first + second)
    equal(shown("--since", "1ms", "-t", "nothing.*"), [])
    equal(shown("--last", "2", "-t", "user.one"), first[1:])
    equal(shown("-n", "100000"), stream())
    equal(shown("-t", "user.one,leader.*", "-t", "user.two", "--count", "4")[1:], first)
    for wrong in (["--since", "yesterday"], ["--since", "1-2-3"], ["--since", "12x"], ["-n", "0"], ["--count", "-1"],
                  ["-n", "1", "--since", "0"], ["--remove"], ["-n", "2", "--group", "g"]):
        done = daemon.client("events", *wrong)
        equal(done.returncode, 64, f"{wrong}: {done.stderr}")
    equal(daemon.client("events", "--group", "archive").returncode, 65, "a name of our own")


@case("-f -n 2 --count 3: the last two, and then the next one")
def last_and_follow():
    before = publish(count=3)
    f = Follower("-f", "-n", "2", "--count", "3", "-t", "user.*")
    wait_until(lambda: len(f.ids()) == 2, 10, "the last two")
    after = publish()
    equal(f.process.wait(10), 0)
    equal(f.ids(), before[1:] + after)


@case("INT and TERM end it by the signal, with whole lines; a reader that has gone ends it, too")
def ends():
    for signum in (signal.SIGINT, signal.SIGTERM):
        f = Follower("-f", "--since", "0")
        wait_until(lambda: f.ids(), 10, "it shows something")
        f.end(signum)
    head = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # pylint: disable=consider-using-with
    f = Follower("-f", "--since", "0", stdout=head.stdin)
    head.stdin.close()
    equal(head.wait(10), 0)
    wait_until(lambda: f.process.poll() is not None, 10, "it has noticed, though there is nothing to write")
    check(f.process.returncode != 0, f"{f.process.returncode}")


# ---- one order of stream and pub/sub ----


class Mixed:
    """A Redis without a daemon, and somebody who writes events as scripts do, with any transport."""

    def __init__(self, transport):
        self.redis = PrivateRedis()
        self.link = self.redis.client()
        self.config = f"{procs.subfolder('c')}/claudebench.yaml"
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(yaml({"config_version": 1, "redis": {"embedded": False, "url": self.redis.url, "prefix": modes.prefix("cb"),
                                                              **self.redis.login()},
                          "events": {"transport": transport}}))
        self.made = []  # (id, transport)

    def write(self, transport, kind="user.x"):
        script = """local id = redis.call('XADD', KEYS[1], '*', 'type', ARGV[2], 'at', '1')
            if ARGV[1] ~= 'stream' then
                redis.call('PUBLISH', ARGV[3] .. ARGV[2], cjson.encode({{id, 'type', ARGV[2], 'at', '1'}}))
            end
            if ARGV[1] == 'pubsub' then redis.call('XDEL', KEYS[1], id) end
            return id"""
        made = self.link.text("EVAL", script, 1, "cb:stream:events", transport, kind, "cb:events:")
        self.made.append((made, transport))
        return made

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.redis.__exit__()


def follower_of(mixed, *options):
    """Has connected: it shows what is written now."""
    f = Follower("-f", *options, config=mixed.config)

    def is_there():
        mixed.write("both")
        return f.ids()

    wait_until(is_there, 10, "it follows", step=0.05)
    mixed.made = [m for m in mixed.made if number(m[0]) >= number(f.ids()[0])]
    return f


@case("any mixture of stream, pub/sub and both, changing all the time, is one order: by id, nothing missing, nothing twice")
def mixture():
    draw = rng("mixture")
    with Mixed("both") as m:
        m.write("stream")
        f = follower_of(m)
        for _ in range(3000):
            m.write(draw.choice(["stream", "pubsub", "both"]), draw.choice(["user.x", "task.created"]))
        last = m.write("both")
        wait_until(lambda: f.ids()[-1] == last, 20, "it has caught up")
        equal(f.ids(), [i for i, _ in m.made])
        m.write("stream")  # nobody tells of it
        wait_until(lambda: f.ids()[-1] == m.made[-1][0], 10, "what is in the stream only")
        f.end()
        equal(f.said(), "")


@case("a daemon with pubsub tells who follows and keeps nothing; one with stream tells nobody")
def daemons_transport():
    for transport in ("pubsub", "stream"):
        config = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}}, "events": {"transport": transport}}
        with Daemon(config=config) as d, d.connect() as link:
            own = d.caller()
            f = Follower("-f", "-t", "user.*,task.*", config=d.config_path)
            link.call("PSUBSCRIBE", "cb:events:*")
            made = []

            def is_there():
                made.append(own.call("system.event.publish", {"type": "user.x"})["event"])
                return f.ids()

            wait_until(is_there, 10, "it follows", step=0.05)
            task = own.call("task.create", {"text": "x"})["id"]
            wait_until(lambda: f.rows()[-1]["type"] == "task.created", 10, "the worker's")
            equal(f.rows()[-1]["id"], task)
            equal(f.ids()[:-1], made[-len(f.ids()) + 1 :])
            equal(len(d.stream("stream:events")) > 0, transport == "stream")
            done = d.client("events")
            equal((done.returncode, done.stdout == b"", b"not kept" in done.stderr), (0, *[transport == "pubsub"] * 2))
            f.end()
            link.send("PING")
            told = 0
            while link.read()[0] != b"pong":
                told += 1
            equal(told > 0, transport == "pubsub")


@case("who began with stream listens when events are only told from now on, and says which it has missed")
def transport_changed():
    with Mixed("stream") as m:
        f = Follower("-f", config=m.config)

        def is_there():
            m.write("stream")
            return f.ids()

        wait_until(is_there, 10, "it follows", step=0.05)
        seen = m.made[-1][0]
        wait_until(lambda: f.ids()[-1] == seen, 10, "all of the stream")
        missed = m.write("pubsub")
        wait_until(lambda: "may be missing" in f.said(), 20, "it notices")
        check(seen in f.said() and missed in f.said(), f.said())
        later = [m.write(transport) for transport in ("pubsub", "stream", "both", "pubsub")]
        wait_until(lambda: f.ids()[-1] == later[-1], 10, "it listens")
        equal(f.ids()[-5:], [seen, *later])
        equal(f.said().count("may be missing"), 1)
        f.end()


@case("both: connections are cut all the time; what the stream has comes once and in order, what was only told is missed and said")
def cut_channels():
    draw = rng("cut")
    with Mixed("both") as m:
        m.write("stream")
        f = follower_of(m)
        stopping = threading.Event()

        def cut():
            with m.redis.client() as link:
                while not stopping.wait(draw.uniform(0.01, 0.1)):
                    for kind in ("normal", "pubsub"):
                        if draw.random() < 0.5:
                            link.call("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            for _ in range(2000):
                try:
                    m.write(draw.choice(["stream", "both", "both"]))
                except Lost:
                    m.link = m.redis.client()
                if draw.random() < 0.05:
                    stopping.wait(0.01)
        finally:
            stopping.set()
            cutter.join()
        m.link = m.redis.client()
        kept = [i.decode() for i, _ in m.link.call("XRANGE", "cb:stream:events", f.ids()[0], "+")]
        wait_until(lambda: f.ids()[-1] == kept[-1], 20, "it has caught up")
        equal(f.ids(), kept)
        m.link.call("CLIENT", "PAUSE", 300, "ALL")
        m.link.call("CLIENT", "KILL", "TYPE", "pubsub")
        lost_one = m.write("pubsub")
        wait_until(lambda: "may be missing" in f.said() and lost_one in f.said(), 10, lambda: f"it says so: {f.said()}")
        f.end()


@case("who may not listen reads the stream only, if that has all; else it is told so (77)")
def not_allowed():
    for transport in ("both", "pubsub"):
        with Mixed(transport) as m:
            m.redis.check_refusals = lambda: None  # it is the test
            m.link.call("ACL", "SETUSER", users.name("client", "cb") if users.ACL else "default", "resetchannels", "-subscribe", "-psubscribe")
            m.write("stream")
            f = Follower("-f", "--since", "0", config=m.config)
            if transport == "pubsub":
                equal(f.process.wait(10), 77, f.said())
                continue
            last = m.write("stream")
            wait_until(lambda: last in f.ids(), 10, "it reads")
            equal(f.ids(), [i for i, _ in m.made])
            f.end()


@case("a stream that is trimmed beyond the place: that is said, and it goes on")
def gap():
    with Mixed("stream") as m:
        for _ in range(300):
            m.write("stream")
        old = m.made[10][0]
        f = follower_of(m, "--since", "0")
        m.link.call("XTRIM", "cb:stream:events", "MAXLEN", 250)
        first = m.link.call("XRANGE", "cb:stream:events", "-", "+", "COUNT", 1)[0][0].decode()
        done = procs.run([procs.binary("claudebench"), "events", "--json", "--since", old], env={"CLAUDEBENCH_CONFIG": m.config})
        equal((done.returncode, len(done.stdout.splitlines())), (0, 250), done.stderr)
        equal(re.findall(r"between (\S+) and (\S+) may be missing", done.stderr.decode()), [(old, first)])
        # 0 asks for what is kept; a place that is still there has missed nothing.
        for since in ("0", first, "1h"):
            done = procs.run([procs.binary("claudebench"), "events", "--since", since], env={"CLAUDEBENCH_CONFIG": m.config})
            equal((done.returncode, b"missing" in done.stderr), (0, since == "1h"), since)
        check("missing" not in f.said(), f.said())
        os.kill(f.process.pid, signal.SIGSTOP)
        for _ in range(300):
            m.write("stream")
        m.link.call("XTRIM", "cb:stream:events", "MAXLEN", 100)
        os.kill(f.process.pid, signal.SIGCONT)
        last = m.write("stream")
        wait_until(lambda: f.ids()[-1] == last, 10, "it goes on")
        equal(len(re.findall(r"between \S+ and \S+ may be missing", f.said())), 1, f.said())
        f.end()


@case("what somebody else publishes on the channels, with ids that are still to come, hides no event")
def untrue_messages():
    with Mixed("both") as m:
        m.write("both")
        f = follower_of(m)
        for untrue in ("18446744073709551615-18446744073709551615", f"{number(m.made[-1][0])[0] + 86400000}-0"):
            m.link.call("PUBLISH", "cb:events:user.x", json.dumps([[untrue, "type", "user.x", "data", "untrue"]]))
            for how in ("both", "pubsub", "stream"):
                m.write(how)
                wait_until(lambda: f.ids()[-1] == m.made[-1][0], 10, lambda: f"it goes on: {f.ids()[-1]}, {f.said()}")
        equal(f.ids(), [i for i, _ in m.made][-len(f.ids()) :])
        check("missing" not in f.said(), f.said())
        f.end()


@case("a follower that lags behind the trimming is told what it may have missed")
def lagging():
    with Mixed("stream") as m:
        m.write("stream")
        f = follower_of(m)
        place = f.ids()[-1]
        wait_until(lambda: f.ids()[-1] == m.made[-1][0], 10, "all is shown")
        place = f.ids()[-1]
        os.kill(f.process.pid, signal.SIGSTOP)
        with m.redis.client() as link:
            link.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        m.link = m.redis.client()
        for _ in range(50):
            m.write("stream")
        m.link.call("XTRIM", "cb:stream:events", "MAXLEN", 10)
        os.kill(f.process.pid, signal.SIGCONT)
        wait_until(lambda: f.ids()[-1] == m.made[-1][0], 10, "it goes on")
        check(f"between {place} and " in f.said(), f.said())
        equal(len(f.ids()[f.ids().index(place):]), 11)
        f.end()


# ---- readers whose place is kept ----


@case("--group: goes on where the last one ended; what was not acknowledged comes again; --remove forgets it")
def group():
    equal(shown("--group", "g1"), [], "a new one begins with the next event")
    made = publish(count=5)
    equal(shown("--group", "g1", "--count", "2", "-t", "user.*"), made[:2])
    equal(shown("--group", "g1", "-t", "user.*"), made[2:])
    equal(shown("--group", "g1", "-t", "user.*"), [])
    kept = stream()
    equal(shown("--group", "g2", "--since", "0")[: len(kept)], kept)
    done = daemon.client("events", "--group", "g2", "--since", "0", "-t", "user.*")
    equal((done.returncode, done.stdout), (0, b""), "a known one goes on")
    check(b'the reader "g2" goes on where it ended, not at --since' in done.stderr, done.stderr)
    f = Follower("-f", "--group", "g1", "-t", "user.*")
    new = publish(count=3)
    wait_until(lambda: f.ids() == new, 10, "the new ones")
    f.end()
    with daemon.connect() as r:  # as if it had died between reading and showing
        r.call("XREADGROUP", "GROUP", "g1", "reader", "COUNT", 100, "STREAMS", "cb:stream:events", ">")
        lost = publish(count=2)
        r.call("XREADGROUP", "GROUP", "g1", "reader", "COUNT", 100, "STREAMS", "cb:stream:events", ">")
    later = publish()
    equal(shown("--group", "g1", "-t", "user.*"), lost + later)
    with daemon.connect() as r:  # read, not acknowledged, and removed meanwhile
        lost = publish(count=3)
        r.call("XREADGROUP", "GROUP", "g1", "reader", "COUNT", 100, "STREAMS", "cb:stream:events", ">")
        r.call("XDEL", "cb:stream:events", lost[0], lost[1])
    done = daemon.client("events", "--json", "--group", "g1", "-t", "user.*")
    equal([json.loads(line)["event"] for line in done.stdout.splitlines()], lost[2:])
    check(f"events between {lost[0]} and {lost[1]} may be missing" in done.stderr.decode(), done.stderr)
    with daemon.connect() as r:  # the same of the last ones that there are: it is told once
        lost = publish(count=2)
        r.call("XREADGROUP", "GROUP", "g1", "reader", "COUNT", 100, "STREAMS", "cb:stream:events", ">")
        r.call("XDEL", "cb:stream:events", *lost)
        for told in (True, False):
            done = daemon.client("events", "--json", "--group", "g1", "-t", "user.*")
            equal((done.stdout, b"may be missing" in done.stderr), (b"", told), done.stderr.decode())
    equal(daemon.client("events", "--group", "g1", "--remove").returncode, 0)
    equal(daemon.client("events", "--group", "g1", "--remove").returncode, 66)
    equal(shown("--group", "g1"), [])


@case("--group: what nobody wants is not kept for ever as pending, though nothing is shown")
def group_unwanted():
    shown("--group", "none")
    with daemon.connect() as r:
        def pending():
            return r.call("XPENDING", "cb:stream:events", "none")[0]

        def delivered():
            groups = [dict(zip(row[::2], row[1::2])) for row in r.call("XINFO", "GROUPS", "cb:stream:events")]
            return next(number(g[b"last-delivered-id"].decode()) for g in groups if g[b"name"] == b"none")

        publish(count=5)
        equal(shown("--group", "none", "-t", "nothing.*"), [])
        equal(pending(), 0)
        f = Follower("-f", "--group", "none", "-t", "user.wanted")
        publish(count=5)
        new = publish("user.wanted") + publish("user.wanted")
        last = publish(count=5)[-1]
        wait_until(lambda: f.ids() == new, 10, "those that are wanted")
        wait_until(lambda: delivered() >= number(last) and pending() == 0, 10, "the others passed over")
        f.end()
    equal(shown("--group", "none", "-t", "user.*"), [], "all of it has been passed over")
    equal(daemon.client("events", "--group", "none", "--remove").returncode, 0)


@case("--group: killed, cut and started again all the time, every event is shown, in order but for what comes again")
def group_killed():
    draw = rng("group")
    shown("--group", "k")
    seen, made, turns = [], [], 0
    enough = threading.Event()

    def write():
        own = daemon.caller()
        while not enough.wait(0.002):
            made.append(own.insist("system.event.publish", {"type": "user.k", "data": len(made)}).result["event"])

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive() or made[-1] not in seen:
        turns += 1
        f = Follower("-f", "--group", "k", "-t", "user.k")
        wait_until(f.ids, 20, "it shows something")
        enough.wait(draw.uniform(0, 0.1))
        if draw.random() < 0.3:
            with daemon.connect() as r:
                r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        f.process.kill()
        f.process.wait()
        part = f.ids()
        equal(part, sorted(set(part), key=number), "in order, and none twice in one run")
        seen += part
        if turns == (100 if LONG else 8):
            enough.set()
            writer.join()
    equal(sorted(set(seen), key=number), made)
    note(f"{turns} readers killed; {len(seen) - len(set(seen))} of {len(made)} events came again")


@case("--group: a reader that lags behind the trimming is told what it has missed")
def group_lagging():
    shown("--group", "slow")
    f = Follower("-f", "--group", "slow")
    place = publish()[0]
    wait_until(lambda: f.ids()[-1:] == [place], 10, "it reads")
    os.kill(f.process.pid, signal.SIGSTOP)
    made = publish(count=20)
    with daemon.connect() as r:
        r.call("XTRIM", "cb:stream:events", "MAXLEN", 5)
    os.kill(f.process.pid, signal.SIGCONT)
    wait_until(lambda: made[-1] in f.ids(), 10, "it goes on")
    check("may be missing" in f.said(), f.said())
    equal(daemon.client("events", "--group", "slow", "--remove").returncode, 0)
    equal(f.process.wait(10), 66, f.said())


@case("--group: one that is removed while somebody reads ends that reader with 66")
def group_removed():
    shown("--group", "gone")
    f = Follower("-f", "--group", "gone")
    last = publish()
    wait_until(lambda: last[0] in f.ids(), 10, "it reads")
    equal(daemon.client("events", "--group", "gone", "--remove").returncode, 0)
    equal(f.process.wait(10), 66, f.said())


@case("without a daemon: 69, and no trying again")
def unreachable():
    with Mixed("stream") as m:
        m.redis.kill9()
        for options in ([], ["-f"], ["-f", "--group", "g"]):
            done = procs.run([procs.binary("claudebench"), "events", *options], env={"CLAUDEBENCH_CONFIG": m.config}, timeout=20)
            equal(done.returncode, 69, f"{options}: {done.stderr}")
            equal(done.stderr.count(b"cannot reach Redis at"), 1, done.stderr)


@case("the leader keeps the stream below events.max_bytes, and forgets a reader that nobody uses")
def kept_in_bounds():
    with bounded.connect() as r:
        wait_until(lambda: r.call("MEMORY", "USAGE", "cb:stream:events") <= 1.1 * 1048576, 20, "bytes")
        wait_until(lambda: r.call("XINFO", "GROUPS", "cb:stream:events") == [], 20, "readers")
    kinds = [f["type"] for _, f in bounded.stream("stream:events")]
    check(b"reader.removed" in kinds and 0 < kinds.count(b"user.big") < 200, f"{set(kinds)}")
    equal(bounded.client("events", "--group", "idle", "--remove").returncode, 66)


if __name__ == "__main__":
    arguments()
    start()
    main()
