"""redis_away.py: Redis that is down at the start, dies, hangs, is too old, a replica, or refuses our password."""

import os
import socket
import threading
import time

from cbtest import Daemon, PrivateRedis, case, check, equal, figure, holds_for, main, note, procs, wait_until
from supervised import FakeDaemon, status, timed_status


def external(url, **config):
    """A daemon on an address where no PrivateRedis of ours is (or not one that we know)."""
    d = Daemon(start=False, config=config)
    d.config["redis"].update(embedded=False, url=url)
    return d


def run_to_end(d, timeout=15):
    d.write_config()
    done = procs.run([procs.binary("claudebenchd"), "-c", d.config_path], timeout=timeout)
    return done.returncode, done.stderr.decode()


class OldRedis(threading.Thread):
    """Answers as a Redis of another version would, as far as we get."""

    def __init__(self, info):
        super().__init__(daemon=True)
        self.path = procs.subfolder("o") + "/s"
        self.info = info.encode()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.start()

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        buffer = b""
        try:
            while chunk := s.recv(65536):
                buffer += chunk
                while b"\r\n" in buffer and buffer.startswith(b"*"):
                    head, rest = buffer.split(b"\r\n", 1)
                    words = []
                    for _ in range(int(head[1:])):
                        size, rest = rest.split(b"\r\n", 1)
                        words.append(rest[: int(size[1:])])
                        rest = rest[int(size[1:]) + 2 :]
                    buffer = rest
                    name = words[0].upper()
                    if name == b"INFO":
                        s.sendall(b"$%d\r\n%b\r\n" % (len(self.info), self.info))
                    elif name == b"CLIENT" and words[1].upper() == b"ID":
                        s.sendall(b":7\r\n")
                    elif name == b"XLEN":  # of the slot's canary
                        s.sendall(b":0\r\n")
                    elif name == b"CLUSTER":
                        s.sendall(b"-ERR This instance has cluster support disabled\r\n")
                    elif name == b"PING":
                        s.sendall(b"+PONG\r\n")
                    else:
                        s.sendall(b"+OK\r\n")
        except (OSError, ValueError):
            pass
        s.close()


@case("Redis down at the start: the daemon stays up, degraded, and is ready once Redis is there")
def down_at_start():
    redis = PrivateRedis(aof=True, start=False)
    with Daemon(redis=redis, ready=False, config={"supervisor": {"ready_timeout_ms": 500}}) as d:
        d.wait_runs()
        holds_for(lambda: status(d)["status"] == "degraded", 2.5, "degraded", step=0.1)
        check("redis is down" in status(d)["reasons"][0], f"{status(d)['reasons']}")
        equal(len(d.events("child_started")), 5, "the READY deadline stands still while Redis is away")
        lines = len(d.log().splitlines())
        check(lines < 40, f"{lines} lines:\n{d.log_tail()}")
        redis.start()
        d.wait_ready(8)
    redis.stop()


@case("Redis stops and comes back, again and again", faults="times")
def up_and_down():
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis) as d:
        for _ in range(3):
            redis.kill9()
            wait_until(lambda: status(d)["redis"]["state"] == "down", 3, "down is noticed")
            redis.start()
            began = time.monotonic()
            wait_until(lambda: status(d)["status"] == "healthy", 8, "healthy")
            figure("redis_back_s", time.monotonic() - began)
        equal([e for e in d.events("child_died")], [])
    redis.stop()


@case("Redis hangs: the connection is dropped after redis.timeout_ms, reconnects are spread, the log is quiet", faults="F16")
def hangs():
    redis = PrivateRedis(aof=True)
    with FakeDaemon(redis=redis, config={"redis": {"timeout_ms": 500}}) as d:
        redis.sigstop()
        lines = len(d.log().splitlines())
        wait_until(lambda: status(d)["redis"]["state"] == "down", 2, "noticed")
        took = []
        for _ in range(50):
            took.append(timed_status(d)[1])
            time.sleep(0.02)  # paces the questions
        took.sort()
        # One answer may wait for a CPU; one that waited for Redis would take timeout_ms.
        check(took[44] < 50 and took[-1] < 400, f"{took[44]:.1f} ms, {took[-1]:.1f} ms")
        check(len(d.log().splitlines()) - lines <= 6, d.log_tail(20))
        redis.cont()
        wait_until(lambda: status(d)["status"] == "healthy", 8, "healthy")
    redis.stop()


