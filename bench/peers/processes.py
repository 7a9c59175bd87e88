"""processes.py: what bench/run starts: in one folder, seen through /proc, and gone when it is done."""

import ctypes
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
RECORD = struct.Struct("3d")  # now, when it was sent, process
END_S = 5
LIBC = ctypes.CDLL(None, use_errno=True)


class Stuck(Exception):
    """Somebody did not do what was expected of him in time; the text goes into the table."""


def die_with_parent():
    LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def killed_with_parent():
    LIBC.prctl(1, signal.SIGKILL)  # a driver may be stopped just then, and has nothing to take away


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def tree(pid):
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            found += [int(word) for word in read(f"/proc/{parent}/task/{thread}/children").split()]
    return found


def cpu_s(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def is_stopped(pid):
    """All threads: a signal reaches one of them, and the others go on until that one has run."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True
    return all(read(f"/proc/{pid}/task/{thread}/stat").rpartition(")")[2].split()[:1] in (["T"], []) for thread in threads)


def rss_bytes(pid):
    for line in read(f"/proc/{pid}/status").split("\n"):
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    return 0


class Process:
    """One that was started, in a session of its own."""

    def __init__(self, name, argv, env, folder):
        self.name, self.log = name, os.path.join(folder, name + ".log")
        with open(self.log, "ab") as log:
            # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn
            self.child = subprocess.Popen(argv, env=env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE if name == "producer" else log,
                                          stderr=log, start_new_session=True,
                                          preexec_fn=killed_with_parent if name in ("consumer", "producer") else die_with_parent)
        self.pid = self.child.pid

    def must_live(self):
        if self.child.poll() is not None:
            words = " ".join(read(self.log).split())
            raise Stuck(f"{self.name} ended with {self.child.returncode}: {words[-200:]}")

    def signal(self, signo):
        try:
            os.killpg(self.pid, signo)
        except ProcessLookupError:
            pass

    def cpu_s(self):
        return sum(cpu_s(pid) for pid in tree(self.pid))

    def rss_bytes(self):
        return sum(rss_bytes(pid) for pid in tree(self.pid))


class Box:
    """A folder, the processes of one system in it, and the file of records that its drivers share."""

    def __init__(self, env):
        self.folder = tempfile.mkdtemp(prefix="cb-peers.")
        self.socket = os.path.join(self.folder, "redis.sock")
        self.records = os.path.join(self.folder, "records")
        self.env = {**os.environ, **env, "BENCH_RECORDS": self.records, "BENCH_SOCKET": self.socket,
                    "BENCH_REDIS": "unix://" + self.socket, "TMPDIR": self.folder, "HOME": self.folder}
        self.processes = []
        with open(self.records, "wb"):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for signo, seconds in ((signal.SIGTERM, END_S), (signal.SIGKILL, END_S)):
            alive = [p for p in reversed(self.processes) if p.child.poll() is None]
            for p in alive:
                p.signal(signal.SIGCONT)
                p.signal(signo)
            until = time.monotonic() + seconds
            for p in alive:
                try:
                    p.child.wait(max(0.01, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass
        for p in self.processes:
            p.signal(signal.SIGKILL)  # what is left of its group
            for pipe in (p.child.stdin, p.child.stdout):
                if pipe:
                    pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, argv, **more):
        process = Process(name, argv, {**self.env, **more}, self.folder)
        self.processes.append(process)
        return process

    def wait(self, condition, seconds, what):
        until = time.monotonic() + seconds
        while not condition():
            for process in self.processes:
                process.must_live()
            if time.monotonic() > until:
                raise Stuck(f"{what}: not in {seconds:.0f} s")
            time.sleep(0.003)

    def cpu_s(self):
        return sum(p.cpu_s() for p in self.processes)

    # ---- records ----

    def forget(self):
        os.truncate(self.records, 0)

    def count(self):
        return os.stat(self.records).st_size // RECORD.size

    def read_records(self):
        """[(now, sent, process)] in the order of time."""
        with open(self.records, "rb") as f:
            data = f.read()
        return sorted(RECORD.iter_unpack(data[:len(data) // RECORD.size * RECORD.size]))


class Producer:
    """The driver that enqueues: told what to do line by line, answers with the seconds that it took."""

    def __init__(self, process):
        self.process = process
        self.selector = selectors.DefaultSelector()
        self.selector.register(process.child.stdout, selectors.EVENT_READ)

    def tell(self, order, count):
        try:
            self.process.child.stdin.write(f"{order} {count}\n".encode())
            self.process.child.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says why

    def answer(self, order, seconds):
        text, until = b"", time.monotonic() + seconds
        while not text.endswith(b"\n"):
            if not self.selector.select(max(0, until - time.monotonic())):
                raise Stuck(f"the producer did not end '{order}' in {seconds:.0f} s")
            more = os.read(self.process.child.stdout.fileno(), 4096)
            if not more:
                self.process.child.wait(END_S)
                self.process.must_live()
            text += more
        return float(text)

    def order(self, order, count, seconds=30):
        self.tell(order, count)
        return self.answer(order, seconds)
