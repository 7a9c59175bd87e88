"""measured.py: runs a program to its end, or for so many seconds, and says what it used.

    python3 -S measured.py SECONDS OUT PROGRAM [ARGUMENT…]     prints: exit status, most memory in KiB, CPU time, time

A process of its own, and a small one: what a child is said to have used at most begins with what its parent has. run() starts it.
"""

import collections
import os
import signal
import sys
import time

Ended = collections.namedtuple("Ended", "code peak_kib cpu_s took_s out")


def run(words, env=None, limit=30.0):
    """An Ended; `out` is stdout and stderr together, 1 MiB of it at most. A program that `limit` ended has the code -15 or its own."""
    import procs
    import tap

    out = f"{procs.subfolder('o')}/out"
    done = procs.run([sys.executable, "-S", os.path.abspath(__file__), str(limit), out, *words], env=env, timeout=limit + 30)
    tap.equal(done.returncode, 0, done.stderr)
    code, peak, cpu, took = done.stdout.split()
    with open(out, "rb") as f:
        return Ended(int(code), int(peak), float(cpu), float(took), f.read(1 << 20))


def measure(limit, out, words):
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    began = time.monotonic()
    pid = os.posix_spawnp(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, fd, 1), (os.POSIX_SPAWN_DUP2, fd, 2)])
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, limit)
    _, state, usage = os.wait4(pid, 0)
    print(os.waitstatus_to_exitcode(state), usage.ru_maxrss, usage.ru_utime + usage.ru_stime, time.monotonic() - began)


if __name__ == "__main__":
    measure(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