@case("every worker survives a Redis that hangs for longer than the watchdog", faults="F16")
def workers_survive_hang():
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis, config={"redis": {"timeout_ms": 2500}}) as d:
        pids = d.workers()
        redis.sigstop()
        holds_for(lambda: d.workers() == pids, 6.0, "the same workers, also while they reconnect", step=0.05)
        redis.cont()
        wait_until(lambda: status(d)["status"] == "healthy", 8, "healthy")
        equal(d.workers(), pids)
    redis.stop()


@case("a Redis below 7.0 is refused: 78", faults="F22")
def too_old():
    old = OldRedis("redis_version:6.2.14\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n")
    code, text = run_to_end(external(f"unix://{old.path}"))
    equal(code, 78, text)
    check("6.2.14 is too old" in text, text)


@case("a server whose INFO says nothing is waited for: that is no reason never to be started again", faults="F22")
def not_a_redis():
    odd = OldRedis("nothing:1\r\n")
    with external(f"unix://{odd.path}") as d:
        d.start(ready=False)
        wait_until(lambda: d.events("redis_lost"), 10, "tried again")
        check("INFO does not tell the version" in status(d)["reasons"][0], status(d)["reasons"])


@case("advice about eviction and persistence is given once", faults="F22")
def advice():
    redis = PrivateRedis(aof=False, lines=["maxmemory 100mb"])
    with redis.client() as r:
        r.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with FakeDaemon(redis=redis) as d:
        wait_until(lambda: len(d.events("redis_advice")) == 2, 3, "two pieces of advice")
        redis.restart()
        wait_until(lambda: len(d.events("redis_connected")) >= 2 and status(d)["status"] == "healthy", 8, "again")
        equal(len(d.events("redis_advice")), 2)
    redis.stop()


@case("a replica is not used; when it is promoted it is", faults="F22")
def replica():
    main_ = PrivateRedis(tcp=True)
    redis = PrivateRedis(lines=[f"replicaof 127.0.0.1 {main_.port}"])
    with FakeDaemon(redis=redis, ready=False) as d:
        wait_until(lambda: d.events("redis_unsuitable"), 5, "refused")
        equal(status(d)["redis"]["state"], "down")
        equal(status(d)["reasons"][0], "redis is down: this Redis is a replica, it takes no writes")
        wait_until(lambda: d.events("redis_lost"), 10, "tried again")
        equal(len(d.events("redis_unsuitable")), 1, d.log_tail())
        with redis.client() as r:
            r.call("REPLICAOF", "NO", "ONE")
        wait_until(lambda: status(d)["redis"]["state"] == "up", 10, "used")
    main_.stop()
    redis.stop()


def write_password(path, password):
    with open(path + ".new", "w", encoding="ascii") as f:
        f.write(password + "\n")
    os.rename(path + ".new", path)


OFF = "user default off resetpass ~* &* +@all"


@case("a wrong password: said once with the reason, degraded; the password file put right is enough")
def password_put_right():
    redis = PrivateRedis(aof=True, lines=[OFF, "user me on >geheim123 ~* &* +@all"])
    path = f"{procs.subfolder('p')}/pw"
    write_password(path, "wrong")
    with Daemon(redis=redis, config={"redis": {"user": "me", "password_file": path}}, ready=False) as d:
        d.connect = lambda timeout=10.0: redis.client(user="me", password="geheim123")
        wait_until(lambda: d.events("redis_auth"), 5, "said")
        holds_for(lambda: status(d)["status"] == "degraded", 2.5, "degraded, not dead", step=0.1)
        reason = status(d)["reasons"][0]
        check("redis refuses user or password" in reason and "WRONGPASS" in reason, reason)
        equal(len(d.events("redis_auth")), 1, d.log_tail())
        equal((d.events("child_gave_up"), d.events("child_died")), ([], []))
        check("geheim123" not in d.log() and "wrong" not in d.log().replace("WRONGPASS", ""), "no secrets in the log")
        write_password(path, "geheim123")
        d.wait_ready(12)
        equal(d.caller().call("task.create", {"text": "x"})["status"], "pending")
    redis.process.kill()


