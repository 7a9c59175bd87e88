#!/usr/bin/env python3
"""model.py: random operations against claudebenchd and against a model of the task domain: every reply, every task, list and count,
and every wake of a claim that waits must be as the model says. CB_LONG=1 does fifteen times as many; the seed is printed.

One request at a time, so that the model knows the order. Leases and pauses are a day long, so that time changes nothing.
"""

import collections
import random
import re
import time

from cbtest import *
from counts import check_counts

STEPS, WALKS = 3000, 15 if LONG else 1
DAY = 86400000
QUEUES = ["default", "q2"]
ROLES = ["gpu", "cpu"]
WORKERS = {"w1": (["default", "q2"], ["gpu"]), "w2": (["default"], ["cpu"]), "w3": (["q2"], [])}  # registered: queues, roles
STRANGERS = ["s1"]  # claims without being so
LIVE = ("pending", "delayed", "blocked", "in_progress")
GONE = {"failed": "failed", "cancelled": "was cancelled", "deleted": "is gone"}
WEIGHTS = {"create": 6, "create_special": 4, "create_batch": 1, "claim": 9, "wait": 4, "complete": 5, "complete_batch": 1, "fail": 2,
           "release": 2, "renew": 1, "progress": 1, "assign": 2, "reassign": 2, "update": 2, "cancel": 1, "retry": 2, "delete": 1, "get": 1,
           "pause": 1}
UNKNOWN = ("lease_until", "next_run_at", "attempts", "at")
EMPTY, WAKE = {"claimed": False, "tasks": []}, {"claimed": False, "tasks": [], "wake": True}
NOT_KNOWN = "the token of a task that was assigned and not handed over"


class Refused(Exception):
    def __init__(self, code, reason=None):
        super().__init__(f"{code} {reason}")
        self.want = (code, reason)


class Task:
    def __init__(self, tid, p):
        self.id, self.text, self.queue = tid, p["text"], p.get("queue", "default")
        self.priority, self.roles = p.get("priority", 50), p.get("roles", [])
        self.max_attempts, self.payload, self.unique = p.get("max_attempts", 3), p.get("payload"), p.get("unique_key")
        self.partition, self.progress = p.get("partition"), None
        self.is_late = "delay_ms" in p  # it is delayed when it waits for nobody any more
        self.status, self.attempt, self.version = "pending", 0, 1
        self.holder = self.token = self.result = self.error = self.dead_reason = None
        self.done = None  # (operation, token, worker, outcome) of the last end of an attempt
        self.denied = []  # who failed it, or had it taken away with a reason
        self.waiting_for, self.on_failure = [], p.get("on_dependency_failure", "fail")
        self.dependents = set()

    def shown(self):
        """What task.get says, but times and tokens."""
        out = {"id": self.id, "text": self.text, "status": self.status, "priority": self.priority, "queue": self.queue,
               "attempt": self.attempt, "maxAttempts": self.max_attempts, "version": self.version}
        optional = {"roles": self.roles, "assignedTo": self.holder, "payload": self.payload, "result": self.result,
                    "error": self.error, "dead": self.dead_reason and True, "dead_reason": self.dead_reason,
                    "unique_key": self.unique, "waiting_for": self.waiting_for, "partition": self.partition, "progress": self.progress}
        out.update({k: v for k, v in optional.items() if v not in (None, [])})
        return out

    def is_live(self):
        return self.status in LIVE


