"""reload.py: a changed configuration put in force while the daemon works: HUP and `claudebench ctl`, and the numbers of workers."""

import json
import os
import signal
import threading

import modes
from cbtest import Daemon, PrivateRedis, case, check, equal, main, note, procs, rng, wait_until
from supervised import Control, FakeDaemon, status


def write(daemon, **sections):
    """Lays sections over the configuration and writes the file."""
    for name, values in sections.items():
        daemon.config[name] = {**daemon.config.get(name, {}), **values}
    daemon.write_config()


def ctl(daemon, *args, want=0):
    done = daemon.client("ctl", *args)
    equal(done.returncode, want, f"ctl {' '.join(args)}: {done.stdout.decode()} {done.stderr.decode()}")
    return done.stdout.decode() + done.stderr.decode()


def reload(daemon, *args, want=0, **sections):
    write(daemon, **sections)
    return ctl(daemon, "reload", "--wait", *args, want=want)


def pids(daemon, domain="task"):
    return {w["pid"] for w in status(daemon)["workers"] if w["domain"] == domain and w["pid"]}


def events(daemon, name):
    return [e for e in daemon.events() if e["event"] == name]


WORKING = {"idle", "ready", "handling", "commit"}


def wait_workers(daemon, n, domain="task"):
    """So many, all at work."""
    def states():
        return [w["state"] for w in status(daemon)["workers"] if w["domain"] == domain]

    wait_until(lambda: len(states()) == n and status(daemon)["config"]["old_workers"] == 0, 10,
               lambda: f"{n} workers: {states()}")


@case("a new value is in force when ctl reload returns, in new workers; what has not changed replaces nobody")
def new_value():
    with Daemon() as d:
        c = d.caller()
        c.call("task.create", {"text": "x" * 100})
        before = pids(d)
        answer = reload(d, limits={"text_bytes": 20}, supervisor={"watchdog_ms": 1600})
        check("supervisor.watchdog_ms, limits.text_bytes" in answer, answer)
        check(not before & pids(d), "the workers are other ones")
        for _ in range(20):
            c.refused("task.create", {"text": "x" * 21})
        before = pids(d)
        check("nothing has changed" in reload(d), "said so")
        check("watchdog_ms" in reload(d, supervisor={"watchdog_ms": 1500}), "an option of the supervisor alone")
        procs.kill(d.pid, signal.SIGHUP)
        wait_until(lambda: len(events(d, "config_reloaded")) == 4, 5, "HUP does it too")
        equal(pids(d), before, "the same workers")
        equal(status(d)["config"]["reloads"], 4)


@case("old workers are told to leave when new ones are up: there are never fewer, and nothing is degraded", faults="F12")
def order():
    with Daemon(config={"domains": {"task": {"workers": 3}}}) as d:
        old = pids(d)
        for i in range(5):
            write(d, task={"lease_ms": 20000 + i})
            with Control(d) as socket:
                equal(socket.ask("reload")["ok"], True)
                while True:
                    now = socket.ask("status")
                    at_work = [w for w in now["workers"] if w["domain"] == "task" and w["state"] in WORKING]
                    check(len(at_work) >= 3 and now["status"] == "healthy", now)
                    if now["config"]["old_workers"] == 0:
                        break
            check(not old & pids(d), "the workers are other ones")
            old = pids(d)
        equal(events(d, "daemon_degraded"), [])


