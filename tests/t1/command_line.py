"""command_line.py: claudebenchd's flags, exit codes, pid file, background mode and service manager."""

import os
import re
import signal
import socket
import stat
import subprocess
import time

from cbtest import Daemon, PrivateRedis, Skip, case, check, equal, holds_for, main, procs, wait_until
from supervised import FakeDaemon, is_sanitized, status

BINARY = procs.binary("claudebenchd")


def run(*args, env=None, timeout=20):
    done = procs.run([BINARY, *args], env=env, timeout=timeout)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def config_file(text):
    path = procs.subfolder("c") + "/claudebench.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def quiet_daemon(kind=Daemon, **kw):
    """Not started; logs into its folder itself, not through stderr."""
    folder = procs.subfolder("d")
    return kind(start=False, folder=folder, config={"log": {"destination": f"{folder}/log"}}, **kw)


@case("--help and --version answer on stdout, exit 0")
def help_and_version():
    for flag in ("-h", "--help"):
        code, out, err = run(flag)
        equal((code, err), (0, ""))
        for word in ("-d, --daemon", "-c, --config FILE", "-t, --test", "-T, --dump", "-p, --pidfile FILE", "claudebenchd(8)"):
            check(word in out, f"{word} in {out}")
    for flag in ("-V", "--version"):
        code, out, err = run(flag)
        check(code == 0 and re.fullmatch(r"claudebenchd \d+\.\d+\.\d+\n", out) and not err, f"{code} {out} {err}")


@case("a wrong command line: 64 and a hint on stderr")
def usage():
    for args, said in ((["-x"], "unknown option -x"), (["--nonsense"], "unknown option --nonsense"), (["operand"], "what is 'operand'? There are no operands."),
                       (["-c"], "option -c needs a value (FILE)"), (["-T", "--pidfile"], "option -p needs a value (FILE)"),
                       (["-t", "operand"], "what is 'operand'? There are no operands."), (["-tx"], "unknown option -x"), (["--test", "-xt"], "unknown option -x"),
                       (["--daemon=yes"], "option --daemon takes no value"), (["--demon"], "unknown option --demon; did you mean --daemon?")):
        code, out, err = run(*args)
        equal((code, out, err), (64, "", f"claudebenchd: {said}\nTry 'claudebenchd --help'.\n"), f"{args}")
    for args in (["-T", "-c", "/nonexistent"], ["-t", "-c", "/nonexistent"], ["-c", "/nonexistent"]):
        equal(run(*args), (78, "", "claudebenchd: the configuration /nonexistent (from -c) does not exist\n"), f"{args}")
    for words, said in ((["-T"], "unknown option -T (those of a command stand behind it)"),
                        (["-c"], "option -c needs a value (FILE)"), (["--config"], "option --config needs a value (FILE)")):
        done = procs.run([procs.binary("claudebench"), *words])
        equal((done.returncode, done.stdout), (64, b""))
        equal(done.stderr.decode(), f"claudebench: {said}\nTry 'claudebench --help'.\n")


@case("-t: good is 0, bad is 78 with every error")
def test_flag():
    code, out, err = run("-t", "-c", config_file("config_version: 1\n"))
    equal((code, err), (0, ""))
    check("good" in out, out)
    path = config_file("config_version: 1\nsupervisor: { watchdog_ms: x, nonsense: 1 }\ndomains: { task: { workers: 999 } }\n")
    code, out, err = run("-t", "-c", path)
    equal((code, out), (78, ""))
    equal(len(err.strip().split("\n")), 3, err)
    check(all(line.startswith(path + ":") for line in err.strip().split("\n")), err)
    code, _, err = run("-c", path)
    equal(code, 78)
    code, _, err = run("-t", "-c", "/does/not/exist.yaml")
    equal(code, 78)
    check("/does/not/exist.yaml" in err, err)


def tree(top):
    return sorted((os.path.join(d, f), os.lstat(os.path.join(d, f)).st_mtime_ns) for d, dirs, files in os.walk(top) for f in dirs + files)


