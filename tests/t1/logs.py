"""logs.py: what a running daemon and its workers log, and where: text, JSON, the journal, syslog; repeats; which request."""

import json
import os
import re
import socket
import threading

from cbtest import Daemon, Skip, case, check, equal, main, note, procs, wait_until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
LEVELS = {"error": 3, "warn": 4, "info": 6, "debug": 7}


def disturb(d):
    """Lines of each level and of both programs: a refused request, a worker that dies, values that need quotes."""
    c = d.caller()
    c.refused("task.create", {"text": ""}, rid='a "b"\n\x1b[31m')
    wait_until(lambda: "request_refused" in d.log(), 5, "it is said")
    procs.kill(d.workers("task")[0])
    wait_until(lambda: "child_died" in d.log() and len(d.workers("task")) == 2, 5, "replaced")


@case("text: each line is time, level, program and process, then event=… and key=value")
def text():
    with Daemon(config={"log": {"level": "debug"}}) as d:
        disturb(d)
    lines = d.log().splitlines()
    value = r'("(?:[^"\\]|\\.)*"|[^\s"=]*)'
    shape = re.compile(rf"{STAMP} (error|warn|info|debug) (claudebenchd|claudebench-worker)\[\d+\] event=\w+( context={value})?( \w+={value})*")
    for line in lines:
        check(shape.fullmatch(line), repr(line))
    equal({shape.fullmatch(line).group(1) for line in lines}, {"warn", "info", "debug"})
    equal({shape.fullmatch(line).group(2) for line in lines}, {"claudebenchd", "claudebench-worker"})


@case("JSON: each line is one object with time, level, program, process and event")
def as_json():
    with Daemon(config={"log": {"level": "debug", "format": "json"}}) as d:
        disturb(d)
    lines = [json.loads(line) for line in d.log().splitlines()]
    for line in lines:
        check(re.fullmatch(STAMP, line["time"]) and line["level"] in LEVELS and isinstance(line["process"], int) and line["event"], line)
    refused = [line for line in lines if line["event"] == "request_refused"]
    equal([(r["id"], r["method"], r["code"]) for r in refused], [('a "b"\n\x1b[31m', "task.create", -32602)])
    check(all(c == "\n" or c.isprintable() for c in d.log()), "nothing that a terminal would obey")


@case("stderr to the journal: priorities in front, no time of its own; of workers, too")
def journal():
    d = Daemon(start=False, config={"log": {"level": "debug"}})
    with open(d.log_path, "w", encoding="ascii") as f:
        st = os.fstat(f.fileno())
    d.env["JOURNAL_STREAM"] = f"{st.st_dev}:{st.st_ino}"
    with d.start():
        disturb(d)
    for line in d.log().splitlines():
        found = re.match(r"<(\d)>(\w+) event=\w+", line)
        check(found and int(found.group(1)) == LEVELS[found.group(2)], line)
    check("<4>warn event=child_died" in d.log() and re.search(r"<7>debug event=worker_ready context=\S+", d.log()), d.log_tail())


class Syslog:
    """/dev/log of one daemon: a mount namespace with a /dev of its own; `inside` is what Daemon runs it with."""

    def __init__(self):
        self.dev = procs.subfolder("dev")
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        if procs.run([*unshare, "true"]).returncode != 0:
            raise Skip("mount namespaces need root or user namespaces")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"{self.dev}/log")
        script = 'for f in null zero random urandom; do : >"$0/$f" && mount --bind "/dev/$f" "$0/$f" || exit; done; mount --rbind "$0" /dev && exec "$@"'
        self.inside = [*unshare, "sh", "-c", script, self.dev]
        self.lines = []
        self.reads = threading.Event()
        self.reads.set()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while self.reads.wait():
            self.lines.append(self.socket.recv(65536).decode())

    def restart(self):
        """Another process on the same path."""
        os.unlink(f"{self.dev}/log")
        old, self.socket = self.socket, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"{self.dev}/log")
        old.shutdown(socket.SHUT_RDWR)
        old.close()


@case("syslog: facility daemon, a priority for each level, name and process; of workers, too")
def syslog():
    log = Syslog()
    d = Daemon(start=False, at=log, config={"log": {"destination": "syslog", "level": "debug"}})
    with d.start():
        c = d.caller()
        c.refused("task.create", {"text": ""})
        wait_until(lambda: any("request_refused" in line for line in log.lines), 5, "it is said")
        procs.kill(d.workers("task")[0])
        wait_until(lambda: any("child_died" in line for line in log.lines) and len(d.workers("task")) == 2, 5, "logged")
    shape = re.compile(r"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d (claudebenchd|claudebench-worker)\[(\d+)\]: (\w+) .*event=(\w+).*", re.S)
    seen = set()
    for line in log.lines:
        found = shape.fullmatch(line.rstrip("\0\n"))
        check(found and int(found.group(1)) == 3 * 8 + LEVELS[found.group(4)], line)
        seen.add((found.group(2), found.group(5)))
    check({("claudebenchd", "child_died"), ("claudebench-worker", "request_refused"), ("claudebenchd", "daemon_stopped")} <= seen, seen)
    equal(d.log(), "", "nothing on stderr")


