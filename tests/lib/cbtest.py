"""cbtest.py: all that a whole-program test needs, in one import.

    from cbtest import *

    @case("a task is created")
    def created():
        with Daemon() as d:
            c = d.caller()
            check(c.call("task.create", {"text": "x"})["status"] == "pending", "status")

    main()

tap.py cases and waiting · resp.py Redis client · procs.py processes · privredis.py PrivateRedis · users.py as whom ·
daemon.py Daemon · caller.py Caller · schema.py JSON Schema subset · oracle.py the oracle of fault tests ·
network.py hosts with addresses of their own, links that are cut · proxy.py black holes, an address that moves ·
imposter.py a server that lies · measured.py what a program used
"""

import procs
import tap
from caller import (CallError, Caller, Reply, dumps, failpoint, failpoints_env, has_failpoints, in_threads,
                    need_failpoints, token)
from daemon import Daemon, learn_schemas, merge, yaml
from load import Load
from privredis import PrivateRedis
from resp import NOBODY, Lost, Resp, RespError, encode, pairs
from schema import Mismatch, fits, validate
from tap import (CI, FAULTS, LONG, Failure, Skip, add_case, arguments, at_exit, bound, case, check, equal, fail, figure, holds_for,
                 main, note, rng, short, wait_until)

__all__ = [
    "CI", "FAULTS", "LONG", "CallError", "Caller", "Daemon", "Failure", "Load", "Lost", "Mismatch", "NOBODY", "PrivateRedis",
    "Reply", "Resp", "RespError", "Skip", "add_case", "arguments", "at_exit", "bound", "case", "check", "dumps", "encode", "equal", "fail",
    "failpoint", "failpoints_env", "figure", "fits", "has_failpoints", "holds_for", "in_threads", "learn_schemas", "main",
    "merge", "need_failpoints", "note", "pairs", "procs", "rng", "short", "tap", "token", "validate", "wait_until", "yaml",
]
