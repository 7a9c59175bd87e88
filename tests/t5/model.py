#!/usr/bin/env python3
"""model.py: random operations against claudebenchd and against a model of the task domain (tests/lib/task_model.py): every reply, every
task, list and count, and every wake of a claim that waits must be as the model says. CB_LONG=1 does fifteen times as many; the seed is printed.

One request at a time, so that the model knows the order. Leases and pauses are a day long, so that time changes nothing.
"""

import collections
import random
import re
import time

from cbtest import *
from counts import check_counts
from task_model import LIVE, NOT_KNOWN, Model, Refused

STEPS, WALKS = 3000, 15 if LONG else 1
DAY = 86400000
QUEUES = ["default", "q2"]
ROLES = ["gpu", "cpu"]
WORKERS = {"w1": (["default", "q2"], ["gpu"]), "w2": (["default"], ["cpu"]), "w3": (["q2"], [])}  # registered: queues, roles
STRANGERS = ["s1"]  # claims without being so
WEIGHTS = {"create": 6, "create_special": 4, "create_batch": 1, "claim": 9, "wait": 4, "complete": 5, "complete_batch": 1, "fail": 2,
           "release": 2, "renew": 1, "progress": 1, "assign": 2, "reassign": 2, "update": 2, "cancel": 1, "retry": 2, "delete": 1, "get": 1,
           "pause": 1}
UNKNOWN = ("lease_until", "next_run_at", "attempts", "at")
EMPTY, WAKE = {"claimed": False, "tasks": []}, {"claimed": False, "tasks": [], "wake": True}


class Waiter:
    """A claim that is parked."""

    def __init__(self, rid, worker, queue, roles, most):
        self.rid, self.worker, self.queue, self.roles, self.most = rid, worker, queue, roles, most
        self.since = time.monotonic()

    def may_have(self, t):
        return t.queue == self.queue and (not t.roles or set(t.roles) & set(self.roles))