@case("a wrong file changes nothing; the log and the answer say file, line and column, of HUP and of ctl")
def wrong():
    with Daemon() as d:
        c = d.caller()
        before = pids(d)
        with open(d.config_path, encoding="utf-8") as f:
            good = f.read()
        bad = good.replace("limits:", "limits_:") + "limits:\n  text_bytes: 10\ntask:\n  lease_ms: never\n  no_such: 1\n"
        line = bad[:bad.index("never")].count("\n") + 1
        with open(d.config_path, "w", encoding="utf-8") as f:
            f.write(bad)
        answer = ctl(d, "reload", want=78)
        place = f"{d.config_path}:{line}:13: task.lease_ms"
        check(place in answer and f"{d.config_path}:{line + 1}:3: task.no_such" in answer, answer)
        check("the one in force stays" in answer, answer)
        answer = json.loads(d.client("ctl", "reload", "--json").stdout)
        check(place in answer["errors"][0], answer)
        procs.kill(d.pid, signal.SIGHUP)
        wait_until(lambda: status(d)["config"]["refused"] == 3, 5, "HUP is refused, too")
        check(place in events(d, "config_refused")[0]["problem"] and events(d, "config_refused")[0]["problems"] == "2", d.log_tail())
        c.call("task.create", {"text": "x" * 11})
        os.unlink(d.config_path)
        with Control(d) as socket:
            check("cannot be read" in socket.ask("reload")["errors"][0], "a file that is gone")
        with open(d.config_path, "w", encoding="utf-8") as f:
            f.write(good)
        # What is wrong only together with what is in force, and a log that cannot be opened.
        d.config["log"]["destination"] = f"{d.dir}/nowhere/log"
        check("nowhere/log" in reload(d, want=78), "said so")
        d.config["log"]["destination"] = "stderr"
        equal(pids(d), before)
        equal(status(d)["config"]["refused"], 5)
        reload(d)


@case("an option that needs a restart keeps its value, and that is said at each reload")
def restart_only():
    with Daemon() as d:
        other = f"{d.dir}/other"
        for i in range(2):
            answer = reload(d, redis={"prefix": "other"}, supervisor={"pidfile": other}, task={"max_attempts": 5 + i})
            check(f'redis.prefix needs a restart: "{modes.prefix("cb")}" is in force, "other" was loaded' in answer, answer)
            check("supervisor.pidfile needs a restart" in answer and "task.max_attempts" in answer, answer)
        said = [(e["option"], e["in_force"]) for e in events(d, "option_needs_restart")]
        equal(said, [("redis.prefix", modes.prefix("cb")), ("supervisor.pidfile", f"{d.dir}/pid")] * 2)
        equal([o["option"] for o in status(d)["config"]["needs_restart"]], ["redis.prefix", "supervisor.pidfile"])
        shown = d.client("status").stdout.decode()
        check("restart   needed for new values of redis.prefix, supervisor.pidfile\n" in shown, shown)
        equal(d.caller().call("task.create", {"text": "t"})["status"], "pending", "under the old prefix")
        check(not os.path.exists(other), "the old pid file")
        answer = reload(d)
        check("what has changed needs a restart" in answer and "nothing has changed" not in answer, answer)
        check("nothing has changed" in reload(d, redis={"prefix": modes.prefix("cb")}, supervisor={"pidfile": f"{d.dir}/pid"}), "taken back")
        equal(status(d)["config"]["needs_restart"], [])


@case("reloads under load lose no request, fail none and double none", faults="F11 F12")
def under_load():
    with Daemon(config={"domains": {"task": {"workers": 2}}}) as d:
        d.caller()
        stop = threading.Event()
        sent, answered, problems, most = [0, 0], [0, 0], [], [0]  # of each thread its own

        def load(n):
            caller = d.caller(schemas=False)
            flying = []
            while not stop.is_set() or flying:
                if not stop.is_set() and len(flying) < 1500:
                    flying += caller.send_many([("task.create", {"text": "t"}, {}) for _ in range(100)])
                    sent[n] += 100
                for reply in caller.wait_all(flying[:100], 30):
                    answered[n] += 1
                    if not reply.ok:
                        problems.append(reply.raw)
                flying = flying[100:]
            problems.extend(caller.doubles)

        threads = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(2)]
        for t in threads:
            t.start()
        try:
            for i in range(6):
                goal = sum(answered) + 1000
                wait_until(lambda g=goal: sum(answered) >= g, 30, "the load goes on")
                write(d, task={"lease_ms": 20000 + i})
                if i % 2:
                    procs.kill(d.pid, signal.SIGHUP)  # the next one may come before this one is finished
                else:
                    ctl(d, "reload", *["--wait"][: i % 4])
                most[0] = max(most[0], len(pids(d)))
        finally:
            stop.set()
            for t in threads:
                t.join(60)
        ctl(d, "reload", "--wait")
        equal(problems, [])
        equal(answered, sent)
        with d.connect() as r:
            equal(r.call("ZCARD", "cb:queue:tasks:pending"), sum(sent), "tasks")
            equal(r.call("XLEN", "cb:requests:task"), 0)
        equal(d.duplicates(), 0)
        check(most[0] <= 4, f"{most[0]} task workers at once")
        equal([e for e in d.events() if e["event"] in ("child_died", "child_killed")], [])
        note(f"{sum(sent)} requests, at most {most[0]} task workers at once")


