#!/usr/bin/env python3
"""runbook_run.py: every situation of doc/runbook.md, made with a daemon of its own; its commands run in their order, with the exit
status that stands there, and say what is quoted."""

import os
import re
import shutil
import subprocess

from cbtest import *

SRC, BUILD = os.path.abspath(procs.top_srcdir()), os.path.abspath(procs.top_builddir())
RUNBOOK = "doc/runbook.md"


def sections():
    """{title: [("sh" or "text", lines)…]}"""
    with open(f"{SRC}/{RUNBOOK}", encoding="utf-8") as f:
        parts = re.split(r"^## (.*)$", f.read(), flags=re.M)
    return {parts[i]: [(kind, text.splitlines()) for kind, text in re.findall(r"```(\w+)\n(.*?)```", parts[i + 1], re.S)]
            for i in range(1, len(parts), 2)}


class Situation:
    """A machine with a package on it, as far as the commands can tell. Subclasses make the situation."""

    config = {}
    is_running = True  # when the administrator comes

    def __init__(self):
        self.daemon = Daemon(start=False, config=self.config)
        self.dir = procs.subfolder("m")
        for name in ("root", "backups", "bin"):
            os.makedirs(f"{self.dir}/{name}")
        os.makedirs(self.daemon.redis_dir)
        self.env = procs.environment({"PATH": f"{BUILD}:{os.environ['PATH']}", "CLAUDEBENCH_CONFIG": self.daemon.config_path,
                                      "CBTEST_DAEMON": self.daemon.dir, "HOME": self.dir})
        self.said = ""
        self.task = ""
        self.prepare()

    def prepare(self):
        self.daemon.start()

    def edit(self):
        """What the administrator changes in the configuration."""
        fail("nothing is to be edited here")

    def put_in(self, command):
        for there, here in (("/etc/claudebench/rules.d", f"{self.dir}/rules.d"), ("/etc/claudebench/claudebench.yaml", self.daemon.config_path),
                            ("/var/lib/claudebench/redis", self.daemon.redis_dir), ("/run/claudebench/claudebenchd.pid", f"{self.daemon.dir}/pid"),
                            ("/var/backups", f"{self.dir}/backups"), ("/root", f"{self.dir}/root")):
            command = command.replace(there, here)
        return re.sub(r"\bt-\d{16}\b", self.task, command)

    def service(self, action):
        if action in ("stop", "restart"):
            self.daemon.stop(check=False)
            equal(self.daemon.process.returncode, 0, "stopped in order")
        if action in ("start", "restart"):
            self.daemon.start()

    def run(self, line):
        command, _, comment = line.partition("  #") if "  #" in line else (line, "", "")
        command = command.strip()
        want = int((re.search(r"exit (\d+)", comment) or [0, "0"])[1])
        if command.startswith("service claudebench "):
            self.service(command.split()[2])
            return
        if command.startswith("editor "):
            self.edit()
            self.daemon.write_config()
            return
        done = subprocess.run(["/bin/sh", "-c", self.put_in(command)], cwd=self.dir, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=30, check=False)
        out = (done.stdout + done.stderr).decode(errors="replace")
        equal(done.returncode, want, f"{command}: {out[-800:]}")
        self.said += out

    def quoted(self, line):
        wanted = ".*".join(re.escape(part) for part in line.split("…"))
        check(re.search(f"^{wanted}$", self.said, re.M), f"nothing says {line!r}:\n{self.said[-1500:]}")

    def play(self, blocks):
        ran = 0
        try:
            for kind, lines in blocks:
                for line in lines:
                    if kind == "sh" and line.strip():
                        self.run(line)
                        ran += 1
                    elif kind == "text":
                        self.quoted(line)
        finally:
            self.daemon.stop(check=False)
        check(ran >= 4, f"{ran} commands")
        return ran


class DoesNotStart(Situation):
    config = {"task": {"max_attempts": "many"}}

    def prepare(self):
        self.daemon.write_config()

    def edit(self):
        self.daemon.config["task"]["max_attempts"] = 3


class BlocksEverything(Situation):
    def prepare(self):
        shutil.copytree(f"{SRC}/etc/rules.d", f"{self.dir}/rules.d")
        with open(f"{self.dir}/rules.d/50-mine.yaml", "w", encoding="utf-8") as f:
            f.write("rules: [ {\n")
        self.daemon.config["hooks"] = {"rules_dir": f"{self.dir}/rules.d"}
        self.daemon.start(ready=False)
        wait_until(lambda: "rules_failed" in self.daemon.log() and self.daemon.client("status").returncode == 1, 15, "the rules are refused")