@case("a syslog that is configured and not there: the log is stderr, and says so; a reload finds one that is there by now")
def absent_syslog():
    log = Syslog()
    os.rename(f"{log.dev}/log", f"{log.dev}/away")
    d = Daemon(start=False, at=log, config={"log": {"destination": "syslog"}})
    with d.start():
        wait_until(lambda: "event=daemon_ready" in d.log(), 10, d.log_tail)
        check(d.log().startswith("claudebenchd: there is no syslog: the log is stderr\n"), d.log())
        equal([e["destination"] for e in d.events("syslog_absent")], ["stderr"])
        d.client("ctl", "reload", "--wait")
        equal(len(d.events("syslog_absent")), 2, "each reload says it again")
        os.rename(f"{log.dev}/away", f"{log.dev}/log")
        equal(d.client("ctl", "reload", "--wait").returncode, 0)
        wait_until(lambda: any("event=config_reloaded" in line for line in log.lines), 10, "from now on it gets the lines")
        before = d.log()
        d.caller().refused("task.create", {"text": ""})
        procs.kill(d.workers("task")[0])
        wait_until(lambda: any("child_died" in line for line in log.lines), 10, "these, too")
        equal(d.log(), before, "and stderr no more")


@case("a syslog that does not read keeps nobody waiting: lines are lost and counted; one that is started anew gets the next")
def deaf_syslog():
    log = Syslog()
    log.reads.clear()
    d = Daemon(start=False, at=log, config={"log": {"destination": "syslog", "level": "debug"}})
    with d.start():
        c = d.caller(schemas=False)
        sent = 0

        def is_full():
            nonlocal sent
            sent += 50
            return all(r.code == -32602 for r in c.wait_all(c.send_many([("task.create", {"text": ""}, {}) for _ in range(50)]), 10)) and \
                d.client("ctl", "log-level", "daemon", "debug").returncode == 0 and sent >= 1000

        wait_until(is_full, 30, "answers while nobody reads")
        log.reads.set()
        wait_until(lambda: d.client("ctl", "log-level", "daemon", "debug").returncode == 0 and
                   any("event=log_lines_lost" in line for line in log.lines), 10, "it says how many were lost")
        log.restart()
        before = len(log.lines)
        wait_until(lambda: d.client("ctl", "log-level", "daemon", "debug").returncode == 0 and
                   any("log_level_set" in line for line in log.lines[before:]), 10, "the new one hears it")


@case("each line about a request has its entry, id, method and trace")
def which_request():
    with Daemon(config={"log": {"level": "debug"}}) as d:
        c = d.caller(schemas=False)
        rid = c.send("task.create", {"text": ""}, more=[("trace", TRACE)])
        equal(c.wait(rid).code, -32602)
        with d.connect() as r:
            r.call("SET", "cb:queue:tasks:pending", "not a sorted set")
        broken = c.send("task.create", {"text": "t"}, more=[("trace", TRACE)])
        equal(c.wait(broken).code, -32603)
        bare = c.send("task.create", {"text": "t"})
        equal(c.wait(bare).code, -32603)
        with d.connect() as r:
            r.call("DEL", "cb:queue:tasks:pending")
            r.call("XADD", "cb:requests:task", "*", "id", "nothing else", "trace", TRACE)
        wait_until(lambda: d.events("dead_letter"), 5, "a dead letter")
    told = {(e["event"], e["id"]): e for e in d.events() if e["event"] in ("request_refused", "request_failed", "script_error", "dead_letter")}
    equal(sorted(told), sorted([("request_refused", rid), ("request_failed", broken), ("script_error", broken), ("request_failed", bare),
                                ("script_error", bare), ("dead_letter", '"nothing else"')]))
    for (event, request), e in told.items():
        check(re.fullmatch(r"\d+-\d+", e["entry"]), e)
        equal(e["trace"], "-" if request == bare else TRACE, event)
        equal(e["method"], "-" if event == "dead_letter" else "task.create", event)
    check("WRONGTYPE" in told["script_error", broken]["error"] and "WRONGTYPE" in told["request_failed", broken]["reason"], told)


@case("a line that comes again and again is written five times a second, and says how many were left out")
def repeats():
    with Daemon(config={"log": {"level": "debug"}, "domains": {"task": {"workers": 1}}}) as d:
        c = d.caller(schemas=False)
        sent = 0

        def lines():
            return d.events("request_refused")

        def all_told():
            nonlocal sent
            rids = c.send_many([("task.create", {"text": ""}, {}) for _ in range(20)])
            c.wait_all(rids, 10)
            sent += len(rids)
            return len(lines()) >= 7

        wait_until(all_told, 10, "lines of a second second", step=0.1)
        first = next(i for i, e in enumerate(lines()) if "suppressed" in e)
        equal(first, 5, "the line behind five")
        left_out = sum(int(e.get("suppressed", 0)) for e in lines())
        check(0 < left_out <= sent - len(lines()), f"{sent} refused, {len(lines())} lines, {left_out} left out")
        note(f"{sent} refused, {len(lines())} lines, {left_out} said to be left out")


if __name__ == "__main__":
    main()
