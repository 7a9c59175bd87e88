"""backups.py: `claudebench backup` and `restore` that wait at a place of the test's choice."""

import os
import shutil
import subprocess

import procs
import tap

WRAPPER = """#!/bin/sh
{cli} "$@" || exit
: > {folder}/given
while [ ! -e {folder}/go ]; do sleep 0.02; done
"""


class _Begun:
    def __init__(self, daemon, *args, env=None, stdin=None):
        self.process = procs.start([procs.binary("claudebench"), *args], env={"CLAUDEBENCH_CONFIG": daemon.config_path, **(env or {})},
                                   stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def _end(self, data, timeout):
        """(exit code, all that it said)"""
        try:
            out, err = self.process.communicate(data, timeout=timeout)
        finally:
            self.process.kill()
        return self.process.returncode, (out + err).decode()


    def wait(self, timeout):
        """What becomes of it when nobody lets it go on."""
        return self._end(None, timeout)


class HeldBackup(_Begun):
    """All of the snapshot is there, and the backup does not know yet: redis-cli has not ended."""

    def __init__(self, daemon, path):
        self.folder = procs.subfolder("w")
        with open(os.open(f"{self.folder}/redis-cli", os.O_WRONLY | os.O_CREAT, 0o755), "w", encoding="ascii") as f:
            f.write(WRAPPER.format(cli=shutil.which("redis-cli") or shutil.which("valkey-cli"), folder=self.folder))
        super().__init__(daemon, "backup", path, env={"PATH": f"{self.folder}:{os.environ['PATH']}"})
        tap.wait_until(lambda: os.path.exists(f"{self.folder}/given") or self.process.poll() is not None, 20, "the snapshot is there", step=0.01)

    def go_on(self, timeout=20):
        with open(f"{self.folder}/go", "wb"):
            pass
        return self._end(None, timeout)


class HeldRestore(_Begun):
    """It has seen that the server to restore to (a client of it) is empty, and waits for its file."""

    def __init__(self, daemon, link):
        def looks():
            return link.info("commandstats").get("cmdstat_role", "")

        def is_done():
            return looks() != before and b"name=claudebench-restore" not in link.call("CLIENT", "LIST")

        before = looks()
        super().__init__(daemon, "restore", "-", stdin=subprocess.PIPE)
        tap.wait_until(lambda: is_done() or self.process.poll() is not None, 20, "restore has looked", step=0.01)

    def go_on(self, path, timeout=20):
        with open(path, "rb") as f:
            return self._end(f.read(), timeout)