class Listener(threading.Thread):
    """Collects the events of tasks that are told: (event id, task id)."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.link = redis.client(timeout=60)
        self.link.call("PSUBSCRIBE", "cb:events:task.created")
        self.told = []
        self.start()

    def run(self):
        while True:
            try:
                got = self.link.read()
            except (OSError, ValueError):
                return
            for flat in json.loads(got[3]) if got[0] == b"pmessage" else []:
                fields = dict(zip(flat[1::2], flat[2::2]))
                self.told += [(flat[0], i) for i in (fields.get("ids") or fields["id"]).split()]


@case("events.transport changes by reloads under load: each event is kept or told as its worker was set, none is missing or double")
def transport():
    redis = PrivateRedis()
    with Daemon(redis=redis) as d:
        listener = Listener(redis)
        stop = threading.Event()
        ids, problems = [], []

        def load():
            caller = d.caller(schemas=False)
            while not stop.is_set():
                replies = caller.wait_all(caller.send_many([("task.create", {"text": "t"}, {}) for _ in range(50)]), 30)
                problems.extend(r.raw for r in replies if not r.ok)
                ids.extend(r.result["id"] for r in replies if r.ok)

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        marked = d.caller(schemas=False)
        places = {}
        try:
            for mode in ("stream", "pubsub", "both", "pubsub", "stream"):
                goal = len(ids) + 300
                wait_until(lambda g=goal: len(ids) >= g, 30, "the load goes on")
                reload(d, events={"transport": mode})
                mark = marked.call("task.create", {"text": mode})["id"]
                ids.append(mark)
                places[mark] = mode
        finally:
            stop.set()
            thread.join(30)
        kept = [(i, t) for i, e in d.stream("stream:events") if e["type"] == b"task.created"
                for t in (e.get("ids") or e["id"]).decode().split()]
        wait_until(lambda: {t for _, t in kept} | {t for _, t in listener.told} >= set(ids), 10, "each was kept or told")
        equal(problems, [])
        for what in (kept, listener.told):
            equal(len(what), len({t for _, t in what}), "none is there twice")
        check(all(dict((t, i) for i, t in kept).get(t, i) == i for i, t in listener.told), "under one id in both")
        for mark, mode in places.items():
            found = (mark in {t for _, t in kept}, mark in {t for _, t in listener.told})
            equal(found, (mode != "pubsub", mode != "stream"), mode)
        listener.link.close()
    redis.stop()


@case("old workers that do not leave: their number is bounded, they are killed in the end, their requests are not charged")
def bounded():
    with FakeDaemon("task:stubborn system:fine", workers=2, config={"supervisor": {"stop_timeout_ms": 700}}) as d:
        for i in range(12):
            write(d, task={"lease_ms": 20000 + i})
            with Control(d) as socket:
                equal(socket.ask("reload")["ok"], True)
            check(len(pids(d)) <= 4, f"{len(pids(d))} processes")
        d.set_modes("")
        ctl(d, "reload", "--wait")
        check(events(d, "child_killed"), d.log_tail())
        equal(len(pids(d)), 2)


@case("new workers that do not come up leave the old ones at work; the next reload mends it")
def new_ones_fail():
    with FakeDaemon("", workers=2, config={"supervisor": {"restart_min_ms": 300}}) as d:
        before = pids(d)
        d.set_modes("task:config")
        write(d, task={"lease_ms": 20000})
        check("not as wanted yet" in ctl(d, "reload", "--wait", "--timeout", "1", want=75), "said so")
        check(before <= pids(d), "the old ones are at work")
        equal(status(d)["config"]["old_workers"], 2)
        check(b"old       2 workers that finish" in d.client("status").stdout, "status says it, too")
        d.set_modes("")
        ctl(d, "reload", "--wait")
        check(not before & pids(d), "replaced")
        equal(status(d)["status"], "healthy")


@case("a reload while Redis is away: what it concerns is in force, workers follow when Redis is back")
def redis_away():
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis, more_fds=1) as d:
        before = pids(d)
        redis.kill9()
        wait_until(lambda: status(d)["redis"]["state"] == "down", 10, "Redis is away")
        for i in range(3):
            write(d, limits={"text_bytes": 20 + i}, domains={"task": {"workers": 1 + i}})
            with Control(d) as socket:
                equal(socket.ask("reload")["ok"], True)
            check(len(pids(d)) <= 8, "bounded")
        check(before & pids(d), "old ones wait for Redis, too")
        redis.restart()
        wait_workers(d, 3)
        wait_until(lambda: status(d)["status"] == "healthy", 10, "healthy")
        c = d.caller()
        for _ in range(20):
            c.refused("task.create", {"text": "x" * 23})
    redis.stop()


@case("reloads, scalings, drains, deaths and signals in any order: bounded all the time, and as configured in the end")
def any_order():
    draw = rng()
    with FakeDaemon("", workers=2, more_fds=1, config={"supervisor": {"stop_timeout_ms": 300, "restart_min_ms": 20, "restart_max_ms": 50}}) as d:
        serial = 0

        def kill_one():
            found = pids(d)
            if found:
                procs.kill(draw.choice(sorted(found)))

        def change(how):
            nonlocal serial
            serial += 1
            write(d, task={"lease_ms": 20000 + serial})
            if how == "HUP":
                procs.kill(d.pid, signal.SIGHUP)
            else:
                ctl(d, "reload")

        def scale(workers):
            done = d.client("ctl", "scale", "task", str(workers))
            is_drained = b"the workers were drained: reload first" in done.stderr
            equal(done.returncode, 75 if is_drained else 0, done.stderr.decode())

        steps = [lambda: change("HUP"), lambda: change("ctl"), lambda: scale(draw.randint(0, 6)),
                 lambda: procs.kill(d.pid, signal.SIGTTIN), lambda: procs.kill(d.pid, signal.SIGTTOU), kill_one,
                 lambda: ctl(d, "drain"), lambda: procs.kill(d.pid, signal.SIGWINCH), lambda: procs.kill(d.pid, signal.SIGHUP),
                 lambda: d.set_modes(draw.choice(["", "task:crash", "task:stubborn", "task:config", "task:hung"]))]
        for _ in range(50):
            draw.choice(steps)()
            check(len(pids(d)) <= 20, f"{len(pids(d))} task workers")
        d.set_modes("")
        # All workers are replaced: one that was started to be stubborn would stay so at the stop, too.
        write(d, domains={**d.config["domains"], "task": {"workers": 3}}, task={"lease_ms": 20000 + serial + 1})
        ctl(d, "reload", "--wait")
        equal((len(pids(d)), len(pids(d, "system"))), (3, 1))
        equal(status(d)["status"], "healthy")


@case("workers by reload, ctl scale, TTIN and TTOU; a reload puts the configured number back")
def scaling():
    with FakeDaemon("", workers=2, more_fds=2) as d:
        before = pids(d)
        reload(d, domains={**d.config["domains"], "task": {"workers": 4}})
        wait_workers(d, 4)
        check(before <= pids(d), "two more, the same two as before")
        ctl(d, "scale", "task", "1", "--wait")
        equal(len(pids(d)), 1)
        for signum, n in ((signal.SIGTTIN, 2), (signal.SIGTTIN, 3), (signal.SIGTTOU, 2), (signal.SIGTTOU, 1), (signal.SIGTTOU, 1)):
            procs.kill(d.pid, signum)
            wait_workers(d, n)
        wait_workers(d, 1, "system")
        ctl(d, "scale", "task", "64", "--wait")
        equal(len(pids(d)), 64)
        procs.kill(d.pid, signal.SIGTTIN)
        wait_until(lambda: events(d, "scale_refused"), 5, "64 is the most")
        equal(len(pids(d)), 64)
        said = ctl(d, "scale", "nothing", "1", want=64)
        check('"nothing" is no domain (expected one of task, system, hook, archive, test)' in said, said)
        check("0 to 64" in ctl(d, "scale", "task", "65", want=64), "the limit is said")
        check("all domains together have at most 128" in ctl(d, "scale", "test", "64", want=64), "64 and 1 are there already")
        ctl(d, "scale", "task", "many", want=64)
        procs.kill(d.pid, signal.SIGHUP)
        wait_workers(d, 4)
        wait_workers(d, 1, "system")
        equal(events(d, "child_died"), [])


@case("ctl drain and WINCH: the workers leave, requests wait, a reload brings workers back")
def drained():
    with Daemon() as d:
        c = d.caller()
        refused = 0
        for how in ("ctl", "signal"):
            if how == "ctl":
                ctl(d, "drain", "--wait")
            else:
                procs.kill(d.pid, signal.SIGWINCH)
                wait_until(lambda: not d.workers(), 10, "none is left")
            equal(d.workers(), [])
            check("drained: no workers until a reload" in status(d)["reasons"], status(d)["reasons"])
            check("the workers were drained: reload first" in ctl(d, "scale", "task", "3", want=75), "it would have no effect")
            procs.kill(d.pid, signal.SIGTTIN)
            refused += 1
            wait_until(lambda: len([e for e in events(d, "scale_refused") if e["service"] == "task"]) == refused, 10, "TTIN neither")
            rid = c.send("task.create", {"text": how})
            equal(d.backlog(), 1)
            said = ctl(d, "reload", "--wait")
            check("workers are as configured again" in said and "nothing has changed" not in said, said)
            equal(len(d.workers("task")), 2, "as configured")
            check("nothing has changed" in ctl(d, "reload", "--wait"), "now")
            check(c.wait(rid).ok, "answered now")
            equal(status(d)["status"], "healthy")


@case("ctl log-level: a subsystem's level counts at once, in the daemon and its workers, until a reload")
def log_level():
    with Daemon() as d:
        c = d.caller()
        c.refused("task.create", {"text": ""})
        shown = ctl(d, "log-level", "requests", "debug")
        check("requests  debug" in shown and "workers   info" in shown, shown)
        c.refused("task.create", {"text": ""})
        wait_until(lambda: events(d, "request_refused"), 5, "the worker says it")
        equal(len(events(d, "request_refused")), 1)
        check("children  error" in ctl(d, "log-level", "children", "error"), "shown")
        procs.kill(d.workers("task")[0])
        wait_until(lambda: len(d.workers("task")) == 2 and status(d)["status"] == "healthy", 10, "replaced")
        equal(events(d, "child_died"), [])
        equal(set(ctl(d, "log-level", "all", "warn").split()[1::2]), {"warn"})
        ctl(d, "log-level", "redis", "loud", want=64)
        ctl(d, "log-level", "nothing", "info", want=64)
        ctl(d, "log-level", "redis", want=64)
        reload(d)
        equal(set(ctl(d, "log-level").split()[1::2]), {"info"})
        equal(ctl(d, "leader"), "test-host\n")


@case("ctl stop --wait returns when the daemon has ended; ctl without a daemon says 69")
def stop():
    with Daemon() as d:
        with open(d.config_path, "a", encoding="utf-8") as f:
            f.write("nonsense: 1\n")
        ctl(d, "stop", "--wait")
        d.process.wait(5)
        equal(d.process.returncode, 0)
        check("no daemon there" in ctl(d, "reload", want=69), "said so")


def answers(daemon):
    try:
        return bool(status(daemon))
    except (FileNotFoundError, ConnectionRefusedError):
        return False


@case("two daemons that start at once with one control socket: one of them serves, the other says who has it")
def race():
    redis = PrivateRedis()
    first = FakeDaemon("", redis=redis, start=False)
    second = FakeDaemon("", redis=redis, start=False, instance="second")
    second.config["supervisor"]["control_socket"] = f"{first.dir}/control.sock"
    winners = []
    for _ in range(6):
        for d in (first, second) if len(winners) % 2 else (second, first):
            d.start(ready=False)
        wait_until(lambda: not (first.running() and second.running()), 10, "one ends")
        winner, loser = (first, second) if first.running() else (second, first)
        equal(loser.process.returncode, 75, loser.log_tail())
        said = loser.log_tail(1)
        check("supervisor.control_socket" in said and f"pid {winner.pid}" in said, said)
        wait_until(lambda: answers(first), 10, "it listens")
        equal(status(first)["pid"], winner.pid)
        winner.stop()
        winners.append(winner)
    check(not os.path.exists(f"{first.dir}/control.sock.lock"), "the lock is removed")
    redis.stop()


if __name__ == "__main__":
    main()