@case("a user that Redis does not know yet: served once it does, at the start and later")
def user_put_right():
    redis = PrivateRedis(aof=True)
    path = f"{procs.subfolder('p')}/pw"
    write_password(path, "geheim123")
    with Daemon(redis=redis, config={"redis": {"user": "me", "password_file": path}}, ready=False) as d:
        wait_until(lambda: d.events("redis_auth"), 5, "said")
        with redis.client() as r:
            r.call("ACL", "SETUSER", "me", "on", ">geheim123", "~*", "&*", "+@all")
            d.wait_ready(12)
            r.call("ACL", "DELUSER", "me")  # closes its connections
            wait_until(lambda: "WRONGPASS" in "".join(status(d)["reasons"]), 8, "the reason")
            equal(len(d.events("redis_auth")), 2, "said again: once, by the supervisor")
            r.call("ACL", "SETUSER", "me", "on", ">geheim123", "~*", "&*", "+@all")
        d.wait_ready(12)
        equal((d.events("child_gave_up"), d.events("child_died")), ([], []))
    redis.stop()


@case("workers that lack a right wait for it, and the status says so")
def right_put_right():
    redis = PrivateRedis(aof=True)
    path = f"{procs.subfolder('p')}/pw"
    write_password(path, "geheim123")
    with redis.client() as r:
        r.call("ACL", "SETUSER", "me", "on", ">geheim123", "~*", "&*", "+@all", "-xgroup")
        config = {"redis": {"user": "me", "password_file": path}, "supervisor": {"ready_timeout_ms": 500}}
        with Daemon(redis=redis, config=config, ready=False) as d:
            wait_until(lambda: d.events("redis_auth"), 8, "said")
            said = status(d)
            equal(said["status"], "unhealthy", "no worker of any domain")
            check(any("redis refuses" in text for text in said["reasons"]), f"{said['reasons']}")
            equal({w["state"] for w in said["workers"]}, {"refused"})
            holds_for(lambda: len(d.events("redis_auth")) == 1, 1.5, "one line for all workers", step=0.1)
            check("xgroup" in d.events("redis_auth")[0]["reason"], f"{d.events('redis_auth')}")
            equal((d.events("child_gave_up"), d.events("child_died")), ([], []))
            r.call("ACL", "SETUSER", "me", "+@all")
            d.wait_ready(12)
            r.call("ACL", "SETUSER", "me", "-xreadgroup")  # an open connection loses it at once
            wait_until(lambda: "redis refuses" in "".join(status(d)["reasons"]), 8, "noticed at work")
            lines = len(d.log().splitlines())
            holds_for(lambda: len(d.log().splitlines()) - lines <= 6, 3, "it does not fill the log", step=0.1)
            r.call("ACL", "SETUSER", "me", "+@all")
            d.wait_ready(12)
            r.call("ACL", "SETUSER", "me", "-evalsha")
            wait_until(lambda: "instance cannot beat: the ACL does not give us the right (NOPERM" in "".join(status(d)["reasons"]), 8, "the reason")
            holds_for(lambda: len(d.events("tick_failed")) == 1, 2, "once, not at each tick", step=0.1)
            r.call("ACL", "SETUSER", "me", "+@all")
            d.wait_ready(12)
    redis.stop()


@case("a restart of Redis is one line for each thing that happened, however many workers there are")
def quiet_restart():
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis, config={"domains": {"task": {"workers": 8}}}) as d:
        wait_until(lambda: d.events("leader_elected"), 5, "settled")
        time.sleep(2.1)  # a connection that has lasted
        lines = len(d.log().splitlines())
        redis.kill9()
        wait_until(lambda: d.events("daemon_degraded"), 5, "degraded")
        redis.start()
        d.wait_ready(12)
        wait_until(lambda: all(w["state"] == "idle" for w in status(d)["workers"]), 8, "all workers are back")
        said = [e["event"] for e in d.events()[lines:]]
        equal(sorted(e for e in said if not e.startswith("leader_") and e != "redis_loading"),
              ["daemon_degraded", "daemon_ready", "redis_connected", "redis_lost"], d.log_tail(20))
        check(len([e for e in d.events("leader_elected")]) == 1, "elected once, however often it leads on")
        # Again and again: no worker speaks, and a connection that does not last is not news each time.
        lines = len(d.log().splitlines())
        for _ in range(4):
            redis.restart()
            wait_until(lambda: status(d)["redis"]["state"] == "up", 8, "up")
        d.wait_ready(12)
        said = d.log().splitlines()[lines:]
        check(not [s for s in said if "claudebench-worker" in s], "\n".join(said))
        events = [e["event"] for e in d.events()[lines:]]
        check(set(events) <= {"daemon_degraded", "daemon_ready", "leader_lost", "leader_resumed", "redis_lost", "redis_connected",
                              "redis_loading"},
              "\n".join(said))
        check(all(events.count(e) <= 4 for e in events), "each thing once for each restart:\n" + "\n".join(said))
    redis.stop()