class Walk:
    """The random walk: draws an operation, sends it, and compares."""

    def __init__(self, daemon, salt):
        self.daemon, self.key = daemon, daemon.key
        self.c, self.model, self.draw = daemon.caller(), Model(WORKERS, STRANGERS), random.Random(rng(salt).random())
        self.waiters = []  # in the order of their arrival
        self.name, self.resumed, self.woken = None, None, 0
        self.last = ""  # the id of the newest task
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
        if self.draw.random() < 0.1:
            p["delay_ms"] = DAY
        return p

    def new_special(self):
        """One that waits for others, or has a unique key."""
        p = self.new_task()
        if self.draw.random() < 0.7:
            p["after"] = list(dict.fromkeys(self.some_task() for _ in range(self.draw.randint(1, 3))))
            if self.draw.random() < 0.7:
                p["on_dependency_failure"] = self.draw.choice(["fail", "ignore", "block"])
        if self.draw.random() < 0.5:
            p["unique_key"] = self.draw.choice(["k1", "k2", "k3", "k4"])
        if self.draw.random() < 0.5:
            p["partition"] = self.draw.choice(["p1", "p2"])
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
        equal(plain(reply.result), plain(want), what)
        if self.draw.random() < 0.1:
            again = self.c.ask(method, params, idem=key)
            check(again.ok, f"{what}; its repeat: {short(again.raw)}")
            equal(plain(again.result), plain(want), f"the repeat of {what}")

    # ---- operations ----

    def create(self):
        self.create_with(self.new_task())

    def create_special(self):
        self.create_with(self.new_special())

    def create_with(self, p):
        def wanted(result):
            if result and not result.get("existing"):
                self.is_new(result["id"])
            return self.model.create(result and result["id"], p)

        self.ask("task.create", p, wanted)

    def create_batch(self):
        ps = [self.new_task() for _ in range(self.draw.randint(1, 5))]

        def wanted(result):
            for tid, p in zip(result["ids"], ps):
                self.is_new(tid)
                self.model.create(tid, p)
            return {"ids": result["ids"]}

        self.ask("task.create_batch", {"tasks": ps}, wanted)

    def is_new(self, tid):
        check(tid not in self.model.tasks and tid > self.last, f"{tid} is new, and behind all others")
        self.last = tid

    def claim_params(self):
        p = {"workerId": self.draw.choice([*WORKERS, *STRANGERS]), "queue": self.draw.choice(QUEUES), "maxTasks": self.draw.randint(1, 4)}
        roles = self.some_roles(2)
        if roles:
            p["roles"] = roles
        return p

    def claim(self):
        self.claim_with(self.claim_params())

    def claim_with(self, p):
        def wanted(result):
            got = self.model.claim(p["workerId"], p["queue"], p.get("roles", []), p["maxTasks"])
            return self.handed(result, got, p["queue"])

        self.ask("task.claim", p, wanted)

    def handed(self, result, got, queue):
        """What a claim is to say of these tasks; learns their tokens."""
        for t, told in zip(got, result["tasks"]):
            t.token = told["lease_token"]
        want = {"claimed": bool(got), "tasks": [{**without(t.shown(), "error", "unique_key", "partition"), "lease_token": t.token} for t in got]}
        if got:
            want["taskId"] = got[0].id
        elif queue in self.model.paused:
            want["paused"] = True
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
            equal(plain(reply.result), self.handed(reply.result, got, p["queue"]), f"{p}")
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
            p["workerId"] = t.holder if t and t.holder and self.draw.random() < 0.9 else self.draw.choice(list(WORKERS))
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

    def progress(self):
        tid = self.some_held()
        said = {"percent": self.draw.choice([0, 12.5, 100]), **({"note": "é"} if self.draw.random() < 0.5 else {})}
        p = {"id": tid, "lease_token": self.some_token(tid), **said}
        self.ask("task.progress", p, lambda _: self.model.progress(tid, p["lease_token"], said))

    def assign(self):
        p = {"taskId": self.some_task(), "instanceId": self.draw.choice([*WORKERS, *WORKERS, *STRANGERS])}
        self.ask("task.assign", p, lambda _: self.model.assign(p["taskId"], p["instanceId"]))

    def reassign(self):
        p = {"id": self.some_held()}
        if self.draw.random() < 0.5:
            p["to"] = self.draw.choice(list(WORKERS))
        if self.draw.random() < 0.5:
            p["reason"] = "not there"
        self.ask("task.reassign", p, lambda _: self.model.reassign(p["id"], p.get("to"), p.get("reason")))

    def some_version(self, tid):
        t = self.model.tasks.get(tid)
        return t.version - (self.draw.random() < 0.3 and t.version > 1) if t else 1

    def update(self):
        tid, updates = self.some_task(), {}
        if self.draw.random() < 0.4:
            updates["text"] = "another text"
        if self.draw.random() < 0.5:
            updates["priority"] = self.draw.choice([0, 50, 99])
        if self.draw.random() < 0.3:
            updates["status"] = self.draw.choice(["pending", "pending", "cancelled", "completed", "delayed"])
        p = {"id": tid, "updates": updates}
        if self.draw.random() < 0.3:
            p["if_version"] = self.some_version(tid)
        self.ask("task.update", p, lambda _: self.model.update(tid, updates, p.get("if_version")))

    def cancel(self):
        tid = self.some_task()
        p = {"id": tid}
        if self.draw.random() < 0.5:
            p["reason"] = "not wanted"
        if self.draw.random() < 0.2:
            p["if_version"] = self.some_version(tid)
        self.ask("task.cancel", p, lambda _: self.model.cancel(tid, p.get("reason"), p.get("if_version")))

    def retry(self):
        ended = [t.id for t in self.model.tasks.values() if t.status in ("failed", "cancelled")]
        tid = self.draw.choice(ended[-30:]) if ended and self.draw.random() < 0.8 else self.some_task()
        p = {"id": tid}
        if self.draw.random() < 0.4:
            p["attempts"] = self.draw.randint(1, 3)
        self.ask("task.retry", p, lambda _: self.model.retry(tid, p.get("attempts")))

    def pause(self):
        queue = self.draw.choice(QUEUES)
        is_on = queue not in self.model.paused and self.draw.random() < 0.3
        method = "task.queue_pause" if is_on else "task.queue_resume"
        was_paused = queue in self.model.paused
        self.ask(method, {"queue": queue}, lambda _: self.model.pause(queue, is_on))
        if was_paused and not is_on:
            self.resumed = queue

    def delete(self):
        tid = self.some_task()
        self.ask("task.delete", {"id": tid}, lambda _: self.model.delete(tid))

    def get(self):
        tid = self.some_task()
        self.ask("task.get", {"id": tid}, lambda _: self.model.find(tid).shown())

    # ---- waiters ----

    def before(self):
        """What the model holds pending and assigned before a step: what comes anew wakes somebody."""
        self.resumed = None
        return ({t.id for t in self.model.tasks.values() if t.status == "pending"},
                {w: set(ids) for w, ids in self.model.assigned.items()})

    def wake(self, before):
        """Whoever is to be woken is; who is woken, for something or nothing, claims at once."""
        pending, assigned = before
        woken = []
        for worker, ids in self.model.assigned.items():
            for _ in set(ids) - assigned[worker]:
                woken += self.first(lambda w, name=worker: w.worker == name)
        come = sorted(t.id for t in self.model.tasks.values()
                      if t.status == "pending" and t.id not in pending and t.queue not in self.model.paused)
        if len(come) < 2 or self.name == "create_batch":
            for tid in come:
                t = self.model.tasks[tid]
                woken += self.first(lambda w, t=t: w.may_have(t) and w.worker not in t.denied) or self.first(lambda w, t=t: w.may_have(t))
        if self.resumed:
            for _ in [t for t in self.model.tasks.values() if t.status == "pending" and t.queue == self.resumed]:
                woken += self.first(lambda w: w.queue == self.resumed)
        for w in woken:
            equal(self.c.wait(w.rid).result, WAKE, f"{w.worker} waits for {w.queue} {w.roles}; there came {come}")
        woken += self.woken_otherwise()
        for w in woken:
            p = {"workerId": w.worker, "queue": w.queue, "maxTasks": w.most}
            self.claim_with({**p, "roles": w.roles} if w.roles else p)
        self.woken += len(woken)

    def woken_otherwise(self):
        """Several tasks that were unblocked together wake in any order; and while a task lies there that a claim might have
        the tick may wake it. With nothing there only the end of the wait is an answer."""
        found = [w for w in self.waiters if w.rid in self.c.replies]
        for w in found:
            self.waiters.remove(w)
            result = self.c.wait(w.rid).result
            might = [t for t in self.model.tasks.values() if t.status == "pending" and w.may_have(t)]
            check(result == WAKE and might or result == EMPTY and time.monotonic() - w.since > 29,
                  f"{w.worker} waits for {w.queue} {w.roles} and is told {result}")
        return found

    def nobody_waits_in_vain(self):
        """A claim that waits while there is a task for it has been forgotten, unless the tick remembers it."""
        def forgotten():
            self.c.poll(0.01)
            self.wake(self.before())
            return [(w.worker, t.id) for w in self.waiters for t in self.model.tasks.values()
                    if t.status == "pending" and w.may_have(t) and t.queue not in self.model.paused
                    and not self.model.is_denied(w.worker, t)]

        wait_until(lambda: not forgotten(), 8, lambda: f"nobody waits in vain: {forgotten()}")

    def first(self, fits_):
        for w in self.waiters:
            if fits_(w):
                self.waiters.remove(w)
                return [w]
        return []

    # ---- the whole ----

    def step(self):
        self.name = self.draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        before = self.before()
        getattr(self, self.name)()
        self.done[self.name] += 1
        self.wake(before)

    def compare_all(self):
        """Every list, every task and every count."""
        for status in (*LIVE, "completed", "failed", "cancelled"):
            listed, cursor = {}, None
            while True:
                page = self.c.call("task.list", {"status": status, "limit": 500, **({"cursor": cursor} if cursor else {})})
                listed.update({t["id"]: plain(t) for t in page["tasks"]})
                cursor = page.get("next")
                if not cursor:
                    break
            want = {t.id: plain(without(t.shown(), "payload", "result")) for t in self.model.tasks.values() if t.status == status}
            equal(set(listed), set(want), f"tasks that are {status}")
            for tid, shown in listed.items():
                equal(without(shown, "payload", "result"), want[tid])
        for t in self.model.tasks.values():
            equal(plain(self.c.call("task.get", {"id": t.id})), plain(t.shown()))
        with self.daemon.connect() as self.redis:
            check_counts(self)