@case("-t looks at all that a start opens, says where it is configured, makes nothing, and exits as the start does")
def test_surroundings():
    d = Daemon(start=False)
    sup, no = d.config["supervisor"], f"{d.dir}/file/no"
    with open(f"{d.dir}/file", "w", encoding="ascii"):
        pass
    d.write_config()
    good = {"control_socket": sup["control_socket"], "pidfile": sup["pidfile"], "state_dir": sup["state_dir"]}

    def wrong(section, name, value, what, code=78):
        was = dict(d.config.get(section, {}))
        d.config[section] = {**was, name: value}
        d.write_config()
        before = tree(d.dir)
        got, out, err = run("-t", "-c", d.config_path)
        equal((got, out), (code, ""), f"{section}.{name}: {err}")
        check(re.search(rf"^{re.escape(d.config_path)}:\d+:\d+: {section}.{name}: .*{re.escape(what)}", err, re.M), err)
        equal(tree(d.dir), before, "nothing was made")
        equal(run("-c", d.config_path)[0], code, f"a start ends like that, too: {section}.{name}")
        d.config[section] = was
        d.write_config()

    wrong("log", "destination", f"{d.dir}/absent/log", f"{d.dir}/absent: No such file or directory")
    wrong("log", "destination", d.dir, "Is a directory")
    for name in good:
        wrong("supervisor", name, f"{no}/x", f"{no}/x cannot be made" if name == "state_dir" else f"{no} cannot be made")
    os.symlink("elsewhere", f"{d.dir}/link")
    wrong("supervisor", "pidfile", f"{d.dir}/link", "is a symbolic link")
    wrong("supervisor", "control_socket", f"{d.dir}/file", "is no socket")
    os.makedirs(f"{d.dir}/short", mode=0o700)
    with open(f"{d.dir}/short/instance.secret", "w", encoding="ascii") as f:
        f.write("x\n")
    wrong("supervisor", "state_dir", f"{d.dir}/short", "too short")
    os.makedirs(f"{d.dir}/open")
    os.chmod(f"{d.dir}/open", 0o777)
    wrong("supervisor", "state_dir", f"{d.dir}/open", "writable for everybody")
    code, out, err = run("-t", "-c", d.config_path, "-p", f"{no}/pid")
    equal((code, out, err), (78, "", f"claudebenchd: supervisor.pidfile: {no} cannot be made: {d.dir}/file is not a folder\n"))
    equal(run("-t", "-c", d.config_path, env={"CLAUDEBENCH_WORKER": "/x"})[0], 69)
    equal(run("-t", "-c", d.config_path)[0], 0)


@case("-t of an embedded Redis: its folder, its passwords, its program; of another one the password file")
def test_redis():
    folder = procs.subfolder("r")
    text = ("config_version: 1\nsupervisor: { state_dir: %s/s, control_socket: %s/c, pidfile: %s/p }\nredis: { url: \"unix://%s/r\", dir: %s }\n"
            % (folder, folder, folder, folder, "%s"))
    path = config_file(text % f"{folder}/redis")
    equal(run("-t", "-c", path)[0], 0)
    equal(run("-t", "-c", path, env={"PATH": "/nonexistent"})[0], 69)
    os.makedirs(f"{folder}/redis", mode=0o700)
    with open(f"{folder}/redis/daemon.password", "w", encoding="ascii") as f:
        f.write("x\n")
    code, _, err = run("-t", "-c", path)
    check(code == 78 and "daemon.password" in err and f"{path}:3:" in err, err)
    code, _, err = run("-t", "-c", config_file("redis: { embedded: false, url: \"unix:///x\", password_file: /nonexistent }\n"))
    equal(code, 69, err)
    check("cannot read the password file /nonexistent" in err, err)


@case("-t: rules and files that a daemon can start without are warnings; a daemon that runs is no mistake")
def test_warnings():
    rules = procs.subfolder("rules")
    with open(f"{rules}/a.yaml", "w", encoding="ascii") as f:
        f.write("groups: [{name: b, rules: [{nme: x}]}]\n")
    with FakeDaemon() as d:
        before = tree(f"{d.dir}/state")
        code, out, err = run("-t", "-c", d.config_path)
        equal((code, err), (0, ""))
        equal(out, "claudebenchd: the configuration is good\n")
        equal(tree(f"{d.dir}/state"), before, "nothing was made")
        d.config["domains"]["hook"] = {"workers": 1}
        d.config["hooks"] = {"rules_dir": rules}
        d.config["metrics"] = {"textfile": f"{d.dir}/absent/x.prom"}
        d.write_config()
        code, out, err = run("-t", "-c", d.config_path)
        equal((code, out), (0, "claudebenchd: the configuration is good, with warnings\n"))
        check(re.search(rf"^{rules}/a.yaml:1:\d+: warning: .*nme", err, re.M), err)
        check(re.search(rf"^{d.config_path}:\d+:\d+: warning: metrics.textfile: {d.dir}/absent: No such file", err, re.M), err)
        d.config["hooks"] = {"rules_dir": f"{rules}/absent"}
        d.write_config()
        err = run("-t", "-c", d.config_path)[2]
        check(re.search(rf"^{d.config_path}:\d+:\d+: warning: hooks.rules_dir: {rules}/absent: cannot be read", err, re.M), err)


