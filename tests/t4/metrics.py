#!/usr/bin/env python3
"""metrics.py: what two daemons publish together against what the test knows; and what it costs."""

import time

from cbtest import *

SMALL = {"domains": {"task": {"workers": 2}, "system": {"workers": 1}, "hook": {"workers": 0}}}


def metrics(c):
    return c.call("system.metrics")


def hosts(redis, n=2):
    return [Daemon(redis, config=SMALL, instance=f"host-{i}") for i in range(n)]


def handled(daemons):
    """Requests of the task domain that the workers of these daemons have counted so far: told by their scoreboards, at once."""
    return sum(m["requests"] for d in daemons for name, m in d.status()["methods"].items() if name.startswith("task."))


class Ledger:
    """How many requests were made: by the test, and by looking at the metrics."""

    def __init__(self, caller):
        self.caller, self.sent, self.asked = caller, 0, 0

    def wait_counted(self):
        """Waits until the sum has caught up; what system.metrics said then. A look is counted at its end or later."""
        found = {}

        def is_counted():
            found.update(metrics(self.caller))
            self.asked += 1
            return found["global"] and found["global"]["requests"] >= self.sent

        wait_until(is_counted, 8, lambda: f"{found.get('global')} for {self.sent} requests", step=0.3)
        check(found["global"]["requests"] <= self.sent + self.asked, f"{found['global']}: more than were made")
        return found


@case("counters equal the ledger after drain: requests, errors, tasks; workers are killed and a daemon is restarted meanwhile")
def counters():
    with PrivateRedis() as redis:
        daemons = hosts(redis)
        c = daemons[0].caller()
        ledger, wrong = Ledger(c), 0
        for round_ in range(4):
            requests = [("task.create", {"text": f"t{i}"}, {}) for i in range(100)]
            requests += [("task.get", {"id": f"t-{i}"}, {}) for i in range(1, 21)]
            replies = c.wait_all(c.send_many(requests))
            equal(sum(not r.ok for r in replies), 20)
            wrong += 20
            tasks = c.call("task.claim", {"workerId": "w", "maxTasks": 100})["tasks"]
            check(all(r.ok for r in c.wait_all(c.send_many([("task.complete", {"id": t["id"], "lease_token": t["lease_token"]}, {})
                                                          for t in tasks]))), "completed")
            ledger.sent += 120 + 1 + len(tasks)
            if round_ == 1:
                # A worker counts after its commit: one that is killed in between is not to take a number with it here.
                wait_until(lambda: handled(daemons) == ledger.sent, 5, lambda: f"{handled(daemons)} of {ledger.sent} counted")
                procs.kill(daemons[0].workers("task")[0])
                wait_until(lambda: daemons[0].status()["status"] == "healthy", 10, "replaced")
            if round_ == 2:
                daemons[1].stop()  # what it counted last goes out with its farewell
                daemons[1].start()
        got = ledger.wait_counted()
        equal(got["global"]["restarts"], 1)
        wait_until(lambda: [metrics(c)["global"][n] for n in ("hosts", "workers")] == [2, 6], 5, "both are present", step=0.2)
        with redis.client() as r:
            ever = {k: int(v) for k, v in r.hash("cb:counts").items() if k.startswith("ever:")}
        equal(ever, {"ever:created": 400, "ever:completed": 400})
        equal(got["global"]["errors"], wrong)
        slow = [metrics(c)["global"][n] for n in ("p50_ms", "p95_ms", "p99_ms")]
        check(0 < slow[0] <= slow[1] <= slow[2] < 1000, slow)
        for d in daemons:
            d.stop()


@case("rates: requests and tasks per second follow the load, and go back to nothing")
def rates():
    with PrivateRedis() as redis:
        daemons = hosts(redis)
        c = daemons[0].caller()
        began, n = time.monotonic(), 0
        while time.monotonic() - began < 6:
            c.call("task.create_batch", {"tasks": [{"text": "x"}] * 5})
            n += 1
            holds_for(lambda: True, 0.04, "time")
        rate = n / (time.monotonic() - began)
        wait_until(lambda: rate * 0.5 <= metrics(c)["global"]["requests_per_s"] <= rate * 1.5, 4,
                   lambda: f"{metrics(c)['global']['requests_per_s']} requests/s, made {rate:.1f}", step=0.2)
        created = metrics(c)["scaling"]["created_per_s"]
        note(f"{rate:.1f} requests/s of 5 tasks; told: {metrics(c)['global']['requests_per_s']}, {created} tasks/s")
        check(5 * rate * 0.3 <= created <= 5 * rate * 1.5, f"{created} tasks/s, made {5 * rate:.1f}")
        wait_until(lambda: metrics(c)["global"]["requests_per_s"] < rate * 0.5, 15, "the window slides", step=0.5)
        for d in daemons:
            d.stop()


@case("an idle supervisor sends at most 3 commands a second, leader or not")
def idle():
    with PrivateRedis() as redis:
        daemons = hosts(redis)
        with redis.client() as r:
            holds_for(lambda: True, 2, "time")
            before = commands(r)
            holds_for(lambda: True, 6, "time")
            after = commands(r)
        per_second = (after["evalsha"] - before["evalsha"] + after["info"] - before["info"] - 1) / 6 / 2
        note(f"{per_second:.2f} commands/s a supervisor")
        check(2 <= per_second <= 3.2, f"{per_second} commands/s")
        for d in daemons:
            d.stop()


def commands(r):
    """Calls by command. Scripts call neither EVALSHA nor INFO, and idle workers only read."""
    stats = r.info("commandstats")
    return {n: int(dict(x.split("=") for x in str(stats.get(f"cmdstat_{n}", "calls=0")).split(","))["calls"])
            for n in ("evalsha", "info")}


if __name__ == "__main__":
    main()