def without(members, *names):
    return {k: v for k, v in members.items() if k not in names}


def plain(value):
    """Without what the model does not know: times, the history of attempts, and which of several dependencies that failed
    together a task died of."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not k.endswith("At") and k not in UNKNOWN}
    if isinstance(value, str):
        return re.sub(r"^the task t-\d+ that it waited for", "the task … that it waited for", value)
    return [plain(v) for v in value] if isinstance(value, list) else value


def walk(salt):
    # One worker, so that requests are handled in the order in which they are sent.
    config = {"domains": {"task": {"workers": 1}}, "task": {"lease_ms": DAY, "backoff_max_ms": DAY, "deny_ms": DAY}}
    with Daemon(config=config) as d:
        w = Walk(d, salt)
        for name, (queues, roles) in WORKERS.items():
            w.c.call("system.register", {"id": name, "capacity": 5, "lease_ms": DAY, "queues": queues, "roles": roles})
        for i in range(STEPS):
            w.step()
            if i % 500 == 499:
                w.nobody_waits_in_vain()
                w.compare_all()
        note(f"{len(w.model.tasks)} tasks, "
             + ", ".join(f"{n} {k}" for k, n in sorted(collections.Counter(t.status for t in w.model.tasks.values()).items())))
        note(", ".join(f"{n} {k}" for k, n in sorted(w.done.items())) + f"; {w.woken} woken")
        equal(d.duplicates(), 0)


for number in range(WALKS):
    add_case(f"{STEPS} random operations ({number}): every reply, every wake, every task, list and count is as the model says",
             lambda salt=f"model-{number}": walk(salt))


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main()
