"""service_files.py: the init script through every action and exit code, the systemd units, sysusers.d and tmpfiles.d."""

import os
import pwd
import re
import shutil
import signal
import subprocess

from cbtest import Daemon, Skip, case, check, equal, main, note, procs, wait_until

BUILD, SRC = procs.top_builddir(), procs.top_srcdir()
ME = pwd.getpwuid(os.geteuid()).pw_name
NOBODY = 65534


def fill(name, to, **folders):
    """etc/<name>.in with the folders put in, as the Makefile does it."""
    with open(f"{SRC}/etc/{name}.in", encoding="utf-8") as f:
        text = f.read()
    text = re.sub(r"@(\w+)@", lambda m: folders[m.group(1)], text)
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(to, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(to, 0o755)
    return to


class Host:
    """A root of its own, in which the script finds its programs and configuration."""

    def __init__(self, sbin=BUILD, has_lsb=True, config=None):
        self.dir = procs.subfolder("h")
        os.chmod(os.path.dirname(self.dir), 0o755)
        os.chmod(self.dir, 0o755)
        self.script = fill("init.d/claudebench", f"{self.dir}/etc/init.d/claudebench", sysconfdir=f"{self.dir}/etc", sbindir=sbin,
                           bindir=sbin, runstatedir=f"{self.dir}/run", localstatedir=f"{self.dir}/var")
        if not has_lsb:
            with open(self.script, encoding="utf-8") as f:
                text = f.read()
            with open(self.script, "w", encoding="utf-8") as f:
                f.write(text.replace("/lib/lsb/", f"{self.dir}/no-lsb/"))
        os.makedirs(f"{self.dir}/etc/default")
        with open(f"{self.dir}/etc/default/claudebench", "w", encoding="utf-8") as f:
            f.write(f"CLAUDEBENCH_USER={ME}\nCLAUDEBENCH_STOP_SECONDS=20\n")
        self.config = f"{self.dir}/etc/claudebench/claudebench.yaml"
        os.makedirs(os.path.dirname(self.config))
        self.pidfile = f"{self.dir}/run/claudebench/claudebenchd.pid"
        # Only the paths of a Daemon: the script starts it.
        self.daemon = Daemon(start=False, config=config)
        self.daemon.config["supervisor"]["pidfile"] = self.pidfile
        self.daemon.config["log"]["destination"] = f"{self.daemon.dir}/log"
        self.daemon.config_path = self.config

    def write(self, **sections):
        for name, values in sections.items():
            self.daemon.config[name] = {**self.daemon.config.get(name, {}), **values}
        self.daemon.write_config()

    def run(self, *args, want=0, user=None):
        def drop():
            os.setgid(user)
            os.setuid(user)

        done = subprocess.run(["/bin/sh", self.script, *args], env=procs.environment(), capture_output=True, timeout=60, check=False,
                              preexec_fn=drop if user else None, stdin=subprocess.DEVNULL)
        said = done.stdout.decode() + done.stderr.decode()
        equal(done.returncode, want, f"{' '.join(args)}: {said}")
        return said

    def pid(self):
        with open(self.pidfile, encoding="ascii") as f:
            return int(f.read())

    def status(self):
        return self.daemon.client_json("status", "--json")


ACTIONS = ("start", "stop", "restart", "try-restart", "reload", "force-reload", "status", "configtest")

# Every action in every state of the daemon, and its exit code. "up": the state is brought back before the next action.
CODES = {
    # state: start, stop, restart, try-restart, reload, force-reload, status, configtest
    "no configuration": (6, 0, 6, 0, 7, 7, 3, 6),
    "wrong configuration": (6, 0, 6, 0, 7, 7, 3, 6),
    "stopped": (0, 0, 0, 0, 7, 7, 3, 0),
    "running": (0, 0, 0, 0, 0, 0, 0, 0),
    "running, wrong configuration": (0, 0, 6, 6, 6, 6, 0, 6),
    "dead with a pid file": (0, 0, 0, 0, 7, 7, 1, 0),
    "pid file of another program": (0, 0, 0, 0, 7, 7, 1, 0),
    "not permitted": (4, 4, 4, 4, 4, 4, 0, 4),
    "not permitted to know": (4, 4, 4, 4, 4, 4, 4, 4),
    "not installed": (5, 5, 5, 5, 5, 5, 3, 5),
}


def threads(pid):
    try:
        return os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return []


class Walk:
    """Brings a host into a state, and tells whether an action did what it is for."""

    def __init__(self, has_lsb=True):
        self.host = Host(has_lsb=has_lsb)
        self.host.write(task={"lease_ms": 20000})

    def config(self, lease_ms):
        self.host.write(task={"lease_ms": lease_ms})

    def to(self, state):
        h = self.host
        if state in ("running", "running, wrong configuration", "not permitted"):
            self.config(20000)
            h.run("start")
        elif state == "dead with a pid file":
            h.run("start")
            os.kill(h.pid(), signal.SIGKILL)
            # Its first thread may be dead a moment before the other one, with which it shares what it has locked.
            wait_until(lambda: not procs.alive(h.pid()) and len(threads(h.pid())) <= 1, 5, "it is dead")
        else:
            if os.path.exists(h.pidfile):
                os.chmod(h.pidfile, 0o644)
            self.config(20000)
            h.run("stop")
        if state in ("pid file of another program", "not permitted to know"):
            os.makedirs(os.path.dirname(h.pidfile), exist_ok=True)
            with open(h.pidfile, "w", encoding="ascii") as f:
                f.write("1\n")
            os.chmod(h.pidfile, 0o600 if state == "not permitted to know" else 0o644)
        if state == "no configuration":
            os.unlink(h.config)
        elif "wrong configuration" in state:
            self.config("never")

    def row(self, state, actions=ACTIONS):
        for action, code in zip(ACTIONS, CODES[state]):
            if action not in actions:
                continue
            self.to(state)
            before = self.pid()
            said = self.host.run(action, want=code, user=NOBODY if state.startswith("not permitted") else None)
            self.judge(state, action, code, before, said)

    def pid(self):
        try:
            pid = self.host.pid()
            return pid if pid != 1 and procs.alive(pid) else None
        except (OSError, ValueError):
            return None

    def judge(self, state, action, code, before, said):
        """Besides its code: what an action was to change has changed, and nothing else."""
        what, after = f"{action}, {state}: {said}", self.pid()
        if "wrong configuration" in state and code == 6:
            check("task.lease_ms" in said, f"the mistake is shown: {what}")
        if action in ("start", "restart") and code == 0 or action == "try-restart" and state == "running":
            check(after, what)
            equal(self.host.status()["status"], "healthy", f"ready when it returns: {what}")
            check((after == before) == (action == "start" and before is not None), what)
        elif action == "stop" and code == 0:
            check(after is None and not os.path.exists(self.host.pidfile), what)
        else:
            equal(after, before, what)
        if action == "status" and before and state == "running":
            check(f"pid {before}" in said, what)


@case("init script: the actions are those of OPS.md, and so are the codes")
def all_of_them():
    usage = Host().run("help", want=3)
    equal(re.search(r"\{(.*)\}", usage).group(1), "|".join(ACTIONS))
    equal({c for row in CODES.values() for c in row[:6] + row[7:]} | {1, 2, 3}, {0, 1, 2, 3, 4, 5, 6, 7})
    equal({row[6] for row in CODES.values()}, {0, 1, 3, 4})


@case("init script: each action, stopped, without and with a wrong configuration")
def stopped():
    w = Walk()
    for state in ("no configuration", "wrong configuration", "stopped"):
        w.row(state)
    w.to("stopped")


@case("init script: each action on a daemon that runs, with a good and a wrong configuration")
def running():
    w = Walk()
    w.row("running")
    w.to("running")
    workers = {worker["pid"] for worker in w.host.status()["workers"]}
    w.config(21000)
    w.host.run("reload")
    check(not workers & {worker["pid"] for worker in w.host.status()["workers"]}, "the workers are new when it returns")
    w.row("running, wrong configuration")
    w.to("stopped")


@case("init script: each action on a daemon that died, and with the pid file of another program")
def dead():
    w = Walk()
    w.row("dead with a pid file")
    w.row("pid file of another program")
    w.to("stopped")


@case("init script: without the functions of LSB")
def without_lsb():
    w = Walk(has_lsb=False)
    w.row("running", ("start", "restart", "status", "reload", "stop"))
    w.to("stopped")


@case("init script: wrong use, no such action, a start that fails, a program that is missing")
def refusals():
    h = Host()
    h.run(want=2)
    h.run("start", "now", want=2)
    check("Usage" in h.run("launch", want=3), "usage")
    absent = Host(sbin="/nonexistent")
    for action, code in zip(ACTIONS, CODES["not installed"]):
        absent.run(action, want=code)
    w = Walk()
    w.to("running")
    other = Host()
    other.write(supervisor={"control_socket": w.host.daemon.config["supervisor"]["control_socket"]})
    check("control_socket" in other.run("start", want=1), "another daemon has its socket")
    w.to("stopped")
    other.write(redis={"embedded": False, "password_file": "/nonexistent"})
    other.run("start", want=5)  # 69 of claudebenchd(8): something that it needs is missing


@case("init script: another user may ask how it is, and no more")
def not_permitted():
    if os.geteuid() != 0:
        raise Skip("needs root: another user is tried")
    w = Walk()
    w.row("not permitted")
    w.row("not permitted to know")
    os.chmod(w.host.pidfile, 0o644)
    w.to("stopped")


@case("init script: its header has what LSB wants, and shellcheck finds nothing")
def header():
    with open(f"{BUILD}/etc/init.d/claudebench", encoding="utf-8") as f:
        text = f.read()
    block = text.split("### BEGIN INIT INFO\n")[1].split("### END INIT INFO")[0]
    for key in ("Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description"):
        check(re.search(rf"^# {key}: +\S", block, re.M), key)
    check("@" not in text.replace('"$@"', ""), "all folders are put in")
    equal(subprocess.run(["sh", "-n", f"{BUILD}/etc/init.d/claudebench"], check=False).returncode, 0)
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", f"{BUILD}/etc/init.d/claudebench"], capture_output=True, check=False)
        equal(done.stdout.decode(), "")


def systemd(tool):
    path = shutil.which(tool)
    if not path:
        raise Skip(f"{tool} is not there")
    return path


FOLDERS = {"sysconfdir": "/etc", "sbindir": BUILD, "bindir": BUILD, "runstatedir": "/run", "localstatedir": "/var"}


# What the units have to have.
BOTH = ("Type=notify", "KillMode=mixed", "Restart=on-failure", "RestartPreventExitStatus=64 75 78", "UMask=0077", "WatchdogSec=10",
        "NoNewPrivileges=yes", "LockPersonality=yes", "RestrictNamespaces=yes", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "SystemCallFilter=@system-service", "TimeoutStartSec=infinity")
SYSTEM = ("ProtectSystem=strict", "PrivateTmp=yes", "PrivateDevices=yes", "ProtectKernelLogs=yes", "ProtectKernelModules=yes",
          "ProtectKernelTunables=yes", "CapabilityBoundingSet=", "RuntimeDirectory=claudebench", "StateDirectory=claudebench",
          "LogsDirectory=claudebench", "User=claudebench", "Group=claudebench")


def unit(name):
    """The path of a unit whose folders are those of this build, and its lines."""
    path = fill(name, f"{procs.subfolder('u')}/claudebench.service", **FOLDERS)
    os.chmod(path, 0o644)
    with open(path, encoding="utf-8") as f:
        return path, f.read().splitlines()


@case("systemd: both units have what OPS.md asks for, and a stop has time for supervisor.stop_timeout_ms")
def unit_lines():
    for name, more in (("systemd/claudebench.service", SYSTEM), ("systemd/user/claudebench.service", ())):
        lines = unit(name)[1]
        equal([line for line in (*BOTH, *more) if line not in lines], [], name)
        check(any(re.fullmatch(r"ExecReload=\S+/claudebench( -c \S+)? ctl reload --wait", line) for line in lines), "ExecReload")
        equal([line for line in lines if line.startswith("MemoryDenyWriteExecute")], [], "PCRE2's JIT")
        stop = int(next(line for line in lines if line.startswith("TimeoutStopSec=")).split("=")[1])
        done = procs.run([f"{BUILD}/claudebenchd", "-T"], env={"CLAUDEBENCH_CONFIG": ""})
        drain = int(re.search(r"stop_timeout_ms: (\d+)", done.stdout.decode()).group(1))
        check(stop * 1000 >= drain + 15000, f"{name}: {stop} s, and workers may take {drain} ms")


@case("systemd: systemd-analyze finds nothing wrong with either unit")
def units():
    tool = systemd("systemd-analyze")
    for name, more in (("systemd/claudebench.service", []), ("systemd/user/claudebench.service", ["--user"])):
        path, _ = unit(name)
        env = {**procs.environment(), "XDG_RUNTIME_DIR": os.path.dirname(path)}
        done = subprocess.run([tool, *more, "verify", "--man=no", path], capture_output=True, env=env, check=False)
        said = [line for line in done.stderr.decode().splitlines() if "claudebench" in line]
        equal((said, done.returncode), ([], 0), done.stderr.decode())


@case("systemd: both units are as closed as claudebenchd(8) says")
def exposure():
    tool = systemd("systemd-analyze")
    with open(f"{SRC}/man/claudebenchd.8", encoding="utf-8") as f:
        stated = re.search(r"exposure of\n(\d+\.\d) for the system's unit and (\d+\.\d) for a user's", f.read()).groups()
    for name, most in zip(("systemd/claudebench.service", "systemd/user/claudebench.service"), stated):
        done = subprocess.run([tool, "security", "--offline=true", unit(name)[0]],
                              capture_output=True, check=False)
        said = re.search(r"Overall exposure level for \S+: (\S+)", done.stdout.decode()).group(1)
        check(float(said) <= float(most), f"{name}: {said}, {most} stated\n{done.stdout.decode()[-2000:]}")


@case("sysusers.d and tmpfiles.d make the user and the folders")
def users_and_folders():
    if os.geteuid() != 0:
        raise Skip("needs root")
    root = procs.subfolder("r")
    os.makedirs(f"{root}/etc")
    users = fill("sysusers.d/claudebench.conf", f"{root}/usr/lib/sysusers.d/claudebench.conf", **FOLDERS)
    done = subprocess.run([systemd("systemd-sysusers"), f"--root={root}", users], capture_output=True, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    with open(f"{root}/etc/passwd", encoding="utf-8") as f:
        check(re.search(r"^claudebench:x:\d+:\d+:ClaudeBench:/var/lib/claudebench:\S*nologin$", f.read(), re.M), "the user")
    folders = fill("tmpfiles.d/claudebench.conf", f"{root}/usr/lib/tmpfiles.d/claudebench.conf", **FOLDERS)
    done = subprocess.run([systemd("systemd-tmpfiles"), f"--root={root}", "--create", folders], capture_output=True, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    for path, mode in (("run", 0o755), ("var/lib", 0o755), ("var/log", 0o750)):
        equal(os.stat(f"{root}/{path}/claudebench").st_mode & 0o777, mode, path)


if __name__ == "__main__":
    main()
