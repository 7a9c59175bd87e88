#!/usr/bin/env python3
"""model.py: random operations against claudebenchd and against a model of the task domain in a hundred lines: every reply, every
task and every list must be as the model says. CB_LONG=1 does many more; the seed is printed.

One request at a time, so that the model knows the order. Leases and pauses are a day long, so that time changes nothing.
"""

import collections
import random
import time

from cbtest import *
from counts import check_counts

STEPS = 40000 if LONG else 3000
DAY = 86400000
QUEUES = ["default", "q2"]
ROLES = ["gpu", "cpu"]
WORKERS = ["w1", "w2", "w3"]  # registered
STRANGERS = ["s1"]  # claims without being so
NOT_KNOWN = "the token of a task that was assigned and not handed over"


class Refused(Exception):
    def __init__(self, code, reason=None):
        super().__init__(f"{code} {reason}")
        self.want = (code, reason)


class Task:
    def __init__(self, tid, p):
        self.id, self.text, self.queue = tid, p["text"], p.get("queue", "default")
        self.priority, self.roles = p.get("priority", 50), p.get("roles", [])
        self.max_attempts, self.payload = p.get("max_attempts", 3), p.get("payload")
        self.status, self.attempt, self.version = "pending", 0, 1
        self.holder = self.token = self.result = self.error = None
        self.is_dead = False
        self.done = None  # (operation, token, worker, outcome) of the last end of an attempt

    def shown(self):
        """What task.get says, but times and tokens."""
        out = {"id": self.id, "text": self.text, "status": self.status, "priority": self.priority, "queue": self.queue,
               "attempt": self.attempt, "maxAttempts": self.max_attempts, "version": self.version}
        optional = {"roles": self.roles or None, "assignedTo": self.holder, "payload": self.payload, "result": self.result,
                    "error": self.error, "dead": self.is_dead or None}
        out.update({k: v for k, v in optional.items() if v is not None})
        return out


class Model:
    """What the documents say. Each method returns the result that is wanted, without times, or raises Refused."""

    def __init__(self):
        self.tasks = {}
        self.assigned = {w: [] for w in WORKERS + STRANGERS}  # not yet handed over, oldest first

    def find(self, tid):
        if tid not in self.tasks:
            raise Refused(-32004, "unknown")
        return self.tasks[tid]

    # ---- the ends of an attempt ----

    def holds(self, t, operation, token, worker):
        """True: go on; else the first outcome is to be given again."""
        if t.status == "in_progress" and token in (None, t.token) and worker in (None, t.holder):
            return True
        if t.done:
            op, done_token, done_by, _ = t.done
            same = token is not None and token == done_token
            same = same or token is None and worker is not None and worker == done_by and t.status != "in_progress"
            if same and op == operation:
                return False
        raise Refused(-32005, "state" if token is None and t.status != "in_progress" else "stale_lease")

    def leave(self, t, status, operation=None, outcome=None):
        if operation:
            t.done = (operation, t.token, t.holder, outcome)
        if t.id in self.assigned[t.holder]:
            self.assigned[t.holder].remove(t.id)
        t.status, t.holder, t.token = status, None, None
        t.version += 1

    def complete(self, tid, token=None, worker=None, result=None):
        t = self.find(tid)
        if not self.holds(t, "complete", token, worker):
            return t.done[3]
        outcome = {"id": tid, "status": "completed"}
        self.leave(t, "completed", "complete", outcome)
        t.result = result
        return outcome

    def fail(self, tid, token, error, retry):
        t = self.find(tid)
        if not self.holds(t, "fail", token, None):
            return t.done[3]
        again = retry and t.attempt < t.max_attempts
        outcome = {"id": tid, "status": "delayed" if again else "failed", "dead": not again}
        self.leave(t, outcome["status"], "fail", outcome)
        t.error, t.is_dead = error, not again
        return outcome

    def release(self, tid, token):
        t = self.find(tid)
        if not self.holds(t, "release", token, None):
            return t.done[3]
        outcome = {"id": tid, "status": "pending"}
        self.leave(t, "pending", "release", outcome)
        t.attempt -= 1
        return outcome

    def renew(self, tid, token):
        t = self.find(tid)
        if t.status != "in_progress" or t.token != token:
            raise Refused(-32005, "stale_lease")
        return {}

    # ---- who gets what ----

    def pending(self, queue, roles):
        found = [t for t in self.tasks.values() if t.status == "pending" and t.queue == queue
                 and (not t.roles or set(t.roles) & set(roles))]
        return sorted(found, key=lambda t: (-t.priority, t.id))

    def claim(self, worker, queue, roles, most):
        """The tasks that come, best first."""
        got = [self.tasks[i] for i in self.assigned[worker][:most]]
        self.assigned[worker] = self.assigned[worker][len(got):]
        for t in self.pending(queue, roles)[:most - len(got)]:
            self.start(t, worker)
            got.append(t)
        return got

    def start(self, t, worker):
        t.status, t.holder = "in_progress", worker
        t.attempt += 1
        t.version += 1

    def assign(self, tid, worker):
        t = self.find(tid)
        if t.status != "pending":
            raise Refused(-32005, "state")
        self.registered(worker)
        self.start(t, worker)
        t.token = NOT_KNOWN
        self.assigned[worker].append(tid)
        return {"taskId": tid, "instanceId": worker}

    @staticmethod
    def registered(worker):
        if worker not in WORKERS:
            raise Refused(-32004, "unknown")

    def reassign(self, tid, worker):
        t = self.find(tid)
        if t.status not in ("in_progress", "pending"):
            raise Refused(-32005, "state")
        if worker:
            self.registered(worker)
        if t.status == "in_progress":
            self.leave(t, "pending")
            t.attempt -= 1
            if worker:
                t.version -= 1  # one change, not two
        if worker:
            self.assign(tid, worker)
        return {"id": tid, "assignedTo": worker}

    def delete(self, tid):
        t = self.find(tid)
        if t.status == "in_progress":
            raise Refused(-32005, "state")
        del self.tasks[tid]
        return {"id": tid, "status": "deleted"}


