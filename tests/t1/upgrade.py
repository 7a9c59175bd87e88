"""upgrade.py: USR2: a new program in the place of the running one, and what happens when it cannot take over."""

import os
import shutil
import signal
import socket
import threading
import traceback

import modes
from cbtest import Daemon, case, check, equal, main, note, procs, wait_until
from supervised import status
from task_hash import to_schema


class Installed(Daemon):
    """A daemon whose programs lie in a folder of its own, so that they can be replaced."""

    def __init__(self, **kw):
        self.bin = procs.subfolder("bin")
        self.install("claudebenchd", "claudebench-worker")
        os.symlink(f"{procs.top_builddir()}/etc", f"{self.bin}/etc")  # the rules are looked for beside the programs
        super().__init__(**kw)

    def install(self, *names):
        """As a package does: a new file under the old name."""
        for name in names:
            shutil.copy(procs.binary(name), f"{self.bin}/{name}.new")
            os.rename(f"{self.bin}/{name}.new", f"{self.bin}/{name}")

    def put(self, text):
        with open(f"{self.bin}/claudebenchd.new", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(f"{self.bin}/claudebenchd.new", 0o755)
        os.rename(f"{self.bin}/claudebenchd.new", f"{self.bin}/claudebenchd")

    def start(self, ready=True):
        binary = procs.binary
        procs.binary = lambda name: f"{self.bin}/{name}" if name == "claudebenchd" else binary(name)
        try:
            return super().start(ready)
        finally:
            procs.binary = binary

    def upgrade(self, n=1):
        procs.kill(self.pid, signal.SIGUSR2)
        wait_until(lambda: len(self.events("upgraded")) == n, 15, lambda: f"upgraded {n} times: {self.log_tail()}")
        wait_until(self.is_settled, 15, lambda: f"settled: {status(self)}")

    def is_settled(self):
        s = status(self)
        return s["status"] == "healthy" and s["config"]["old_workers"] == 0

    def is_new(self):
        """The kernel shows the file that the process runs."""
        return os.path.samefile(f"/proc/{self.pid}/exe", f"{self.bin}/claudebenchd")


@case("an upgrade under load: no request is lost or failed; pid, Redis, instance and counters stay; workers are new")
def under_load():
    with Installed() as d:
        d.caller()
        before, redis = status(d), d.redis_pid()
        workers = set(d.workers())
        stop = threading.Event()
        sent, answered, problems = [0, 0], [0, 0], []  # of each thread its own

        def load(n):
            try:
                caller = d.caller(schemas=False)
                while not stop.is_set():
                    rids = caller.send_many([("task.create", {"text": "t"}, {}) for _ in range(200)])
                    sent[n] += len(rids)
                    replies = caller.wait_all(rids, 30)
                    answered[n] += len(replies)
                    problems.extend(r.raw for r in replies if not r.ok)
                problems.extend(caller.doubles)
            except Exception:  # pylint: disable=broad-exception-caught
                problems.append(traceback.format_exc())

        threads = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(2)]
        for t in threads:
            t.start()
        try:
            for n in (1, 2):
                goal = sum(answered) + 600
                wait_until(lambda g=goal: sum(answered) >= g or problems, 30, "the load goes on")
                d.install("claudebenchd", "claudebench-worker")
                d.upgrade(n)
                check(d.is_new(), "the new file runs")
        finally:
            stop.set()
            for t in threads:
                t.join(60)
        equal((problems, answered), ([], sent))
        after = status(d)
        equal((after["pid"], after["instance"], after["incarnation"], after["redis"].get("pid", redis)),
              (d.pid, before["instance"], before["incarnation"], redis))
        check(not workers & set(d.workers()), "the workers are new")
        equal(len(d.workers()), len(workers))
        check(after["uptime_ms"] >= before["uptime_ms"], after["uptime_ms"])
        # A worker counts when it has Redis' answer, which may be later than its caller has his.
        wait_until(lambda: status(d)["requests"]["total"] >= sum(sent), 5, lambda: f"{status(d)['requests']} of {sum(sent)}")
        with d.connect() as r:
            equal(r.call("ZCARD", "cb:queue:tasks:pending"), sum(sent))
            equal(r.call("XLEN", "cb:requests:task"), 0)
        equal(d.duplicates(), 0)
        equal([e["event"] for e in d.events() if e["event"] in ("child_died", "child_killed", "child_unknown", "redis_died")], [])
        with open(f"{d.dir}/pid", encoding="ascii") as f:
            equal(int(f.read()), d.pid)
        second = procs.run([procs.binary("claudebenchd"), "-c", d.config_path])
        check(second.returncode == 75 and b"already running" in second.stderr, second.stderr)
        note(f"{sum(sent)} requests over two upgrades")


