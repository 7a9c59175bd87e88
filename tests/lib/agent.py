#!/usr/bin/env python3
"""agent.py: one agent as a process: claims, writes the ledger, completes; may be killed at any moment.

At its end it prints how many of its completions were refused because its lease was over.

With --die-at it is a hundred agents, one after the other, each of which kills itself at that step of its first task; it prints how
many have."""

import argparse
import os
import signal
import time

from caller import Caller, token
from oracle import Ledger
from resp import Resp

stopping = False
STEPS = ("claim_sent", "claimed", "mid_run", "effect", "complete_sent", "completed")


def on_term(*_):
    global stopping
    stopping = True


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def live_until(step, caller, ledger, name, lease_ms):
    """Claims one task and dies at the step; returns when there is no task."""
    claim = {"workerId": name, "maxTasks": 1, "lease_ms": lease_ms, **({} if step == "claim_sent" else {"wait_ms": 1000})}
    rid = caller.send("task.claim", claim)
    if step == "claim_sent":
        die()
    for task in caller.wait(rid, 20).result["tasks"]:
        key = (task["id"], task["attempt"], task["lease_token"])
        if step == "claimed":
            die()
        ledger.begin(*key, task["lease_until"])
        if step == "mid_run":
            die()
        ledger.end(*key)
        if step == "effect":
            die()
        rid = caller.send("task.complete", {"id": task["id"], "lease_token": task["lease_token"]})
        if step == "complete_sent":
            die()
        if caller.wait(rid, 20).ok:
            ledger.done(*key)
        die()


def die_again_and_again(step, deaths, make_caller, ledger, name, lease_ms):
    """How many of `deaths` agents there were tasks for."""
    died = 0
    while died < deaths and not stopping:
        pid = os.fork()
        if pid == 0:
            try:
                live_until(step, make_caller(f"{name}.{died}"), ledger, name, lease_ms)
            finally:
                os._exit(0)
        died += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        time.sleep(0.005)  # there may be no task for it yet
    return died


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True, help="a path, or HOST:PORT")
    for name in ("--ledger", "--name"):
        parser.add_argument(name, required=True)
    parser.add_argument("--user")
    parser.add_argument("--password-file")
    parser.add_argument("--prefix", default="cb")
    parser.add_argument("--lease-ms", type=int, default=2000)
    parser.add_argument("--work-ms", type=int, default=40)
    parser.add_argument("--die-at", choices=STEPS)
    parser.add_argument("--deaths", type=int, default=100)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, on_term)

    def connect():
        password = None
        if args.password_file:
            with open(args.password_file, encoding="utf-8") as f:
                password = f.readline().strip()
        host, _, port = args.socket.rpartition(":")
        return Resp((host, int(port)) if host else args.socket, args.user, password, timeout=2)

    ledger = Ledger(args.ledger)
    if args.die_at:
        print(die_again_and_again(args.die_at, args.deaths, lambda actor: Caller(connect, args.prefix, actor=actor), ledger, args.name,
                                  args.lease_ms))
        return
    caller = Caller(connect, args.prefix, actor=args.name)
    refused = 0
    while not stopping:
        claim = {"workerId": args.name, "maxTasks": 3, "lease_ms": args.lease_ms}
        reply = caller.insist_all([("task.claim", claim, token())], 60, 1.0, lambda: stopping)[0]
        if reply is None:
            break
        tasks = reply.result["tasks"]
        for task in tasks:
            ledger.begin(task["id"], task["attempt"], task["lease_token"], task["lease_until"])
            time.sleep(args.work_ms / 1000)  # the work
            ledger.end(task["id"], task["attempt"], task["lease_token"])
        done = [("task.complete", {"id": t["id"], "lease_token": t["lease_token"]}, token()) for t in tasks]
        if done:
            for task, reply in zip(tasks, caller.insist_all(done, 60, 1.0)):
                if reply.ok:
                    ledger.done(task["id"], task["attempt"], task["lease_token"])
                refused += reply.code == -32005
        else:
            time.sleep(0.02)  # the pace of asking: a claim without a task does not wait
    print(refused)


if __name__ == "__main__":
    main()
