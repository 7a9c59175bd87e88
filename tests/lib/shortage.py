"""shortage.py: forks, threads and memory that fail in programs under test (failshim.c), switched while they run.

    few = Shortage()                        # of claudebenchd and its workers
    with Daemon(env=few.env) as d:
        few.set(forks=500)                  # every second fork fails
        few.set()                           # cured
"""

import mmap
import os
import struct

import procs
import tap

SHIM = os.path.join(procs.top_builddir(), "tests/lib/failshim.so")
WORDS = ("seed", "forks", "allocations", "least", "above", "started", "failed")


def need_shim():
    with open(procs.binary("claudebenchd"), "rb") as f:
        if b"__asan_init" in f.read():
            raise tap.Skip("the sanitizer's library must be the first one")
    tap.check(os.path.exists(SHIM), f"{SHIM} is not built")


class Shortage:
    """forks: of a thousand forks and threads; allocations: of a million of at least `least` bytes; above: allocations of more
    bytes than that."""

    def __init__(self, only="claudebenchd:claudebench-worker", salt="shortage"):
        need_shim()
        path = f"{procs.subfolder('f')}/plan"
        with open(path, "wb") as f:
            f.write(struct.pack("<7I", tap.rng(salt).getrandbits(32), *[0] * 6))
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 0)
        self.env = {"LD_PRELOAD": SHIM, "CBTEST_FAIL": path, "CBTEST_FAIL_ONLY": only}

    def set(self, **words):
        """What is not named is cured."""
        for name in ("forks", "allocations", "least", "above"):
            struct.pack_into("<I", self.memory, 4 * WORDS.index(name), words.pop(name, 0))
        tap.check(not words, f"unknown: {words}")

    @property
    def failed(self):
        """Calls that have failed so far."""
        return struct.unpack_from("<I", self.memory, 4 * WORDS.index("failed"))[0]
