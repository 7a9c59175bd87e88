"""powercut.py: a Redis whose append only file a test cuts off as a loss of power would (syncshim.c tells how far it was fsynced)."""

import os

import procs
import tap
from privredis import PrivateRedis

SHIM = os.path.join(procs.top_builddir(), "tests/lib/syncshim.so")


class PowerCut:
    """A Redis whose append only file is cut off as a power cut would."""

    def __init__(self, fsync):
        tap.check(os.path.exists(SHIM), f"{SHIM} is not built")
        self.note = f"{procs.subfolder('s')}/synced"
        self.redis = PrivateRedis(aof=True, fsync=fsync, env={"LD_PRELOAD": SHIM, "CBTEST_SYNCED": self.note})

    def cut(self, share):
        """Redis is dead. Keeps what was fsynced, and this share of what was not: (bytes kept, cut off)."""
        folder = f"{self.redis.dir}/appendonlydir"
        path = max((f"{folder}/{n}" for n in os.listdir(folder) if n.endswith(".incr.aof")), key=os.path.getmtime)
        with open(self.note, encoding="ascii") as f:
            synced = int(f.read())
        size = os.path.getsize(path)
        tap.check(synced <= size, f"{synced} of {size} bytes")
        keep = synced + int(share * (size - synced))
        os.truncate(path, keep)
        return keep, size - keep
