"""procs.py: processes that a test starts: they die with it, and none is left behind unnoticed.

The test process is a child subreaper, so whatever a killed daemon leaves behind becomes our child and is
seen by descendants(). Everything started here carries CBTEST_RUN=<token>; a janitor process kills what
still carries it when the test itself dies, and removes the temporary folder.
"""

import atexit
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time

import users

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
TOKEN = f"{os.getpid()}-{os.urandom(6).hex()}"
_folder = None
_known = {}  # pid -> Popen
_spawning = threading.RLock()  # held until a new child is known


class _KnownPopen(subprocess.Popen):
    """What subprocess.run() and its like make, too. A child that reap_orphans() took away would have ended with 0, says Popen."""

    def __init__(self, *args, **kw):
        with _spawning:
            super().__init__(*args, **kw)
            _known[self.pid] = self


subprocess.Popen = _KnownPopen


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def top_builddir():
    return os.environ.get("TOP_BUILDDIR") or os.path.abspath("build")


def top_srcdir():
    return os.environ.get("TOP_SRCDIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def binary(name):
    return os.path.join(top_builddir(), name)


def folder():
    """The temporary folder of this test process (short: unix socket paths end at 107 bytes)."""
    global _folder
    if _folder is None:
        _folder = tempfile.mkdtemp(prefix="cbt-", dir="/tmp")
        users.install(_folder)
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _start_janitor()
        atexit.register(_end_all)
    return _folder


def subfolder(prefix):
    return tempfile.mkdtemp(prefix=prefix, dir=folder())


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("CLAUDEBENCH_")}
    # A folder of its own as home, so that no user's configuration is ever found.
    env.update(CBTEST_RUN=TOKEN, HOME=folder(), XDG_CONFIG_HOME=folder() + "/config")
    env.update(XDG_STATE_HOME=folder() + "/state", XDG_RUNTIME_DIR=folder() + "/run", NO_COLOR="1")
    env.pop("NOTIFY_SOCKET", None)
    env.update(extra or {})
    return env


def _lead_a_group():
    _die_with_parent()
    os.setpgid(0, 0)


def start(argv, env=None, stdin=None, stdout=None, stderr=None, pass_fds=(), cwd=None, own_group=False):
    """own_group: a process group of its own, as a shell gives to a command: os.killpg(pid) is then its Ctrl-C."""
    folder()
    return subprocess.Popen(
        argv,
        env=environment(env),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        cwd=cwd or folder(),
        preexec_fn=_lead_a_group if own_group else _die_with_parent,
    )


def run(argv, env=None, input=None, timeout=20):
    """Runs to the end: an object with returncode, stdout, stderr (bytes)."""
    folder()
    try:
        return subprocess.run(
            argv,
            env=environment(env),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout,
            cwd=folder(),
            preexec_fn=_die_with_parent,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        said = "".join((part or b"")[-1000:].decode(errors="replace") for part in (e.stdout, e.stderr))
        raise AssertionError(f"{' '.join(map(str, argv))}: not over after {timeout} s; it said: {said!r}") from e


def run_on_terminal(argv, env=None, timeout=20):
    """Runs with a terminal as stdin, stdout and stderr: (exit status, all bytes that it printed)."""
    master, slave = os.openpty()
    # No translation of line ends: what arrives is what was written.
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    process = start(argv, env={"TERM": "xterm", **(env or {})}, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    out = bytearray()
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.05)
            if ready:
                try:
                    data = os.read(master, 65536)
                except OSError:  # the other side is closed
                    break
                if not data:
                    break
                out += data
    finally:
        os.close(master)
    return process.wait(max(0.1, deadline - time.monotonic())), bytes(out)


# ---- looking at processes ----


def stat(pid):
    """(state letter, parent's pid, name), or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            text = f.read().decode("utf-8", "replace")
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[1]), name


def alive(pid):
    s = stat(pid)
    return s is not None and s[0] not in "ZX"


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                found += [int(word) for word in f.read().split()]
    except OSError:
        pass
    return found


def descendants(pid):
    found, queue = [], [pid]
    while queue:
        for child in children(queue.pop()):
            if child not in found:
                found.append(child)
                queue.append(child)
    return found


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return [w.decode("utf-8", "replace") for w in f.read().split(b"\0")[:-1]]
    except OSError:
        return []


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def fd_list(pid):
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            pass
    return found


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def describe(pid):
    s = stat(pid)
    return f"{pid} {s[2] if s else '?'} state {s[0] if s else 'gone'} parent {s[1] if s else '?'} {' '.join(cmdline(pid))[:120]}"


def kill(pid, signum=signal.SIGKILL):
    try:
        os.kill(pid, signum)
        return True
    except ProcessLookupError:
        return False


def reap_orphans():
    """Collects zombies that became ours because their parent died; never those of a Popen, whatever thread waits for them."""
    with _spawning:
        for pid in children(os.getpid()):
            ours = _known.get(pid)
            if (ours is None or ours.returncode is not None) and pid != _janitor_pid:
                s = stat(pid)
                if s and s[0] == "Z":
                    try:
                        os.waitpid(pid, os.WNOHANG)
                    except ChildProcessError:
                        pass


def leftovers(ignore=()):
    """Living descendants that nobody has declared with `ignore` (pids)."""
    reap_orphans()
    skip = set(ignore) | {_janitor_pid}
    found = []
    for pid in descendants(os.getpid()):
        if pid in skip or not alive(pid):
            continue
        parent = pid
        while parent not in (0, 1, os.getpid()):
            if parent in skip:
                break
            s = stat(parent)
            parent = s[1] if s else 0
        if parent in skip:
            continue
        found.append(pid)
    return found


# ---- the end ----

_janitor_pid = None


def belongs(pid, mark, path):
    """Whether a process carries `mark` in its environment, or works in `path` (redis-server overwrites
    its environment with its title)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            if mark.encode() in f.read().split(b"\0"):
                return True
        where = os.readlink(f"/proc/{pid}/cwd")
        return where.startswith(path + "/") or path + "/" in " ".join(cmdline(pid))
    except OSError:
        return False


def token_holders():
    mine = (os.getpid(), os.getppid())
    pids = [int(e) for e in os.listdir("/proc") if e.isdigit() and int(e) not in mine]
    return [p for p in pids if belongs(p, f"CBTEST_RUN={TOKEN}", _folder) and alive(p)]


def _start_janitor():
    global _janitor_pid
    reader, writer = os.pipe()  # close-on-exec; the writing end is only ours
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(reader)
        _janitor_pid = pid
        return
    try:
        os.setsid()
        os.close(writer)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(signum, signal.SIG_IGN)
        os.read(reader, 1)
        for _ in range(50):
            holders = token_holders()
            for holder in holders:
                kill(holder)
            if not holders:
                break
            time.sleep(0.02)
        shutil.rmtree(_folder, ignore_errors=True)
    finally:
        os._exit(0)


def _end_all():
    for process in list(_known.values()):
        if process.poll() is None:
            kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        mine = [p for p in descendants(os.getpid()) if p != _janitor_pid and alive(p)]
        if not mine:
            break
        for pid in mine:
            kill(pid)
        time.sleep(0.01)
        reap_orphans()
    if os.environ.get("CB_KEEP"):
        print(f"# kept {_folder}", flush=True)
        kill(_janitor_pid)
    else:
        shutil.rmtree(_folder, ignore_errors=True)
