"""stopping.py: TERM, INT, QUIT, a second TERM, the time-out, `stop` on the control socket, and other signals."""

import fcntl
import os
import signal
import struct
import subprocess
import termios
import time

from cbtest import Daemon, case, check, equal, holds_for, main, procs, wait_until
from supervised import Control, FakeDaemon, status, worker


def end(daemon, *signals, want=0, within=3.0):
    """Sends the signals, 100 ms apart, and returns how long the daemon took."""
    began = time.monotonic()
    for i, signum in enumerate(signals):
        if i:
            time.sleep(0.1)  # the second one comes later
        procs.kill(daemon.pid, signum)
    daemon.process.wait(20)
    took = time.monotonic() - began
    equal(daemon.process.returncode, want, daemon.log_tail())
    check(took < within, f"took {took:.2f} s\n{daemon.log_tail()}")
    return took


def events(daemon):
    return [e["event"] for e in daemon.events()]


@case("TERM and INT drain and exit 0", faults="F11")
def graceful():
    for signum in (signal.SIGTERM, signal.SIGINT):
        with FakeDaemon(workers=3) as d:
            end(d, signum)
            equal(len([e for e in events(d) if e == "child_stopped"]), 4, "workers that ended as told")
            check("child_killed" not in events(d) and "child_died" not in events(d), d.log_tail())
            equal(events(d)[-1], "daemon_stopped")
            for name in ("pid", "control.sock"):
                check(not os.path.exists(f"{d.dir}/{name}"), f"{name} is removed")


@case("Ctrl-C reaches the supervisor only, workers drain")
def interrupt_group():
    with FakeDaemon() as d:
        pids = [w["pid"] for w in status(d)["workers"]]
        check(all(os.getpgid(p) == p for p in pids), "each worker has its own process group")
        end(d, signal.SIGINT)


@case("QUIT kills at once and exits 0")
def quit_now():
    with FakeDaemon("task:stubborn system:stubborn") as d:
        end(d, signal.SIGQUIT, within=1.5)
        equal(len([e for e in events(d) if e == "child_killed"]), 2)


@case("a second TERM or INT, or QUIT behind one, kills at once", faults="F11")
def second_term():
    for second in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        with FakeDaemon("task:stubborn") as d:
            end(d, signal.SIGTERM, second, within=2)
            check("child_killed" in events(d), d.log_tail())


@case("a worker that does not drain is killed at stop_timeout_ms: exit 1", faults="F11")
def timeout():
    d = FakeDaemon("task:stubborn", config={"supervisor": {"stop_timeout_ms": 600}})
    took = end(d, signal.SIGTERM, want=1)
    d.stop(want=1)
    check(took >= 0.6, f"{took}")
    check("stop_timeout" in events(d) and "child_killed" in events(d), d.log_tail())


@case("a stopped worker is killed by the watchdog while draining: exit 0")
def hung_while_draining():
    with FakeDaemon("task:stubborn", config={"supervisor": {"watchdog_ms": 500}}) as d:
        procs.kill(worker(d, 0)["pid"], signal.SIGSTOP)
        end(d, signal.SIGTERM)
        check("child_hung" in events(d), d.log_tail())


@case("TERM while workers wait for their restart, or gave up")
def while_dead():
    with FakeDaemon("task:crash system:config", ready=False, config={"supervisor": {"restart_min_ms": 5000, "restart_max_ms": 9000}}) as d:
        wait_until(lambda: "child_gave_up" in events(d) and "child_died" in events(d), 5, "both are dead")
        end(d, signal.SIGTERM, within=2)


@case("TERM right after the start, at any moment")
def early():
    for n in range(12):
        with FakeDaemon(ready=False) as d:
            d.wait_runs()
            time.sleep(n * 0.005)  # another moment each time
            end(d, signal.SIGTERM)


@case("stop over the control socket is answered and is graceful")
def stop_command():
    with FakeDaemon() as d:
        with Control(d) as c:
            equal(c.ask("stop")["ok"], True)
        d.process.wait(5)
        equal(d.process.returncode, 0)
        check("child_killed" not in events(d), d.log_tail())


@case("with Redis stopped, TERM still ends the daemon", faults="F11")
def redis_stopped():
    with FakeDaemon(config={"redis": {"timeout_ms": 800}}) as d:
        d.redis.sigstop()
        end(d, signal.SIGTERM, within=4)
        d.redis.cont()


@case("with the embedded redis-server stopped: killed in the end, exit 1")
def embedded_stopped():
    d = Daemon(config={"redis": {"timeout_ms": 500}, "supervisor": {"stop_timeout_ms": 1000}})
    redis = d.redis_pid()
    procs.kill(redis, signal.SIGSTOP)
    end(d, signal.SIGTERM, want=1, within=16)
    d.stop(want=1)
    check(not procs.alive(redis), "redis-server is gone")


@case("leadership is given up and the instance unregisters")
def leaves():
    with FakeDaemon() as d:
        wait_until(lambda: status(d)["leader"]["is_self"], 3, "it leads")
        end(d, signal.SIGTERM)
        with d.redis.client() as r:
            equal(r.call("EXISTS", "cb:leader:current"), 0)
            equal(r.call("HGET", "cb:instance:test-host", "st"), b"OFFLINE")


@case("USR1 opens the log again, in the supervisor and its workers")
def reopen():
    log = procs.subfolder("l") + "/file"
    d = Daemon(start=False, config={"log": {"destination": log}})
    d.start()
    with d:
        pids = d.workers()
        os.rename(log, log + ".1")
        procs.kill(d.pid, signal.SIGUSR1)
        wait_until(lambda: os.path.exists(log), 2, "a new file")
        wait_until(lambda: "event=log_reopened" in open(log, encoding="utf-8").read(), 2, "it is used")
        equal(d.workers(), pids, "no worker died of it")
        wait_until(lambda: all(f"{log}.1" not in procs.fd_list(p).values() for p in [d.pid, *pids]), 2,
                   "nobody holds the old file")


@case("WINCH of a terminal that was resized drains nobody")
def resized():
    master, slave = os.openpty()

    def on_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    d = FakeDaemon(start=False)
    d.write_config()
    with open(d.log_path, "ab") as log:
        d.process = subprocess.Popen([procs.binary("claudebenchd"), "-c", d.config_path], stdin=slave, stdout=log, stderr=log,
                                     env=procs.environment({"CBTEST_DAEMON": d.dir, **d.env}), cwd="/", preexec_fn=on_terminal)
    with d:
        d.wait_ready()
        before = [w["pid"] for w in status(d)["workers"]]
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        procs.kill(d.pid, signal.SIGTTIN)  # what comes behind it was seen, so it was, too
        wait_until(lambda: len(status(d)["workers"]) == len(before) + 2, 5, "two more")
        check(set(before) <= {w["pid"] for w in status(d)["workers"]} and "drain_started" not in events(d), d.log_tail())
    os.close(master)
    os.close(slave)


@case("HUP, TTIN, TTOU and PIPE do not end it")
def harmless():
    with FakeDaemon() as d:
        for signum in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE):
            procs.kill(d.pid, signum)
        holds_for(lambda: status(d)["status"] == "healthy", 0.5, "healthy", step=0.05)


if __name__ == "__main__":
    main()