class Model:
    """What the documents say. Each method returns the result that is wanted, without times, or raises Refused."""

    def __init__(self):
        self.tasks = {}
        self.assigned = {w: [] for w in [*WORKERS, *STRANGERS]}  # not yet handed over, oldest first
        self.paused = set()
        self.due = []  # (task that has ended, how), to be told to those that wait for it

    def find(self, tid):
        if tid not in self.tasks:
            raise Refused(-32004, "unknown")
        return self.tasks[tid]

    def check_version(self, t, version):
        if version is not None and version != t.version:
            raise Refused(-32005, "version")

    # ---- the beginning ----

    def holder_of(self, queue, key):
        """The live task that has the unique key."""
        for t in self.tasks.values():
            if key is not None and t.unique == key and t.queue == queue and t.is_live():
                return t
        return None

    def create(self, tid, p):
        """`tid` is the id that it got, None when it was refused."""
        for other in p.get("after", []):
            if other not in self.tasks:
                raise Refused(-32602)
        old = self.holder_of(p["queue"], p.get("unique_key"))
        if old:
            return {"id": old.id, "text": old.text, "status": old.status, "priority": old.priority, "existing": True}
        t = Task(tid, p)
        broken = None
        for other in (self.tasks[i] for i in p.get("after", [])):
            ended_badly = other.status in ("failed", "cancelled")
            if other.status == "completed" or ended_badly and t.on_failure == "ignore":
                continue
            if ended_badly and t.on_failure == "fail":
                broken = broken or other
            else:
                t.waiting_for.append(other.id)
        if broken:
            t.status, t.dead_reason, t.unique, t.waiting_for = "failed", "dependency", None, []
            t.error = f"the task {broken.id} that it was to wait for {'failed' if broken.status == 'failed' else 'was cancelled'}"
        elif t.waiting_for:
            t.status = "blocked"
            for other in t.waiting_for:
                self.tasks[other].dependents.add(tid)
        elif t.is_late:
            t.status = "delayed"
        self.tasks[tid] = t
        return {"id": tid, "text": t.text, "status": t.status, "priority": t.priority}

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
        """From its holder, if it has one, into another state."""
        if operation:
            t.done = (operation, t.token, t.holder, outcome)
        if t.holder and t.id in self.assigned[t.holder]:
            self.assigned[t.holder].remove(t.id)
        for other in t.waiting_for:
            self.tasks[other].dependents.discard(t.id)
        t.status, t.holder, t.token, t.progress, t.waiting_for = status, None, None, None, []
        t.version += 1

    def ended(self, t, outcome):
        """What it means to those that wait for it; `outcome`: completed, failed, cancelled or deleted. First for all that wait
        for this one, then for those that wait for these."""
        self.due.append((t, outcome))
        if len(self.due) > 1:
            return
        while self.due:
            t, outcome = self.due[0]
            for tid in sorted(t.dependents):
                self.tell(self.tasks[tid], t, outcome)
            self.due.pop(0)

    def tell(self, d, t, outcome):
        if outcome not in ("completed", "deleted") and d.on_failure == "block":
            return
        t.dependents.discard(d.id)
        if outcome != "completed" and d.on_failure != "ignore":
            self.die(d, "dependency", f"the task {t.id} that it waited for {GONE[outcome]}")
            return
        d.waiting_for.remove(t.id)
        if not d.waiting_for:
            d.status = "delayed" if d.is_late else "pending"
            d.version += 1

    def die(self, t, reason, error, operation=None, outcome=None):
        self.leave(t, "failed", operation, outcome)
        t.dead_reason, t.error = reason, error
        self.ended(t, "failed")

    def complete(self, tid, token=None, worker=None, result=None):
        t = self.find(tid)
        if not self.holds(t, "complete", token, worker):
            return t.done[3]
        outcome = {"id": tid, "status": "completed"}
        self.leave(t, "completed", "complete", outcome)
        t.result = result
        self.ended(t, "completed")
        return outcome

    def fail(self, tid, token, error, retry):
        t = self.find(tid)
        if not self.holds(t, "fail", token, None):
            return t.done[3]
        if retry and t.attempt < t.max_attempts:
            outcome = {"id": tid, "status": "delayed", "dead": False}
            deny(t, t.holder)
            self.leave(t, "delayed", "fail", outcome)
            t.error = error
        else:
            reason = "attempts" if retry else "no_retry"
            outcome = {"id": tid, "status": "failed", "dead": True, "dead_reason": reason}
            self.die(t, reason, error, "fail", outcome)
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

    def progress(self, tid, token, said):
        self.renew(tid, token)
        self.tasks[tid].progress = said
        return {}

    # ---- who gets what ----

    def is_denied(self, worker, t):
        """Only while another live instance could have it."""
        return worker in t.denied and any(
            w != worker and w not in t.denied and t.queue in queues and (not t.roles or set(t.roles) & set(roles))
            for w, (queues, roles) in WORKERS.items())

    def pending(self, queue, roles):
        found = [t for t in self.tasks.values() if t.status == "pending" and t.queue == queue
                 and (not t.roles or set(t.roles) & set(roles))]
        return sorted(found, key=lambda t: (-t.priority, t.id))

    def claim(self, worker, queue, roles, most):
        """The tasks that come, best first."""
        got = [self.tasks[i] for i in self.assigned[worker][:most]]
        self.assigned[worker] = self.assigned[worker][len(got):]
        if queue not in self.paused:
            for t in [t for t in self.pending(queue, roles) if not self.is_denied(worker, t)][:most - len(got)]:
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

    def reassign(self, tid, worker, reason):
        t = self.find(tid)
        if t.status not in ("in_progress", "pending"):
            raise Refused(-32005, "state")
        if worker:
            self.registered(worker)
        if t.status == "in_progress":
            if reason:
                deny(t, t.holder)
            self.leave(t, "pending")
            t.attempt -= 1
            if worker:
                t.version -= 1  # one change, not two
        if worker:
            self.assign(tid, worker)
        return {"id": tid, "assignedTo": worker}

    # ---- changes by others ----

    def update(self, tid, updates, version):
        t = self.find(tid)
        self.check_version(t, version)
        to = updates.get("status")
        to = None if to == t.status and to not in ("completed", "failed") else to
        moves = {"pending": ["cancelled"], "delayed": ["pending", "cancelled"], "blocked": ["pending", "cancelled"]}
        changes = [k for k in ("text", "priority") if k in updates]
        if to and to not in moves.get(t.status, []) or changes and not t.is_live():
            raise Refused(-32005, "state")
        t.text, t.priority = updates.get("text", t.text), updates.get("priority", t.priority)
        t.version += bool(changes)
        if to == "cancelled":
            self.cancel(tid, None, None)
        elif to == "pending":
            self.leave(t, "pending")
        return t.shown()

    def cancel(self, tid, reason, version):
        t = self.find(tid)
        self.check_version(t, version)
        if t.status != "cancelled":
            if not t.is_live():
                raise Refused(-32005, "state")
            self.leave(t, "cancelled")
            t.error = reason or t.error
            self.ended(t, "cancelled")
        return {"id": tid, "status": "cancelled"}

    def retry(self, tid, more):
        t = self.find(tid)
        if t.status not in ("failed", "cancelled"):
            raise Refused(-32005, "state")
        if self.holder_of(t.queue, t.unique):
            raise Refused(-32005, "unique_key")
        self.leave(t, "pending")
        t.max_attempts = t.attempt + more if more else t.max_attempts
        t.attempt = t.attempt if more else 0
        t.dead_reason, t.done, t.denied = None, None, []
        return {"id": tid, "status": "pending"}

    def delete(self, tid):
        t = self.find(tid)
        if t.status == "in_progress":
            raise Refused(-32005, "state")
        self.leave(t, "deleted")
        self.ended(t, "deleted")
        del self.tasks[tid]
        return {"id": tid, "status": "deleted"}

    def pause(self, queue, is_on):
        self.paused = self.paused | {queue} if is_on else self.paused - {queue}
        return {"queue": queue, "paused": is_on}


def deny(t, worker):
    t.denied = [w for w in t.denied if w != worker] + [worker]


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
        self.c, self.model, self.draw = daemon.caller(), Model(), random.Random(rng(salt).random())
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
