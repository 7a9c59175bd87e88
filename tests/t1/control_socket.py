"""control_socket.py: the control socket under good, greedy, slow, lying and vanishing clients."""

import json
import os
import shutil
import signal
import socket
import subprocess

import modes
from cbtest import Daemon, Skip, case, check, equal, holds_for, main, procs, wait_until
from supervised import Control, FakeDaemon, status, timed_status


def raw(daemon):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(5)
    s.connect(f"{daemon.dir}/control.sock")
    return s


def drain(s):
    """What comes until the end of the file."""
    got = b""
    try:
        while chunk := s.recv(65536):
            got += chunk
    except ConnectionResetError:
        pass
    return got


@case("status says all that it promises")
def fields():
    with FakeDaemon() as d:
        s = status(d)
        equal(sorted(s), ["audit", "circuits", "config", "data", "figures", "figures_age_ms", "hooks", "hosts", "incarnation", "instance", "leader", "log", "methods", "pid",
                          "reasons", "redis", "requests", "since", "status", "uptime_ms", "version", "workers"])
        equal(sorted(s["audit"]), ["file", "hash", "id", "local_last_hour", "lost", "records", "seq", "state", "waiting"])
        equal((s["pid"], s["instance"], s["reasons"]), (d.pid, "test-host", []))
        equal(sorted(s["redis"]), ["appendfsync", "embedded", "max_memory", "since", "state", "url", "used_memory"])
        equal(s["redis"]["url"], d.redis.shown_url)
        wait_until(lambda: status(d)["redis"]["used_memory"] > 500000, 3, "memory is known")
        wait_until(lambda: status(d)["leader"]["is_self"], 3, "leads")
        equal(sorted(status(d)["leader"]), ["epoch", "id", "is_self"])
        for w in s["workers"]:
            equal(sorted(w), ["age_ms", "domain", "entry", "generation", "method", "next_start_ms", "pid", "requests",
                              "restarts", "slot", "state"])


@case("status says what only Redis knows, and the last lines of the log, and does not wait for a Redis that is stopped")
def figures():
    with FakeDaemon() as d:
        f = status(d)["figures"]
        equal(sorted(f), ["all_paused", "backlog", "global", "instance_count", "instances", "leader", "more_queues", "queues", "scaling", "tasks"])
        equal(sorted(f["backlog"]), ["archive", "hook", "system", "task", "test"])
        equal([(i["id"], i["kind"], i["held"]) for i in f["instances"]], [("test-host", "daemon", 0)])
        lines = status(d)["log"]
        check(0 < len(lines) <= 32, lines)
        equal(sorted(lines[0]), ["at", "level", "pid", "program", "text"])
        check(any(x["text"].startswith("event=daemon_started") and x["pid"] == d.pid for x in lines), lines)
        equal([x["at"] for x in lines], sorted(x["at"] for x in lines))
        d.redis.sigstop()
        try:
            with Control(d) as c:
                c.send(b'{"cmd":"status"}\n{"cmd":"ping"}\n')
                check(c.answer()["figures"], "the last ones")
                equal(c.answer()["ok"], True)
        finally:
            d.redis.cont()


@case("many requests on one connection, answered in order")
def pipelined():
    with FakeDaemon() as d:
        with Control(d) as c:
            c.send(b'{"cmd":"ping"}\n' * 50 + b'{"cmd":"status"}\n' + b' { "cmd" : "ping" } \n')
            for _ in range(50):
                equal(c.answer(), {"ok": True, "pid": d.pid})
            equal(c.answer()["pid"], d.pid)
            equal(c.answer()["ok"], True)


@case("what is no request gets an error and the next one is served")
def nonsense():
    with FakeDaemon() as d:
        with Control(d) as c:
            for line in (b"", b"x", b"{", b"[]", b"1", b"{}", b'{"cmd":1}', b'{"cmd":"launch"}', b'{"cmd":null}', b"\xff\xfe",
                         b'{"cmd":"ping"}}', b'{"cmd":"ping"} x', b"\0", b'{"cmd":' + b"[" * 300 + b"}"):
                c.send(line + b"\n")
                answer = c.answer()
                check("error" in answer and answer["code"] == 64, f"{line!r}: {answer}")
            equal(c.ask("ping")["ok"], True)


