"""task_model.py: the task domain as the documents have it, in Python: no Redis, no time. t5/model.py holds the daemon against it."""

LIVE = ("pending", "delayed", "blocked", "in_progress")
GONE = {"failed": "failed", "cancelled": "was cancelled", "deleted": "is gone"}
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

    def deny(self, worker):
        self.denied = [w for w in self.denied if w != worker] + [worker]


class Model:
    """What the documents say. Each method returns the result that is wanted, without times, or raises Refused."""

    def __init__(self, workers, strangers):
        """`workers`: those that are registered, {name: (queues, roles)}; `strangers` claim without being so."""
        self.tasks = {}
        self.workers = workers
        self.assigned = {w: [] for w in [*workers, *strangers]}  # not yet handed over, oldest first
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
            t.deny(t.holder)
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
            for w, (queues, roles) in self.workers.items())

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

    def registered(self, worker):
        if worker not in self.workers:
            raise Refused(-32004, "unknown")

    def reassign(self, tid, worker, reason):
        t = self.find(tid)
        if t.status not in ("in_progress", "pending"):
            raise Refused(-32005, "state")
        if worker:
            self.registered(worker)
        if t.status == "in_progress":
            if reason:
                t.deny(t.holder)
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
