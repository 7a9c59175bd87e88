"""reload_leaks.py: under valgrind, twenty reloads, scalings, refused reloads and questions leave no memory behind."""

import os
import shutil
import signal

from cbtest import Daemon, Skip, case, check, equal, main, note, procs, wait_until
from supervised import is_sanitized, status

OPTIONS = ["--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible", "--error-exitcode=99", "--child-silent-after-fork=yes"]


class Watched(Daemon):
    """claudebenchd under valgrind, by a script in its place."""

    def start(self, ready=True):
        wrapper = f"{self.dir}/claudebenchd"
        with open(wrapper, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\nexec valgrind {" ".join(OPTIONS)} {procs.binary("claudebenchd")} "$@"\n')
        os.chmod(wrapper, 0o755)
        binary = procs.binary
        procs.binary = lambda name: wrapper if name == "claudebenchd" else binary(name)
        try:
            return super().start(ready)
        finally:
            procs.binary = binary


@case("twenty reloads under valgrind")
def reloads():
    if not shutil.which("valgrind"):
        raise Skip("valgrind is not there")
    if is_sanitized():
        raise Skip("a sanitizer build looks by itself")
    d = Watched(env={"CLAUDEBENCH_WORKER": procs.binary("claudebench-worker")},
                config={"supervisor": {"watchdog_ms": 20000, "ready_timeout_ms": 60000, "stop_timeout_ms": 60000}})
    resident = []
    for i in range(20):
        d.config["task"] = {"lease_ms": 20000 + i}
        d.config["log"]["destination"] = f"{d.dir}/log" if i % 2 else "stderr"
        d.write_config()
        equal(d.client("ctl", "reload", "--wait", timeout=120).returncode, 0)
        d.config["task"] = {"lease_ms": "never"}
        d.write_config()
        equal(d.client("ctl", "reload").returncode, 78)
        equal(d.client("ctl", "scale", "task", str(1 + i % 3), "--wait", timeout=120).returncode, 0)
        resident.append(procs.rss_kib(d.pid))
    equal(status(d)["config"]["reloads"], 20)
    note(f"resident under valgrind: {resident[0]} KiB after one reload, {resident[-1]} after twenty")
    procs.kill(d.pid, signal.SIGTERM)
    wait_until(lambda: d.process.poll() is not None, 60, "it ends")
    equal(d.process.returncode, 0, d.log_tail(60))
    check("definitely lost" not in d.log(), d.log_tail(60))


if __name__ == "__main__":
    main()