@case("-T prints a configuration that reads back to itself")
def dump():
    code, out, err = run("-T", "-c", config_file("config_version: 1\nsupervisor: { watchdog_ms: 777 }\n"))
    equal((code, err), (0, ""))
    check("watchdog_ms: 777" in out, out)
    code, again, err = run("-T", "-c", config_file(out))
    equal((code, err), (0, ""))
    bare = lambda text: [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    equal(bare(again), bare(out))
    done = procs.run(["sh", "-c", 'exec "$0" -T >/dev/full', BINARY])
    equal(done.returncode, 1)
    check(b"cannot write" in done.stderr, done.stderr)


@case("the pid file: ours, readable, replaced when stale, -p before the configuration")
def pidfile():
    with FakeDaemon(ready=False) as d:
        wait_until(lambda: os.path.exists(f"{d.dir}/pid"), 5, "there")
        wait_until(lambda: open(f"{d.dir}/pid", encoding="ascii").read() == f"{d.pid}\n", 1, "filled")
        equal(oct(stat.S_IMODE(os.stat(f"{d.dir}/pid").st_mode)), oct(0o644))
        d.wait_ready()
        d.process.kill()
        d.process.wait()
        equal(open(f"{d.dir}/pid", encoding="ascii").read(), f"{d.pid}\n", "stale")
        d.start()
        equal(open(f"{d.dir}/pid", encoding="ascii").read(), f"{d.pid}\n")
        code, _, err = run("-c", d.config_path, "-p", f"{d.dir}/other.pid")
        equal(code, 75)
        check("already running" in err, err)
        check(not os.path.exists(f"{d.dir}/other.pid"), "the loser removes its own")


@case("-T shows what the other flags make of the configuration: -p, -v")
def dump_of_flags():
    code, out, err = run("-T", "-v", "-p", "/somewhere/else.pid")
    equal((code, err), (0, ""))
    check('pidfile: "/somewhere/else.pid"' in out and "level: debug" in out, out)
    code, out, _ = run("-T", "-p", "relative.pid")
    check(f'pidfile: "{procs.folder()}/relative.pid"' in out, out)


@case("-d without a syslog: the log is a file of the state folder, and it says so")
def background_without_syslog():
    if os.path.exists("/dev/log"):
        raise Skip("there is a syslog here")
    for destination in ("stderr", "syslog"):
        background_log(destination)


def background_log(destination):
    d = Daemon(start=False)
    d.config["log"]["destination"] = destination
    d.write_config()
    done = procs.run([BINARY, "-d", "-c", d.config_path], env={"CBTEST_DAEMON": d.dir}, timeout=20)
    path = f"{d.dir}/state/claudebenchd.log"
    equal((done.returncode, done.stdout), (0, b""))
    equal(done.stderr.decode(), f"claudebenchd: there is no syslog: the log is {path}\n")
    with open(f"{d.dir}/pid", encoding="ascii") as f:
        pid = int(f.read())
    procs.kill(pid, signal.SIGTERM)
    wait_until(lambda: not procs.alive(pid), 5, "ended")
    with open(path, encoding="utf-8") as f:
        log = f.read()
    check("event=daemon_ready" in log and "event=daemon_stopped code=0" in log, log)
    equal("event=syslog_absent" in log, destination == "syslog", "not as configured")
    procs.reap_orphans()


@case("-d returns 0 when ready, and holds nothing of its starter")
def background():
    d = quiet_daemon()
    d.write_config()
    began = time.monotonic()
    # communicate() returns only when nobody holds the pipes any more
    done = procs.run([BINARY, "-d", "-c", d.config_path], env={"CBTEST_DAEMON": d.dir}, timeout=20)
    equal((done.returncode, done.stdout, done.stderr), (0, b"", b""))
    check(time.monotonic() - began < 5, "soon")
    with open(f"{d.dir}/pid", encoding="ascii") as f:
        pid = int(f.read())
    try:
        s = status(d)
        equal((s["pid"], s["status"]), (pid, "healthy"))
        equal(os.getsid(pid), pid, "a session of its own")
        equal(os.readlink(f"/proc/{pid}/cwd"), "/")
        for p in [pid, *(w["pid"] for w in s["workers"])]:
            fds = procs.fd_list(p)
            equal([fds[0], fds[1], fds[2]], ["/dev/null"] * 3, f"{procs.describe(p)}")
    finally:
        procs.kill(pid, signal.SIGTERM)
    wait_until(lambda: not procs.alive(pid), 5, "ended")
    check("event=daemon_stopped code=0" in d.log(), d.log_tail())
    procs.reap_orphans()


@case("-d that fails says why on stderr and takes over the exit code")
def background_fails():
    d = quiet_daemon()
    d.write_config()
    for env, code, word in (({"PATH": "/nonexistent"}, 69, "redis-server"), ({"CLAUDEBENCH_WORKER": "/x"}, 69, "CLAUDEBENCH_WORKER")):
        got, out, err = run("-d", "-c", d.config_path, env=env)
        equal((got, out), (code, ""), err)
        check(word in err and err.count("\n") == 1, err)
    with FakeDaemon() as other:
        d.config["supervisor"]["pidfile"] = f"{other.dir}/pid"
        d.write_config()
        got, _, err = run("-d", "-c", d.config_path)
        equal(got, 75)
        check(f"already running, pid {other.pid}" in err, err)
    procs.reap_orphans()


@case("-d: a refused instance id is said on the terminal, too")
def background_refused():
    with FakeDaemon() as first:
        d = quiet_daemon(redis=first.redis)
        d.write_config()
        code, _, err = run("-d", "-c", d.config_path)
        equal(code, 75, err)
        check("in use by another live daemon" in err, err)
    procs.reap_orphans()


@case("-d that is not ready in time says why, and returns 0")
def background_not_ready():
    d = quiet_daemon(redis=PrivateRedis(start=False))
    d.write_config()
    began = time.monotonic()
    code, out, err = run("-d", "-c", d.config_path)
    equal((code, out), (0, ""), err)
    check(9 < time.monotonic() - began < 13, f"{time.monotonic() - began}")
    check("not ready yet: redis is down" in err, err)
    with open(f"{d.dir}/pid", encoding="ascii") as f:
        pid = int(f.read())
    equal(status(d)["status"], "degraded")
    procs.kill(pid, signal.SIGTERM)
    wait_until(lambda: not procs.alive(pid), 5, "ended")
    procs.reap_orphans()


@case("-v logs at debug")
def verbose():
    d = Daemon(start=False)
    d.write_config()
    with open(d.log_path, "ab") as log:
        d.process = procs.start([BINARY, "-v", "-c", d.config_path], env={"CBTEST_DAEMON": d.dir}, stdout=log, stderr=log)
    with d:
        d.wait_ready()
        check(" debug claudebenchd[" in d.log(), d.log_tail())


@case("the service manager is told: READY once, STATUS, WATCHDOG, STOPPING")
def service_manager():
    folder = procs.subfolder("n")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(f"{folder}/notify")
    s.settimeout(5)
    d = FakeDaemon(start=False)
    d.env.update(NOTIFY_SOCKET=f"{folder}/notify", WATCHDOG_USEC="400000")
    d.start()
    pid = d.pid
    worker_env = open(f"/proc/{d.workers()[0] if d.workers() else status(d)['workers'][0]['pid']}/environ", "rb").read()
    check(b"NOTIFY_SOCKET" not in worker_env, "workers do not inherit the socket")
    with d:
        wait_until(lambda: status(d)["status"] == "healthy", 5, "healthy")
        time.sleep(1)  # the measured time
    got = []
    s.settimeout(0.1)
    try:
        while True:
            got.append(s.recv(4096).decode())
    except OSError:
        pass
    equal(len([g for g in got if "READY=1" in g]), 1, f"{got}")
    check(f"MAINPID={pid}" in [g for g in got if "READY=1" in g][0], f"{got}")
    check(len([g for g in got if g == "WATCHDOG=1"]) >= 4, f"{got}")
    check("STOPPING=1" in got, f"{got}")
    check(any(g.startswith("STATUS=healthy") for g in got), f"{got}")
    check(got.index("STOPPING=1") > next(i for i, g in enumerate(got) if "READY=1" in g), "in order")


class Manager:
    """The service manager's socket: what it was told so far."""

    def __init__(self):
        self.path = procs.subfolder("n") + "/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.told = []

    def has(self, text):
        try:
            while True:
                self.told.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return any(text in line for line in self.told)

    def status(self):
        self.has("")
        return next((line[7:] for line in reversed(self.told) if line.startswith("STATUS=")), "")


@case("READY waits for Redis and for a worker of every domain; STATUS says what it waits for, and what is wrong later")
def ready_and_status():
    redis = PrivateRedis(aof=True)
    m = Manager()
    redis.kill9()
    d = FakeDaemon("system:config task/1:config", redis=redis, workers=2, start=False, more_fds=1)
    d.env["NOTIFY_SOCKET"] = m.path
    with d.start(ready=False):
        wait_until(lambda: m.status().startswith("degraded: redis is down"), 5, m.status)
        redis.restart()
        wait_until(lambda: m.status() == "unhealthy: task: 1 of 2 workers up (and 3 more)", 10, m.status)
        holds_for(lambda: not m.has("READY=1"), 0.3, "no worker of domain system serves", step=0.02)
        d.set_modes("task/1:config")
        d.client("ctl", "reload")
        wait_until(lambda: m.has("READY=1"), 10, lambda: f"one of task's workers will never come: {m.told}")
        wait_until(lambda: m.status() == "degraded: task: 1 of 2 workers up (and 1 more)", 5, m.status)
        wait_until(lambda: d.events("daemon_degraded"), 5, "the log says it, too")
        d.set_modes("")
        d.client("ctl", "reload")
        wait_until(lambda: m.status() == "healthy: 3 workers", 10, m.status)
        procs.kill(next(w["pid"] for w in status(d)["workers"] if w["domain"] == "system"))
        wait_until(lambda: any("system: 0 of 1 workers up" in line for line in m.told) or m.has("system: 0 of 1 workers up"), 5, "told")
        wait_until(lambda: m.status() == "healthy: 3 workers", 10, m.status)
    check(m.has("STOPPING=1"), m.told)
    redis.stop()


@case("memory that is short makes a daemon degraded that starts, not one that is never ready")
def ready_though_full():
    redis = PrivateRedis()
    with redis.client() as r:
        r.call("SETRANGE", "ballast", 20 << 20, "x")
        r.call("CONFIG", "SET", "maxmemory", int(r.info("memory")["used_memory"]) * 100 // 94)
    m = Manager()
    d = Daemon(redis=redis, start=False)
    d.env["NOTIFY_SOCKET"] = m.path
    with d.start(ready=False):
        wait_until(lambda: m.has("READY=1"), 10, lambda: f"{m.told} {d.log_tail()}")
        wait_until(lambda: "creating methods are refused" in m.status(), 10, m.status)
    redis.stop()


@case("closed stdin, stdout and stderr do no harm")
def closed_stdio():
    d = quiet_daemon(FakeDaemon)
    d.write_config()
    d.process = subprocess.Popen(["/bin/sh", "-c", f"exec '{BINARY}' -c '{d.config_path}' <&- >&- 2>&-"],
                                 env=procs.environment({"CBTEST_DAEMON": d.dir, **d.env}), cwd="/")
    with d:
        d.wait_ready()
        fds = procs.fd_list(d.pid)
        equal([fds[0], fds[1], fds[2]], ["/dev/null"] * 3)


@case("started by hand, the worker says that it is not meant to be")
def worker_by_hand():
    done = procs.run([procs.binary("claudebench-worker"), "-d", "task"])
    equal(done.returncode, 64)
    check(b"claudebenchd" in done.stderr, done.stderr)


@case("ready soon, and small (how soon: start_and_idle.py)")
def quick_and_small():
    with Daemon() as d:
        if not is_sanitized():
            check(procs.rss_kib(d.pid) <= 12 * 1024, f"{procs.rss_kib(d.pid)} KiB")
            for p in d.workers():
                check(procs.rss_kib(p) <= 8 * 1024, f"{procs.rss_kib(p)} KiB")


if __name__ == "__main__":
    main()