@case("a program that cannot take over is not executed: gone, not a program, broken, of another version")
def refused():
    with Installed() as d:
        before = set(d.workers())
        bad = ["#!/bin/sh\necho no library of that name >&2; exit 127\n", "garbage\n",
               "#!/bin/sh\n[ -z \"$CLAUDEBENCHD_INHERIT_CHECK\" ] || { echo needs a restart >&2; exit 78; }\n"]
        for i, text in enumerate(bad):
            d.put(text)
            procs.kill(d.pid, signal.SIGUSR2)
            wait_until(lambda n=i + 1: len(d.events("upgrade_failed")) == n, 10, lambda: f"refused: {d.log_tail()}")
        os.unlink(f"{d.bin}/claudebenchd")
        procs.kill(d.pid, signal.SIGUSR2)
        wait_until(lambda: len(d.events("upgrade_failed")) == 4, 10, "refused")
        reasons = [e["reason"] for e in d.events("upgrade_failed")]
        check("no library" in reasons[0] and "needs a restart" in reasons[2] and "No such file" in reasons[3], reasons)
        d.install("claudebenchd")
        d.config["task"] = {"lease_ms": "never"}
        d.write_config()
        procs.kill(d.pid, signal.SIGUSR2)
        wait_until(lambda: len(d.events("upgrade_failed")) == 5, 10, "refused for its configuration")
        check("task.lease_ms" in d.events("upgrade_failed")[-1]["reason"], d.events("upgrade_failed")[-1])
        equal(set(d.workers()), before, "the same workers")
        check(not d.is_new(), "the old program")
        d.config["task"] = {}
        d.write_config()
        d.upgrade()
        wrong = procs.run([procs.binary("claudebenchd"), "-t", "-c", d.config_path], env={"CLAUDEBENCHD_INHERIT_CHECK": "0.0.0.0"})
        check(wrong.returncode == 78 and b"needs a restart" in wrong.stderr, wrong.stderr)


@case("a configuration that is gone: the refusal says that the one in force is, whoever named it")
def config_is_gone():
    with Daemon() as d:
        os.unlink(d.config_path)
        procs.kill(d.pid, signal.SIGUSR2)
        wait_until(lambda: d.events("upgrade_failed"), 10, "refused")
        equal(d.events("upgrade_failed")[0]["reason"],
              f'"the configuration in force, {d.config_path}, is not there any more: No such file or directory"')
        d.write_config()


@case("a configuration that is broken just after it was asked about ends nobody: the options that were in force stay")
def broken_meanwhile():
    with Installed(config={"limits": {"text_bytes": 10}}) as d:
        d.put(f'#!/bin/sh\n[ "$1" = -t ] || echo "limits: [" >{d.config_path}\nexec {procs.binary("claudebenchd")} "$@"\n')
        procs.kill(d.pid, signal.SIGUSR2)
        wait_until(lambda: d.events("upgraded"), 10, lambda: f"upgraded: {d.log_tail()}")
        equal(len(d.events("config_refused")), 1)
        d.write_config()
        wait_until(d.is_settled, 10, lambda: f"settled: {status(d)}")
        c = d.caller()
        c.refused("task.create", {"text": "x" * 11})
        equal(d.client("ctl", "reload", "--wait").returncode, 0)
        equal(status(d)["config"]["needs_restart"], [])


@case("over an upgrade the options that need a restart stay, the others are those of the file; dead workers are handed on")
def options():
    with Installed() as d:
        d.config["redis"]["prefix"] = "other"
        d.config["limits"] = {"text_bytes": 10}
        d.write_config()
        d.install("claudebenchd")
        victim = d.workers("task")[0]
        procs.kill(victim, signal.SIGSTOP)
        procs.kill(d.pid, signal.SIGUSR2)
        procs.kill(victim, signal.SIGKILL)
        wait_until(lambda: d.events("upgraded"), 10, "upgraded")
        wait_until(d.is_settled, 10, lambda: f"settled: {status(d)}")
        c = d.caller()
        c.refused("task.create", {"text": "x" * 11})
        c.call("task.create", {"text": "t"})
        done = d.client("ctl", "reload")
        check(b"redis.prefix needs a restart" in done.stdout, done.stdout)
        d.config["redis"]["prefix"] = modes.prefix("cb")
        d.write_config()


