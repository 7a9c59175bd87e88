#!/usr/bin/env python3
"""agent.py: one agent as a process: claims, writes the ledger, completes; may be killed at any moment.

At its end it prints how many of its completions were refused because its lease was over."""

import argparse
import signal
import time

from caller import Caller, token
from oracle import Ledger
from resp import Resp

stopping = False


def on_term(*_):
    global stopping
    stopping = True


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
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, on_term)

    def connect():
        password = None
        if args.password_file:
            with open(args.password_file, encoding="utf-8") as f:
                password = f.readline().strip()
        host, _, port = args.socket.rpartition(":")
        return Resp((host, int(port)) if host else args.socket, args.user, password, timeout=2)

    caller = Caller(connect, args.prefix, actor=args.name)
    ledger = Ledger(args.ledger)
    refused = 0
    while not stopping:
        claim = {"workerId": args.name, "maxTasks": 3, "lease_ms": args.lease_ms}
        reply = caller.insist_all([("task.claim", claim, token())], 60, 1.0, lambda: stopping)[0]
        if reply is None:
            break
        tasks = reply.result["tasks"]
        for task in tasks:
            ledger.begin(task["id"], task["attempt"], task["lease_token"], task["lease_until"])
            time.sleep(args.work_ms / 1000)
            ledger.end(task["id"], task["attempt"], task["lease_token"])
        done = [("task.complete", {"id": t["id"], "lease_token": t["lease_token"]}, token()) for t in tasks]
        if done:
            for task, reply in zip(tasks, caller.insist_all(done, 60, 1.0)):
                if reply.ok:
                    ledger.done(task["id"], task["attempt"], task["lease_token"])
                refused += reply.code == -32005
        else:
            time.sleep(0.02)
    print(refused)


if __name__ == "__main__":
    main()