@case("a line without an end is cut off, others are served")
def long_line():
    with FakeDaemon() as d:
        s = raw(d)
        try:
            s.sendall(b"x" * 100000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        equal(drain(s), b"")
        equal(status(d)["status"], "healthy")


@case("clients that never read, never write, or vanish cost nothing")
def slow_and_gone():
    with FakeDaemon() as d:
        fds = procs.fd_count(d.pid)
        greedy = raw(d)
        greedy.settimeout(0.2)
        try:
            for _ in range(400):  # some MB of answers that nobody takes
                greedy.sendall(b'{"cmd":"status"}\n' * 50)
        except (socket.timeout, BrokenPipeError, ConnectionResetError):
            pass
        silent = [raw(d) for _ in range(10)]
        for _ in range(50):
            gone = raw(d)
            gone.sendall(b'{"cmd":"status"}\n')
            gone.close()
        half = raw(d)
        half.sendall(b'{"cmd":"sta')
        took = sorted(timed_status(d)[1] for _ in range(5))
        check(took[2] < 50, f"answered in {took} ms")
        check(procs.rss_kib(d.pid) < 64 * 1024, f"{procs.rss_kib(d.pid)} KiB")
        for s in [greedy, half, *silent]:
            s.close()
        wait_until(lambda: procs.fd_count(d.pid) <= fds, 8, "descriptors are back")


@case("more clients than there is room for: the surplus is told so and closed, the rest work")
def crowd():
    with FakeDaemon() as d:
        crowd_ = [raw(d) for _ in range(60)]
        closed = 0
        for s in crowd_:
            try:
                s.sendall(b'{"cmd":"ping"}\n')
                closed += b"too many clients" in s.recv(4096)
            except (BrokenPipeError, ConnectionResetError):
                closed += 1
        check(20 <= closed <= 40, f"{closed} closed")
        for s in crowd_:
            s.close()
        wait_until(lambda: status(d)["status"] == "healthy", 2, "room again")


def reachable():
    """The client where anybody may run it (the build tree need not be)."""
    path = f"{procs.folder()}/claudebench"
    shutil.copy(procs.binary("claudebench"), path)
    os.chmod(path, 0o755)
    return path


@case("a peer of another user and group is refused")
def other_user():
    if os.geteuid() != 0:
        from cbtest import Skip

        raise Skip("needs root to become somebody else")
    with FakeDaemon() as d:
        for path in (d.dir, procs.folder()):
            os.chmod(path, 0o755)
        os.chmod(f"{d.dir}/control.sock", 0o666)  # even then
        program = ("import os,socket,sys\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
                   "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
                   "try: s.sendall(b'{\"cmd\":\"stop\"}\\n')\n"
                   "except OSError: pass\n"  # it may have hung up already: its word is there all the same
                   "print(s.recv(100))\n")
        done = procs.run(["python3", "-c", program, f"{d.dir}/control.sock"])
        equal(done.stdout.strip(), b"b'{\"error\":\"not permitted\",\"code\":77}\\n'", done.stderr.decode())
        equal(status(d)["status"], "healthy")
        check(d.events("control_client_error"), "said in the log")
        # The client says it: whether the socket's mode or the daemon keeps it out.
        os.chmod(d.config_path, 0o644)
        for mode in (0o666, 0o600):
            os.chmod(f"{d.dir}/control.sock", mode)
            shown = procs.run(["python3", "-c", "import os,sys\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
                               "os.execv(sys.argv[1], sys.argv[1:])\n", reachable(), "status", "-c", d.config_path])
            equal(shown.returncode, 77, f"{mode:o}: {shown.stderr}")
            check(b"you may not ask this daemon" in shown.stderr, shown.stderr)


@case("counters of dead workers are not lost")
def totals():
    from cbtest import Daemon

    with Daemon() as d:
        c = d.caller()
        for i in range(30):
            c.call("task.create", {"text": f"t{i}"})
        wait_until(lambda: status(d)["methods"].get("task.create", {}).get("requests") == 30, 3, "counted")
        before = status(d)
        for pid in d.workers("task"):
            procs.kill(pid)
        wait_until(lambda: status(d)["status"] == "healthy" and len(d.workers("task")) == 2, 5, "replaced")
        after = status(d)
        equal(after["methods"]["task.create"]["requests"], 30)
        check(after["requests"]["total"] >= before["requests"]["total"], f"{before['requests']} {after['requests']}")
        m = after["methods"]["task.create"]
        check(0 < m["p50_us"] <= m["p95_us"] <= m["p99_us"] < 10**6, f"{m}")


@case("the answer is one line of valid JSON, also for hostile names")
def one_line():
    with FakeDaemon() as d:
        s = raw(d)
        s.sendall(b'{"cmd":"status"}\n')
        got = b""
        while not got.endswith(b"\n"):
            got += s.recv(65536)
        equal(got.count(b"\n"), 1)
        json.loads(got)
        s.close()


@case("a client waits for a daemon whose queue of connections is full, as long as for its answer")
def full_queue():
    with FakeDaemon() as d:
        procs.kill(d.pid, signal.SIGSTOP)
        waiting, full = [], False
        while not full and len(waiting) < 5000:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.setblocking(False)
            waiting.append(s)
            try:
                s.connect(f"{d.dir}/control.sock")
            except BlockingIOError:
                full = True
        check(full, "the queue has an end")
        asked = procs.start([procs.binary("claudebench"), "status"], env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        holds_for(lambda: asked.poll() is None, 0.3, "it waits")
        procs.kill(asked.pid, signal.SIGSTOP)  # which ends a connect() with a time-out, as Ctrl-Z does
        wait_until(lambda: procs.stat(asked.pid)[0] == "T", 5, "stopped")
        procs.kill(asked.pid, signal.SIGCONT)
        holds_for(lambda: asked.poll() is None, 0.3, "it waits on")
        for s in waiting:
            s.close()
        procs.kill(d.pid, signal.SIGCONT)
        out, err = asked.communicate(timeout=20)
        equal((asked.returncode, out[:6]), (0, b"status"), err)


class Roaming(Daemon):
    """Its sockets are in a folder of their own, as a user's are in $XDG_RUNTIME_DIR; links lead there."""

    def __init__(self):
        folder = procs.subfolder("d")
        self.run = f"{folder}/run/claudebench"
        for name in ("control.sock", "redis.sock"):
            os.symlink(f"{self.run}/{name}", f"{folder}/{name}")
        super().__init__(folder=folder, config={"redis": {"url": f"unix://{self.run}/redis.sock"},
                                                "supervisor": {"control_socket": f"{self.run}/control.sock"}})

    def works(self):
        return self.client("status").returncode == 0 and self.client("task", "add", "x", timeout=60).returncode == 0


@case("the folder of the sockets goes away: they are made anew, twice, and one that is removed by itself; nothing is lost")
def gone():
    if modes.IS_CLUSTER:
        raise Skip("the Redis is not the daemon's own")
    with Roaming() as d:
        check(d.works(), "it works")
        mode = os.stat(f"{d.run}/control.sock").st_mode
        for n in (1, 2):
            shutil.rmtree(d.run)
            d.logged("control_socket_renewed", n=n, timeout=10)
            d.logged("redis_socket_gone", n=n, timeout=15)
            wait_until(d.works, 20, lambda: f"it works again: {d.log_tail()}", step=0.2)
            equal(os.stat(f"{d.run}/control.sock").st_mode, mode)
            second = procs.run([procs.binary("claudebenchd"), "-c", d.config_path])
            check(second.returncode == 75, second.stderr)
        os.unlink(f"{d.run}/control.sock")
        d.logged("control_socket_renewed", n=3, timeout=10)
        wait_until(d.works, 20, "it works")
        with d.connect() as r:
            check(r.call("ZCARD", "cb:queue:tasks:pending") >= 4, "tasks of before are there")


@case("the folder cannot be made anew, or something else is in its place: said in the log and in health, until it can")
def gone_for_good():
    if modes.IS_CLUSTER:
        raise Skip("the Redis is not the daemon's own")
    with Roaming() as d:
        c = d.caller()
        c.call("system.health")  # its function is in Redis: a worker that loads it needs another connection
        shutil.rmtree(d.run)
        with open(d.run, "w", encoding="ascii"):
            pass
        d.logged("control_socket_gone", timeout=10)

        def told():
            health = c.call("system.health")
            return health["status"], health["services"]["supervisor"], any("a socket is gone" in r for r in health["reasons"])

        wait_until(lambda: told() == ("degraded", "degraded", True), 15, lambda: f"told: {told()}", step=0.2)
        check("a socket is gone" in d.logged("daemon_degraded", timeout=10)[-1]["reason"], d.log_tail())
        equal(d.events("redis_socket_gone"), [], "the server is left alone as long as nothing would come of it")
        os.unlink(d.run)
        d.logged("control_socket_renewed", timeout=10)
        d.logged("redis_socket_gone", timeout=15)
        wait_until(d.works, 20, "it works again", step=0.2)


if __name__ == "__main__":
    main()
