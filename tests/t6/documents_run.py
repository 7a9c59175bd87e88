#!/usr/bin/env python3
"""documents_run.py: the commands of README.md run as they stand there; those of HACKING.md, which build and test for minutes, name what there is."""

import os
import re
import signal
import subprocess
import sys

from cbtest import *

SRC, BUILD = procs.top_srcdir(), procs.top_builddir()
DIR = procs.subfolder("w")


def blocks(document):
    """The lines of the document's sh blocks, without comments."""
    with open(f"{SRC}/{document}", encoding="utf-8") as f:
        found = re.findall(r"```sh\n(.*?)```", f.read(), re.S)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in found for line in block.splitlines()]
    return [line for line in lines if line]


# Commands that go on until they are told to end, and what they print until then.
GOES_ON = {"claudebench events -f": b"task.created", "claudebench audit -f --decision deny": b"deny"}
# What CI runs anyway, from a checkout.
LEFT_OUT = {"./quickstart", "./quickstart test"}


class Readme:
    """A user's shell: our programs in the PATH, a configuration of its own, and the agent of the README."""

    def __init__(self):
        self.daemon = Daemon(start=False)
        self.daemon.write_config()
        os.makedirs(self.daemon.redis_dir)
        os.symlink(f"{BUILD}/etc", f"{DIR}/etc")
        self.env = procs.environment({"PATH": f"{BUILD}:{os.environ['PATH']}", "CLAUDEBENCH_CONFIG": self.daemon.config_path,
                                      "CBTEST_DAEMON": self.daemon.dir, "HOME": DIR})
        for name, text in (("my-agent.sh", "#!/bin/sh\ncat >/dev/null\necho '\"done\"'\n"), ("README.md", "x\n")):
            with open(f"{DIR}/{name}", "w", encoding="utf-8") as f:
                f.write(text)
            os.chmod(f"{DIR}/{name}", 0o755)

    def start(self, command, **kw):
        return subprocess.Popen(["/bin/sh", "-c", f"exec {command}"], cwd=DIR, env=self.env, stdin=subprocess.DEVNULL, start_new_session=True, **kw)

    def serve(self):
        """As `claudebenchd &` does, but that it is ours to stop."""
        with open(self.daemon.log_path, "ab") as log:
            self.daemon.process = self.start("claudebenchd", stdout=log, stderr=log)
        self.daemon.wait_ready()

    def work(self, command):
        with open(f"{DIR}/worked", "wb") as out:
            process = self.start(command, stdout=out, stderr=out)
        wait_until(lambda: b"completed" in self.daemon.client("task", "list", "--status", "completed").stdout, 10, "a task is completed")
        process.send_signal(signal.SIGTERM)
        equal(process.wait(10), 0, command)

    def follow(self, command, text):
        process = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(process.stdout.fileno(), False)
        got = bytearray()

        def said():
            self.daemon.client("task", "add", "for who follows")
            call = {"hook_event_name": "PreToolUse", "tool_name": "Bash", "session_id": "s", "cwd": "/", "tool_input": {"command": "rm -rf /"}}
            equal(self.daemon.client("hook", input=dumps(call)).returncode, 2, "denied")
            got.extend(process.stdout.read() or b"")
            return text in got

        wait_until(said, 10, lambda: f"{command}: {bytes(got)}", step=0.05)
        process.send_signal(signal.SIGINT)
        process.wait(10)
        process.stdout.close()

    def wait(self, command):
        task = self.daemon.client_json("task", "add", "to be waited for", "--json")["id"]
        process = self.start(re.sub(r"t-\d+", task, command))
        equal(self.daemon.client("work", "--drain", "--", "true").returncode, 0)
        equal(process.wait(15), 0, command)

    def run(self, command):
        task = self.daemon.client_json("task", "add", "of the README", "--json")["id"] if " t-" in command else ""
        command = re.sub(r" t-\d+", f" {task}", command)
        if "--after" in command:
            task = task or self.daemon.client_json("task", "add", "before it", "--json")["id"]
            command = re.sub(r"--after t-\d+", f"--after {task}", command)
        if "reassign" in command:
            self.daemon.client_json("call", "system.register", '{"id":"somebody"}')
            self.daemon.client_json("call", "task.assign", f'{{"taskId":"{task}","instanceId":"somebody"}}')
        done = subprocess.run(["/bin/sh", "-c", command], cwd=DIR, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
        equal(done.returncode, 0, f"{command}: {done.stdout.decode()[-500:]} {done.stderr.decode()[-500:]}")
        return done


@case("every command of README.md does what it says, in its order")
def readme():
    shell = Readme()
    ran = []
    try:
        for command in blocks("README.md"):
            if command in LEFT_OUT:
                continue
            if command == "claudebenchd &":
                shell.serve()
            elif command.startswith("claudebench work "):
                shell.work(command)
            elif command.startswith("claudebench wait "):
                shell.wait(command)
            elif command in GOES_ON:
                shell.follow(command, GOES_ON[command])
            else:
                shell.run(command)
            ran.append(command)
    finally:
        shell.daemon.stop(check=False)
    equal(shell.daemon.process.returncode, 0)
    check(len(ran) >= 20, ran)
    note(f"{len(ran)} commands")


def targets():
    with open(f"{BUILD}/Makefile", encoding="utf-8") as f:
        return set(re.findall(r"^([a-z-]+):", f.read(), re.M))


@case("what HACKING.md and the other documents have one type to build and test is there")
def hacking():
    known = targets()
    texts = {}
    for name in ("README.md", "HACKING.md", "ARCHITECTURE.md", "SECURITY.md", "bench/README.md"):
        with open(f"{SRC}/{name}", encoding="utf-8") as f:
            texts[name] = f.read()
    problems = []
    for name, text in texts.items():
        for target in re.findall(r"make -C build(?: -j\d+)? ([a-z][a-z-]+)", text) + re.findall(r"`make ([a-z-]+)`", text):
            if target not in known:
                problems.append(f"{name}: make {target}")
        for page in re.findall(r"`man ([a-z.-]+)`", text):
            if not [f for f in os.listdir(f"{SRC}/man") if f.rsplit(".", 1)[0] == page]:
                problems.append(f"{name}: man {page}")
    helped = subprocess.run(["/bin/sh", f"{os.path.abspath(SRC)}/configure", "--help"], capture_output=True, check=False, cwd=DIR).stdout.decode()
    for option in re.findall(r"--(?:enable|with)-[a-z]+", texts["HACKING.md"]):
        if option not in helped:
            problems.append(f"HACKING.md: configure {option}")
    usage = subprocess.run(["/bin/sh", f"{os.path.abspath(SRC)}/quickstart", "--help"], capture_output=True, check=False, cwd=DIR).stdout.decode()
    for name, text in texts.items():
        for mode in re.findall(r"\./quickstart ([a-z]+)", text):
            if not re.search(rf"\b{mode}\b", usage.splitlines()[0]):
                problems.append(f"{name}: quickstart {mode}")
    for command in blocks("HACKING.md"):
        first = command.split()[0]
        if first != "make" and os.path.exists(f"{SRC}/.ci") and not os.access(f"{SRC}/{first}", os.X_OK):
            problems.append(f"HACKING.md: {command}")
    equal(problems, [])


@case("a test program that has no case of that name, or of that row of the faults, says so and ends with 64")
def no_such_case():
    for argument in ("--only", "--faults"):
        done = subprocess.run([sys.executable, f"{SRC}/tests/t6/keys_table.py", argument, "nonsense"], capture_output=True, check=False)
        equal((done.returncode, done.stdout), (64, b""))
        check(b"there is no case" in done.stderr, done.stderr)
    done = subprocess.run([sys.executable, f"{SRC}/tests/t6/keys_table.py", "--only", "nonsense", "--list"], capture_output=True, check=False)
    equal((done.returncode, done.stdout.strip()), (0, b""))


@case("the Debian package is built with the libraries that quickstart installs")
def build_dependencies():
    with open(f"{SRC}/quickstart", encoding="utf-8") as f:
        wanted = set(re.search(r"^packages='([^']*)'", f.read(), re.M).group(1).split())
    with open(f"{SRC}/packaging/debian/control", encoding="utf-8") as f:
        named = re.findall(r"^ ([a-z0-9.+-]+)", f.read().split("Build-Depends:")[1].split("\n\n")[0], re.M)
    libraries = {p for p in wanted if p.endswith("-dev")} - {"libc6-dev"}
    equal(sorted(p for p in named if p.endswith("-dev")), sorted(libraries))
    check({"check", "redis-server", "tzdata", "pkg-config"} <= set(named), named)


if __name__ == "__main__":
    main()
