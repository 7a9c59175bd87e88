#!/usr/bin/env python3
"""installed.py: `make install` puts everything in its place, keeps a configuration, and `make uninstall` takes it back."""

import os
import re
import subprocess

from cbtest import *

DEST = procs.subfolder("i")


def make(target):
    env = {k: v for k, v in procs.environment().items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "-C", procs.top_builddir(), target, f"DESTDIR={DEST}"], env=env,
                          capture_output=True, timeout=120, check=False)
    equal(done.returncode, 0, done.stderr.decode())


def installed():
    return sorted(os.path.relpath(os.path.join(folder, f), DEST) for folder, _, files in os.walk(DEST) for f in files)


def find(name):
    found = [f for f in installed() if f.endswith("/" + name)]
    equal(len(found), 1, f"{name} in {installed()}")
    return f"{DEST}/{found[0]}"


@case("programs, manual pages and the sample configuration; a configuration in use is not touched; gone again")
def install():
    make("install")
    for name in ("sbin/claudebenchd", "bin/claudebench", "libexec/claudebench/claudebench-worker", "man8/claudebenchd.8",
                 "claudebench/claudebench.yaml.example", "init.d/claudebench", "default/claudebench", "logrotate.d/claudebench",
                 "systemd/system/claudebench.service", "systemd/user/claudebench.service", "sysusers.d/claudebench.conf",
                 "tmpfiles.d/claudebench.conf", "claudebench/rules.d/10-dangerous-operations.yaml",
                 "claudebench/monitoring/claudebench.rules.yml", "claudebench/monitoring/claudebench-dashboard.json",
                 "bash-completion/completions/claudebench", "zsh/site-functions/_claudebench", "vendor_completions.d/claudebench.fish"):
        find(name)
    if os.path.exists(procs.binary("claudebench-top")):
        find("libexec/claudebench/claudebench-top")
    with open(find("claudebench.yaml.example"), encoding="utf-8") as f:
        sample = f.read()
    with open(os.path.join(procs.top_srcdir(), "etc/claudebench.yaml"), encoding="utf-8") as f:
        equal(sample, f.read())
    # It is good as it is, and for whoever edits a copy.
    mine = os.path.join(os.path.dirname(find("claudebench.yaml.example")), "claudebench.yaml")
    with open(mine, "w", encoding="utf-8") as f:
        f.write(sample + "\n# mine\n")
    # What lies in DESTDIR does not find its own other half.
    done = procs.run([find("claudebenchd"), "-t", "-c", mine], env={"CLAUDEBENCH_WORKER": find("libexec/claudebench/claudebench-worker")})
    equal(done.returncode, 0, done.stderr.decode())
    make("install")
    with open(mine, encoding="utf-8") as f:
        check(f.read().endswith("# mine\n"), "kept")
    check(os.access(find("init.d/claudebench"), os.X_OK), "the init script can be run")
    make("uninstall")
    left = [f for f in installed() if not re.search(r"/claudebench/claudebench\.yaml$", f)]
    equal(left, [])


if __name__ == "__main__":
    main()