class Waiter:
    """A claim that is parked."""

    def __init__(self, rid, worker, queue, roles, most):
        self.rid, self.worker, self.queue, self.roles, self.most = rid, worker, queue, roles, most
        self.since = time.monotonic()

    def may_have(self, t):
        return t.queue == self.queue and (not t.roles or set(t.roles) & set(self.roles))


class Walk:
    """The random walk: draws an operation, sends it, and compares."""

    def __init__(self, daemon):
        self.daemon, self.key = daemon, daemon.key
        self.c, self.model, self.draw = daemon.caller(), Model(), random.Random(rng("model").random())
        self.waiters = []  # in the order of their arrival
        self.done = collections.Counter()

    # ---- drawing ----

    def some_task(self):
        ids = list(self.model.tasks)
        if not ids or self.draw.random() < 0.02:
            return "t-0000000000000001"
        return self.draw.choice(ids[-60:])  # mostly ones that something happens to

    def some_held(self):
        held = [t.id for t in self.model.tasks.values() if t.status == "in_progress"]
        return self.draw.choice(held) if held and self.draw.random() < 0.8 else self.some_task()

    def some_token(self, tid):
        t = self.model.tasks.get(tid)
        tokens = [x for x in (t and t.token, t and t.done and t.done[1]) if x and x != NOT_KNOWN]
        return self.draw.choice(tokens) if tokens and self.draw.random() < 0.9 else token()

    def some_roles(self, most):
        return self.draw.sample(ROLES, self.draw.choice([0, 0, *range(most + 1)]))

    def new_task(self):
        p = {"text": f"task {self.draw.randint(0, 999)}", "queue": self.draw.choice(QUEUES), "priority": self.draw.choice([0, 50, 50, 99]),
             "max_attempts": self.draw.randint(1, 3), "backoff_ms": DAY}
        roles = self.some_roles(2)
        if roles:
            p["roles"] = roles
        if self.draw.random() < 0.3:
            p["payload"] = {"n": self.draw.randint(0, 9), "empty": []}
        return p

    # ---- sending and comparing ----

    def ask(self, method, params, wanted):
        """Sends; `wanted` makes the model's answer from the result (None when it was refused). Sometimes sends it twice."""
        key = token()
        reply = self.c.ask(method, params, idem=key)
        what = f"{method} {params}: {short(reply.raw)}"
        try:
            want = wanted(reply.result if reply.ok else None)
        except Refused as refusal:
            check(not reply.ok, f"{what}; the model refuses: {refusal}")
            equal((reply.code, reply.data.get("reason")), refusal.want, what)
            return
        check(reply.ok, f"{what}; the model accepts")
        equal(plain(reply.result), want, what)
        if self.draw.random() < 0.1:
            again = self.c.ask(method, params, idem=key)
            check(again.ok, f"{what}; its repeat: {short(again.raw)}")
            equal(plain(again.result), want, f"the repeat of {what}")

    # ---- operations ----

    def create(self):
        p = self.new_task()

        def wanted(result):
            t = self.add(result["id"], p)
            return {"id": t.id, "text": t.text, "status": "pending", "priority": t.priority}

        self.ask("task.create", p, wanted)

    def create_batch(self):
        ps = [self.new_task() for _ in range(self.draw.randint(1, 5))]

        def wanted(result):
            for tid, p in zip(result["ids"], ps):
                self.add(tid, p)
            return {"ids": result["ids"]}

        self.ask("task.create_batch", {"tasks": ps}, wanted)

    def add(self, tid, p):
        check(tid not in self.model.tasks and all(tid > t for t in list(self.model.tasks)[-1:]), f"{tid} is new and the last")
        self.model.tasks[tid] = Task(tid, p)
        return self.model.tasks[tid]

    def claim_params(self):
        p = {"workerId": self.draw.choice(WORKERS + STRANGERS), "queue": self.draw.choice(QUEUES), "maxTasks": self.draw.randint(1, 3)}
        roles = self.some_roles(2)
        if roles:
            p["roles"] = roles
        return p

    def claim(self):
        self.claim_with(self.claim_params())

    def claim_with(self, p):
        def wanted(result):
            got = self.model.claim(p["workerId"], p["queue"], p.get("roles", []), p["maxTasks"])
            return self.handed(result, got)

        self.ask("task.claim", p, wanted)

    def handed(self, result, got):
        """What a claim is to say of these tasks; learns their tokens."""
        for t, told in zip(got, result["tasks"]):
            t.token = told["lease_token"]
        want = {"claimed": bool(got), "tasks": [{**t.shown(), "lease_token": t.token} for t in got]}
        if got:
            want["taskId"] = got[0].id
        return want

    def wait(self):
        """A claim that is parked when there is nothing."""
        p = {**self.claim_params(), "wait_ms": 30000}
        if len(self.waiters) >= 4:
            return
        rid = self.c.send("task.claim", p, idem=token())
        got = self.model.claim(p["workerId"], p["queue"], p.get("roles", []), p["maxTasks"])
        if got:
            reply = self.c.wait(rid)
            equal(plain(reply.result), self.handed(reply.result, got), f"{p}")
        else:
            self.waiters.append(Waiter(rid, p["workerId"], p["queue"], p.get("roles", []), p["maxTasks"]))
            self.c.call("system.health")  # by then it is parked: one task worker
            self.c.ask("task.get", {"id": "t-0000000000000001"})

    def complete(self):
        tid = self.some_held()
        t = self.model.tasks.get(tid)
        p = {"id": tid}
        if self.draw.random() < 0.8:
            p["lease_token"] = self.some_token(tid)
        if self.draw.random() < 0.5:
            p["workerId"] = t.holder if t and t.holder and self.draw.random() < 0.9 else self.draw.choice(WORKERS)
        if self.draw.random() < 0.5:
            p["result"] = {"by": self.draw.randint(0, 99)}
        args = (tid, p.get("lease_token"), p.get("workerId"), p.get("result"))
        self.ask("task.complete", p, lambda _: self.model.complete(*args))

    def complete_batch(self):
        ids = list(dict.fromkeys(self.some_held() for _ in range(3)))
        items = [{"id": i, "lease_token": self.some_token(i)} for i in ids]

        def wanted(result):
            out = []
            for item, told in zip(items, result["items"]):
                try:
                    out.append(self.model.complete(item["id"], item["lease_token"]))
                except Refused as refusal:
                    equal((told["error"]["code"], told["error"]["data"].get("reason")), refusal.want, short(result))
                    out.append({"id": item["id"], "error": told["error"]})
            return {"items": out}

        self.ask("task.complete_batch", {"items": items}, wanted)

    def fail(self):
        tid = self.some_held()
        p = {"id": tid, "lease_token": self.some_token(tid), "error": f"e{self.draw.randint(0, 9)}", "retry": self.draw.random() < 0.6}
        self.ask("task.fail", p, lambda _: self.model.fail(tid, p["lease_token"], p["error"], p["retry"]))

    def release(self):
        tid = self.some_held()
        p = {"id": tid, "lease_token": self.some_token(tid)}
        self.ask("task.release", p, lambda _: self.model.release(tid, p["lease_token"]))

    def renew(self):
        tid = self.some_held()
        p = {"id": tid, "lease_token": self.some_token(tid)}
        self.ask("task.renew", p, lambda _: self.model.renew(tid, p["lease_token"]))

    def assign(self):
        p = {"taskId": self.some_task(), "instanceId": self.draw.choice(WORKERS + WORKERS + STRANGERS)}
        self.ask("task.assign", p, lambda _: self.model.assign(p["taskId"], p["instanceId"]))

    def reassign(self):
        p = {"id": self.some_held()}
        if self.draw.random() < 0.5:
            p["to"] = self.draw.choice(WORKERS)
        self.ask("task.reassign", p, lambda _: self.model.reassign(p["id"], p.get("to")))

    def delete(self):
        tid = self.some_task()
        self.ask("task.delete", {"id": tid}, lambda _: self.model.delete(tid))

    def get(self):
        tid = self.some_task()
        self.ask("task.get", {"id": tid}, lambda _: self.model.find(tid).shown())

    # ---- waiters ----

    def before(self):
        """What the model holds pending and assigned before a step: what comes anew wakes somebody."""
        return ({t.id for t in self.model.tasks.values() if t.status == "pending"},
                {w: set(ids) for w, ids in self.model.assigned.items()})

    def wake(self, before):
        """Whoever is to be woken is, and nobody else; each claims at once."""
        pending, assigned = before
        woken = []
        for worker, ids in self.model.assigned.items():
            for _ in set(ids) - assigned[worker]:
                woken += self.first(lambda w, name=worker: w.worker == name)
        for tid in sorted(t.id for t in self.model.tasks.values() if t.status == "pending" and t.id not in pending):
            woken += self.first(lambda w, t=self.model.tasks[tid]: w.may_have(t))
        for w in woken:
            equal(self.c.wait(w.rid).result, {"claimed": False, "tasks": [], "wake": True})
        for w in list(self.waiters):
            if w.rid in self.c.replies:  # its time is over; no other answer may come
                equal(self.c.wait(w.rid).result, {"claimed": False, "tasks": []})
                check(time.monotonic() - w.since > 29, f"{w.worker} is woken for nothing")
                self.waiters.remove(w)
        for w in woken:
            p = {"workerId": w.worker, "queue": w.queue, "maxTasks": w.most}
            self.claim_with({**p, "roles": w.roles} if w.roles else p)

    def first(self, fits_):
        for w in self.waiters:
            if fits_(w):
                self.waiters.remove(w)
                return [w]
        return []

    # ---- the whole ----

    def step(self):
        names = ["create"] * 6 + ["create_batch"] + ["claim"] * 5 + ["wait"] * 2 + ["complete"] * 4 + ["complete_batch", "renew", "get"]
        names += ["fail"] * 2 + ["release"] * 2 + ["assign"] * 2 + ["reassign"] * 2 + ["delete"] * 2
        name = self.draw.choice(names)
        before = self.before()
        getattr(self, name)()
        self.done[name] += 1
        self.wake(before)

    def compare_all(self):
        """Every list, every task and every count."""
        for status in ("pending", "delayed", "in_progress", "completed", "failed", "cancelled"):
            listed, cursor = {}, None
            while True:
                page = self.c.call("task.list", {"status": status, "limit": 500, **({"cursor": cursor} if cursor else {})})
                listed.update({t["id"]: plain(t) for t in page["tasks"]})
                cursor = page.get("next")
                if not cursor:
                    break
            want = {t.id: {k: v for k, v in t.shown().items() if k not in ("payload", "result")}
                    for t in self.model.tasks.values() if t.status == status}
            equal(set(listed), set(want), f"tasks that are {status}")
            for tid, shown in listed.items():
                equal({k: v for k, v in shown.items() if k not in ("payload", "result")}, want[tid])
        for t in self.model.tasks.values():
            equal(plain(self.c.call("task.get", {"id": t.id})), t.shown())
        with self.daemon.connect() as self.redis:
            check_counts(self)


def plain(value):
    """Without what the model does not know: times."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not k.endswith("At") and k not in ("lease_until", "next_run_at")}
    return [plain(v) for v in value] if isinstance(value, list) else value


@case(f"{STEPS} random operations: every reply, every wake, every task and list is as the model says")
def walk():
    # One worker, so that requests are handled in the order in which they are sent.
    config = {"domains": {"task": {"workers": 1}}, "task": {"lease_ms": DAY, "backoff_max_ms": DAY}}
    with Daemon(config=config) as d:
        w = Walk(d)
        for name in WORKERS:
            w.c.call("system.register", {"id": name, "capacity": 5, "lease_ms": DAY})
        for i in range(STEPS):
            w.step()
            if i % 500 == 499:
                w.compare_all()
        w.compare_all()
        note(f"{len(w.model.tasks)} tasks, "
             + ", ".join(f"{n} {k}" for k, n in sorted(collections.Counter(t.status for t in w.model.tasks.values()).items())))
        note(", ".join(f"{n} {k}" for k, n in sorted(w.done.items())))
        equal(d.duplicates(), 0)


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main()