class RedisDown(Situation):
    def prepare(self):
        super().prepare()
        for n in range(5):
            self.daemon.client("task", "add", f"{n}")
        self.daemon.stop(check=False)
        data = f"{self.daemon.redis_dir}/appendonlydir"
        (name,) = [n for n in os.listdir(data) if n.endswith(".incr.aof")]
        with open(f"{data}/{name}", "ab") as f:
            f.write(b"*2\r\n$3\r\nDEL\r\n$9\r\nwhat a disk may do to a file\r\n*1\r\n$4\r\nPING\r\n")
        self.daemon.start(ready=False)
        wait_until(lambda: not self.daemon.running(), 15, "the daemon gives up")
        equal(self.daemon.process.returncode, 69)


class RedisFull(Situation):
    config = {"redis": {"maxmemory": 5 << 20}}

    def prepare(self):
        super().prepare()
        c = self.daemon.caller()
        wait_until(lambda: c.ask("task.create", {"text": "t", "payload": "x" * 100000}).code == -32007, 15, "memory is full")
        with self.daemon.connect() as r:  # surely, and for small ones
            used = int(re.search(r"used_memory:(\d+)", r.text("INFO", "memory"))[1])
            r.call("CONFIG", "SET", "maxmemory", used * 9 // 10)

    def edit(self):
        self.daemon.config["redis"]["maxmemory"] = 64 << 20


class Flapping(Situation):
    def edit(self):
        self.daemon.config["cluster"] = {"leader_lease_ms": 5000}


class Backlog(Situation):
    def prepare(self):
        super().prepare()
        equal(self.daemon.client("task", "pause", "default").returncode, 0)
        self.daemon.client("task", "add", "waits")
        equal(self.daemon.client("ctl", "drain", "--wait").returncode, 0)
        with self.daemon.connect() as r:
            r.call("XADD", self.daemon.key("requests:task"), "*", "method", "task.create", "params", '{"text":"waits, too"}')


class Poison(Situation):
    def prepare(self):
        super().prepare()
        self.task = self.daemon.client_json("task", "add", "--max-attempts", "1", "poison", "--json")["id"]
        self.daemon.client("work", "--drain", "--", "false")


class Upgrade(Situation):
    def run(self, line):
        super().run(line)
        if line.startswith("kill "):
            wait_until(lambda: "event=upgraded" in self.daemon.log(), 15, "the program has been replaced")
            self.daemon.wait_ready()


class Backup(Situation):
    pass


SITUATIONS = {
    "The daemon does not start": DoesNotStart,
    "A hook blocks everything": BlocksEverything,
    "Redis down": RedisDown,
    "Redis full": RedisFull,
    "Leader flapping": Flapping,
    "Backlog growing": Backlog,
    "Poison tasks": Poison,
    "Upgrade": Upgrade,
    "Backup and restore": Backup,
}


def add(title):
    add_case(f"runbook: {title}", lambda: note(f"{SITUATIONS[title]().play(sections()[title])} commands"))


for each in SITUATIONS:
    add(each)


@case("the runbook has these sections, and knows each event, option and metric that it names")
def truth():
    equal(list(sections()), list(SITUATIONS))
    with open(f"{SRC}/{RUNBOOK}", encoding="utf-8") as f:
        text = f.read()
    with open(f"{SRC}/common/log_events.def", encoding="utf-8") as f:
        events = set(re.findall(r"^LOG_EVENT\((\w+),", f.read(), re.M))
    words = set(re.findall(r"`(\w+)`", text))
    equal({w for w in words if "_" in w and not w.startswith("claudebench_")} - events, set(), "events")
    with open(f"{SRC}/common/options.def", encoding="utf-8") as f:
        options = f.read()
    for option in re.findall(r"`((?:redis|cluster|hooks|limits)\.\w+)`", text):
        check(f'"{option}"' in options, option)
    monitoring = f"{SRC}/etc/monitoring"
    if os.path.isdir(monitoring):
        known = ""
        for name in os.listdir(monitoring):
            with open(f"{monitoring}/{name}", encoding="utf-8") as f:
                known += f.read()
        for metric in {w for w in words if w.startswith("claudebench_")}:
            check(metric in known, metric)


if __name__ == "__main__":
    main()