@case("the audit file's chain goes on over upgrades under load: each decision once")
def audit():
    with Installed() as d:
        d.caller()
        stop = threading.Event()
        sent = [0]

        def load():
            caller = d.caller(schemas=False)
            request = ("hook.pre_tool", {"tool": "Bash", "params": {"command": "rm -rf /"}}, {})
            while not stop.is_set():
                replies = caller.wait_all(caller.send_many([request] * 50), 30)
                check(all(r.ok for r in replies), [r.raw for r in replies if not r.ok][:1])
                sent[0] += len(replies)

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        try:
            for n in (1, 2):
                goal = sent[0] + 200
                wait_until(lambda g=goal: sent[0] >= g, 30, "the load goes on")
                d.upgrade(n)
        finally:
            stop.set()
            thread.join(30)

        def written():
            with open(f"{d.dir}/audit.jsonl", "rb") as f:
                return f.read().count(b'"kind":"hook.pre_tool"')

        wait_until(lambda: written() >= sent[0], 15, lambda: f"{written()} of {sent[0]} are written")
        equal(written(), sent[0])
        done = d.client("audit", "verify")
        equal(done.returncode, 0, done.stdout.decode() + done.stderr.decode())


@case("the service manager is told of a reload and an upgrade, and its watchdog is fed on")
def service_manager():
    folder = procs.subfolder("n")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(f"{folder}/notify")
    s.settimeout(10)

    def told(what):
        while what not in (got := s.recv(4096).decode()):
            pass
        return got

    d = Installed(start=False)
    d.env.update(NOTIFY_SOCKET=f"{folder}/notify", WATCHDOG_USEC="400000")
    with d.start():
        told("READY=1")
        equal(d.client("ctl", "reload").returncode, 0)
        check("MONOTONIC_USEC=" in told("RELOADING=1"), "with its time")
        told("READY=1")
        d.upgrade()
        check(f"MAINPID={d.pid}" in told("READY=1"), "by the new program")
        told("WATCHDOG=1")
        for pid in d.workers():
            with open(f"/proc/{pid}/environ", "rb") as f:
                text = f.read()
            check(b"NOTIFY_SOCKET" not in text and b"CLAUDEBENCHD_" not in text, text)
            check(set(procs.fd_list(pid)) >= {3, 5}, procs.fd_list(pid))
    s.close()


@case("data of an earlier schema: nothing is lost, and from the first tick on they have today's; those of a newer one are refused")
def schemas():
    with Daemon() as d:
        for schema in (1, 2):
            c = d.caller()
            ids = [c.call("task.create", {"text": f"{i}", "payload": {"i": i}})["id"] for i in range(4)]
            held = c.call("task.claim", {"workerId": "w"})["tasks"][0]
            before = [c.call("task.get", {"id": i}) for i in ids]
            c.close()
            with d.connect() as r:
                for n, i in enumerate(ids):
                    to_schema(r, d.key(f"task:{i}"), 1 + n % schema)
                r.call("HSET", d.key("meta"), "schema", schema)
            d.stop()
            d.start()
            with d.connect() as r:
                equal(r.call("HGET", d.key("meta"), "schema"), b"3")
            c = d.caller()
            equal([c.call("task.get", {"id": i}) for i in ids], before)
            c.call("task.complete", {"id": held["id"], "lease_token": held["lease_token"]})
            equal(c.call("task.claim", {"workerId": "w", "maxTasks": 9})["tasks"][-1]["id"], ids[-1])
            equal(d.client("doctor").returncode, 0)
            c.close()
        with d.connect() as r:
            r.call("HSET", d.key("meta"), "schema", "4")
        d.stop()
        d.start(ready=False)
        wait_until(lambda: d.events("schema_unsuitable"), 10, "said")
        with d.connect() as r:
            equal(r.call("HGET", d.key("meta"), "schema"), b"4", "left alone")


@case("an upgrade in the background: it stays there, with its log and its pid file of the command line")
def background():
    d = Installed(start=False)
    d.config["log"]["destination"] = "stderr"
    d.write_config()
    os.makedirs(d.redis_dir, exist_ok=True)
    pidfile = f"{procs.folder()}/other.pid"  # where run() runs it
    done = procs.run([f"{d.bin}/claudebenchd", "-d", "-p", "other.pid", "-c", os.path.relpath(d.config_path, procs.folder())],
                     env={"CBTEST_DAEMON": d.dir})
    equal(done.returncode, 0, done.stderr.decode())
    with open(pidfile, encoding="ascii") as f:
        pid = int(f.read())
    workers = {w["pid"] for w in status(d)["workers"]}
    d.install("claudebenchd")
    procs.kill(pid, signal.SIGUSR2)
    wait_until(lambda: os.path.samefile(f"/proc/{pid}/exe", f"{d.bin}/claudebenchd"), 10, "the new file runs")
    wait_until(d.is_settled, 15, "settled")
    check(not workers & {w["pid"] for w in status(d)["workers"]}, "new workers")
    equal(os.readlink(f"/proc/{pid}/cwd"), "/")
    equal(d.client("ctl", "reload", "--wait").returncode, 0)
    equal(status(d)["config"]["needs_restart"], [], "-p is still what counts")
    equal(d.client("ctl", "stop", "--wait").returncode, 0)
    check(not os.path.exists(pidfile), "the pid file is removed")
    d.stop(check=False)


if __name__ == "__main__":
    main()
