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


def walk(has_lsb):
    h = Host(has_lsb=has_lsb)
    h.run("start", want=6)  # no configuration
    h.run("configtest", want=6)
    h.write(task={"lease_ms": "never"})
    check("task.lease_ms" in h.run("start", want=6), "the mistake is shown")
    h.write(task={"lease_ms": 20000})
    for action, code in (("configtest", 0), ("status", 3), ("stop", 0), ("try-restart", 0), ("reload", 7), ("force-reload", 7)):
        h.run(action, want=code)
    check(not os.path.exists(h.pidfile), "nothing was started")
    h.run("start")
    first = h.pid()
    equal(h.status()["pid"], first)
    equal(h.status()["status"], "healthy", "start returns when it is ready")
    h.run("start")
    equal(h.pid(), first, "started once")
    check(f"pid {first}" in h.run("status"), "it says which")
    if has_lsb:
        workers = h.status()["workers"]
        h.write(task={"lease_ms": 21000})
        h.run("reload")
        check(not {w["pid"] for w in workers} & {w["pid"] for w in h.status()["workers"]}, "the workers are new when it returns")
        h.run("force-reload")
        h.write(task={"lease_ms": "never"})
        for action in ("reload", "force-reload", "restart", "try-restart", "configtest"):
            h.run(action, want=6)
        equal(h.status()["pid"], first, "it still runs")
        h.write(task={"lease_ms": 21000})
        h.run("restart")
        second = h.pid()
        h.run("try-restart")
        check(len({first, second, h.pid()}) == 3, "another one each time")
        os.kill(h.pid(), signal.SIGKILL)
        wait_until(lambda: not procs.alive(h.pid()), 5, "it is dead")
        h.run("status", want=1)
        h.run("reload", want=7)
        h.run("start")
        h.run("status")
    h.run("stop")
    h.run("status", want=3)
    h.run("stop")


@case("init script: every action, with and without a running daemon, a wrong configuration, a dead one")
def actions():
    walk(True)


@case("init script: without the functions of LSB")
def without_lsb():
    walk(False)


@case("init script: wrong use, no such action, not installed, not permitted, cannot be told")
def refusals():
    h = Host()
    h.run(want=2)
    h.run("start", "now", want=2)
    check("Usage" in h.run("launch", want=3), "usage")
    absent = Host(sbin="/nonexistent")
    for action in ("start", "stop", "restart", "reload", "configtest"):
        absent.run(action, want=5)
    absent.run("status", want=3)
    h.write()
    if os.geteuid() != 0:
        raise Skip("the rest needs root: another user is tried")
    for action in ("start", "stop", "restart", "try-restart", "reload", "configtest"):
        h.run(action, want=4, user=NOBODY)
    h.run("status", want=3, user=NOBODY)
    os.makedirs(os.path.dirname(h.pidfile))
    with open(h.pidfile, "w", encoding="ascii") as f:
        f.write("1\n")
    h.run("status", want=1)  # the pid of another program
    os.chmod(h.pidfile, 0o600)
    h.run("status", want=4, user=NOBODY)


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


@case("systemd: both units are right, and the system's is closed well")
def units():
    tool = systemd("systemd-analyze")
    folder = procs.subfolder("u")
    for name, more in (("systemd/claudebench.service", []), ("systemd/user/claudebench.service", ["--user"])):
        path = fill(name, f"{folder}/{len(more)}/claudebench.service", **FOLDERS)
        os.chmod(path, 0o644)
        env = {**procs.environment(), "XDG_RUNTIME_DIR": folder}
        done = subprocess.run([tool, *more, "verify", "--man=no", path], capture_output=True, env=env, check=False)
        said = [line for line in done.stderr.decode().splitlines() if "claudebench" in line]
        equal((said, done.returncode), ([], 0), done.stderr.decode())
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for line in ("Type=notify", "KillMode=mixed", "Restart=on-failure", "RestartPreventExitStatus=64 75 78", "UMask=0077"):
            check(f"\n{line}\n" in text, f"{line} in {name}")
        check(re.search(r"\nExecReload=\S+/claudebench .*ctl reload --wait\n", text), "ExecReload")
    done = subprocess.run([tool, "security", "--offline=true", "--threshold=25", f"{folder}/0/claudebench.service"],
                          capture_output=True, check=False)
    equal(done.returncode, 0, done.stdout.decode()[-2000:] + done.stderr.decode())
    note(re.search(r"Overall exposure.*", done.stdout.decode()).group(0))


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