@case("two daemons with one instance id: the second ends with 75, a restarted one goes on at once")
def same_id():
    redis = PrivateRedis(aof=True)
    with FakeDaemon(redis=redis) as d:
        other = external(redis.url)
        other.config["redis"].update(redis.login())
        code, text = run_to_end(other)
        equal(code, 75, text)
        check("the instance id test-host is in use by another live daemon" in text, text)
        equal(status(d)["status"], "healthy")
        d.process.kill()  # and at once again: its secret proves it
        d.process.wait()
        d.start()
        equal(status(d)["status"], "healthy")
    redis.stop()


@case("at most three commands a second from an idle supervisor")
def idle():
    redis = PrivateRedis(aof=True)
    with FakeDaemon(redis=redis) as d:
        with redis.client() as r:
            def calls():
                rows = r.call("INFO", "commandstats").decode().splitlines()
                found = {row.split(":")[0]: int(row.split("calls=")[1].split(",")[0]) for row in rows if "calls=" in row}
                return sum(found.get(f"cmdstat_{n}", 0) for n in ("evalsha", "info", "ping", "client|list", "xinfo|consumers"))
            first, began = calls(), time.monotonic()
            time.sleep(4)  # the measured time
            rate = (calls() - first - 1) / (time.monotonic() - began)
        note(f"{rate:.2f} commands a second")
        check(rate <= 3.05, f"{rate} commands a second")
        with open(f"/proc/{d.pid}/stat", encoding="ascii", errors="replace") as f:
            before = f.read().rpartition(")")[2].split()
        time.sleep(3)  # the measured time
        with open(f"/proc/{d.pid}/stat", encoding="ascii", errors="replace") as f:
            after = f.read().rpartition(")")[2].split()
        ticks = sum(int(after[i]) - int(before[i]) for i in (11, 12))
        check(ticks <= 6, f"{ticks} ticks of CPU in 3 s")
    redis.stop()


@case("SCRIPT FLUSH goes unnoticed", faults="F23")
def script_flush():
    redis = PrivateRedis(aof=True)
    with FakeDaemon(redis=redis) as d:
        with redis.client() as r:
            for _ in range(5):
                r.call("SCRIPT", "FLUSH")
                before = r.call("HGET", "cb:instance:test-host", "beat")
                wait_until(lambda b=before: r.call("HGET", "cb:instance:test-host", "beat") != b, 2, "the next beat")
        check(not d.events("script_error"), d.log_tail())
        equal(status(d)["status"], "healthy")
    redis.stop()


@case("connections that are cut every 100 ms do not stop it, nor fill the log", faults="F15")
def cut():
    redis = PrivateRedis(aof=True)
    with FakeDaemon(redis=redis) as d:
        lines = len(d.log().splitlines())
        with redis.client() as r:
            for _ in range(30):
                r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(0.1)  # paces the faults
        grown = len(d.log().splitlines()) - lines
        check(grown <= 12, f"{grown} lines in 3 s:\n{d.log_tail(grown)}")
        wait_until(lambda: status(d)["status"] == "healthy", 8, "healthy")
    redis.stop()


@case("a leader that cannot renew steps down in time")
def steps_down():
    redis = PrivateRedis(aof=True)
    with FakeDaemon(redis=redis, config={"redis": {"timeout_ms": 10000}}) as d:
        wait_until(lambda: status(d)["leader"]["is_self"], 3, "it leads")
        redis.sigstop()
        began = time.monotonic()
        wait_until(lambda: not status(d)["leader"]["is_self"], 3, "steps down")
        took = time.monotonic() - began
        check(took <= 2.5, f"after {took:.2f} s, the lease is 2 s")  # half a second for a busy machine to run it, and to say so
        check(d.events("leader_lost"), "said")
        redis.cont()
        wait_until(lambda: status(d)["leader"]["is_self"], 5, "leads again")
    redis.stop()


if __name__ == "__main__":
    main()
