"""load.py: producers and agents that work through faults, with a journal and a ledger for the oracle.

    with Load(daemon, tasks=1500) as load:
        … faults …
        load.finish(30)
    load.verdict()
"""

import os
import signal
import subprocess
import sys
import threading
import time

import oracle
import procs
import tap
from caller import token
from resp import Lost, RespError


class Load:
    """
    daemon     a Daemon (its connect() reaches Redis)
    tasks      how many are created in all
    agents     threads that claim, "run" (write the ledger) and complete
    batch      tasks in flight of a producer; claim: maxTasks of an agent
    lease_ms   of the claims
    replicas   nothing counts as said before so many replicas have it (ack replica:N). What happened on a master
               that was lost is then not looked at: the events are those that are there at the end
    again      errors after which a request is repeated with the same idem, as nothing has happened
    is_lossy   Redis may lose its last writes: a task that it does not know any more is no failure of an agent's
    """

    def __init__(self, daemon, tasks, agents=4, producers=2, batch=20, claim=5, lease_ms=3000, work=None, rate=None,
                 replicas=0, is_lossy=False, again=()):
        self.daemon = daemon
        self.tasks, self.batch, self.claim, self.lease_ms = tasks, batch, claim, lease_ms
        self.work = work or (lambda task: None)
        self.replicas, self.again = replicas, again
        self.refusals = (-32005, -32004) if is_lossy else (-32005,)
        self.rate = rate  # tasks a second of all producers, None: as fast as it goes
        folder = procs.subfolder("o")
        self.journal = oracle.Journal(f"{folder}/journal")
        self.ledger = oracle.Ledger(f"{folder}/ledger")
        self.collector = None
        self.problems = []
        self.producing = True
        self.working = True
        self.acked = 0
        self.completed = 0
        self.stale = 0
        self.lock = threading.Lock()
        self.producer_threads = [self._thread(self._produce, i, producers) for i in range(producers)]
        self.agent_threads = [self._thread(self._agent, i) for i in range(agents)]
        with daemon.connect() as link:
            self.before = oracle.baseline(link, daemon.prefix)
        self.started = None
        self.finished = None

    def _thread(self, function, *args):
        def guarded():
            try:
                function(*args)
            except BaseException as problem:  # pylint: disable=broad-except
                self.problems.append(problem)

        return threading.Thread(target=guarded, daemon=True)

    def __enter__(self):
        self.collector = oracle.Collector(self.daemon.connect, self.daemon.prefix)
        self.started = time.monotonic()
        for thread in self.producer_threads + self.agent_threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.producing = self.working = False
        for thread in self.producer_threads + self.agent_threads:
            thread.join(15)
        if self.collector and not self.collector.stopping and kind is not None:
            self.collector.stopping = True

    # ---- threads ----

    def _insist(self, caller, requests, stop):
        replies = self._insist_once(caller, requests, stop)
        while (refused := [i for i, r in enumerate(replies) if r is not None and r.code in self.again]):
            for i, reply in zip(refused, self._insist_once(caller, [requests[i] for i in refused], stop)):
                replies[i] = reply
        return replies

    def _insist_once(self, caller, requests, stop):
        """The replies; with `replicas` what they say is with so many. What is not known to be is asked again, same idem."""
        while True:
            losses = caller.losses
            replies = caller.insist_all(requests, 60, 1.0, stop)
            if not self.replicas or any(r is None for r in replies):
                return replies
            try:
                # The link that took the replies, so that it is the server that has given them that answers; WAIT right
                # after a blocking pop would tell of an older write.
                link = caller.back
                if link and link.call("PING") and link.call("WAIT", self.replicas, 1000) >= self.replicas \
                        and caller.losses == losses:
                    return replies
            except (OSError, RespError):
                caller.drop()
            if stop():
                return [None] * len(requests)

    def _produce(self, index, of):
        caller = self.daemon.caller(schemas=False, actor=f"producer-{index}")
        mine = range(index, self.tasks, of)
        for start in range(0, len(mine), self.batch):
            keys = [f"key-{n}" for n in mine[start : start + self.batch]]
            self.journal.attempted(keys)
            requests = [("task.create", {"text": k, "payload": {"n": i}}, k) for i, k in enumerate(keys)]
            replies = self._insist(caller, requests, lambda: not self.producing)
            done = [(k, r) for k, r in zip(keys, replies) if r is not None]
            for _, reply in done:
                tap.check(reply.ok, f"create: {reply.raw[:300]!r}")
            self.journal.acked([(k, r.result["id"]) for k, r in done])
            with self.lock:
                self.acked += len(done)
            if not self.producing:
                break
            if self.rate:
                time.sleep(self.batch * of / self.rate)  # the load's rate
        caller.close()

    def _agent(self, index):
        name = f"agent-{index}"
        caller = self.daemon.caller(schemas=False, actor=name)
        claim = {"workerId": name, "maxTasks": self.claim, "lease_ms": self.lease_ms}
        held = []
        while self.working:
            if not held:
                reply = self._insist(caller, [("task.claim", claim, token())], lambda: not self.working)[0]
                if reply is None:
                    break
                tap.check(reply.ok, f"claim: {reply.raw[:300]!r}")
                held = reply.result["tasks"]
                if not held:
                    time.sleep(0.02)  # the pace of asking: a claim without a task does not wait
                    continue
            for task in held:
                self.ledger.begin(task["id"], task["attempt"], task["lease_token"], task["lease_until"])
                self.work(task)
                self.ledger.end(task["id"], task["attempt"], task["lease_token"])
            requests = [("task.complete", {"id": t["id"], "lease_token": t["lease_token"], "result": {"by": name}}, token())
                        for t in held]
            # The last completion of a round claims the next round.
            requests[-1][1].update(workerId=name, next={"maxTasks": self.claim, "lease_ms": self.lease_ms})
            replies = self._insist(caller, requests, lambda: not self.working)
            ended, held = held, []
            for task, reply in zip(ended, replies):
                if reply is None:
                    return
                if reply.ok:
                    self.ledger.done(task["id"], task["attempt"], task["lease_token"])
                    with self.lock:
                        self.completed += 1
                    held = reply.result.get("tasks", [])
                else:
                    tap.check(reply.code in self.refusals, f"complete: {reply.raw[:300]!r}")
                    with self.lock:
                        self.stale += 1
        caller.close()

    # ---- the end ----

    def check(self):
        if self.problems:
            raise self.problems[0]

    def created(self):
        self.check()
        return all(not t.is_alive() for t in self.producer_threads)

    def live(self):
        """Tasks that are neither finished nor dead, and requests that wait."""
        try:
            with self.daemon.connect() as link:
                prefix = self.daemon.prefix
                sizes = link.pipeline([["ZCARD", f"{prefix}:queue:tasks:pending"], ["ZCARD", f"{prefix}:leases"],
                                       ["ZCARD", f"{prefix}:queue:delayed"], ["XLEN", f"{prefix}:requests:task"],
                                       ["XLEN", f"{prefix}:requests:system"]])
            if any(isinstance(s, RespError) for s in sizes):
                return -1
            return sum(sizes)
        except (Lost, OSError, RespError):
            return -1

    def finish(self, bound):
        """Waits until all is created and drained (I7: within `bound` seconds from now), and stops."""
        began = time.monotonic()
        tap.wait_until(self.created, bound + 30, "all tasks created", step=0.02)
        tap.wait_until(lambda: self.check() or self.live() == 0, bound + 30,
                       lambda: f"drained; {self.live()} live", step=0.02)
        self.finished = time.monotonic() - began
        self.working = False
        for thread in self.agent_threads:
            thread.join(10)
        self.check()
        return self.finished

    def verdict(self, bound, slots=None, workers_left=None, table=False, losses=()):
        """Judges, prints the table as diagnostics, and fails when an invariant does not hold. `losses`: oracle.judge()."""
        events = self.collector.stop()
        if self.replicas:
            events = oracle.all_events(self.daemon.connect, self.daemon.prefix)
        self.journal.close()
        self.ledger.close()
        with self.daemon.connect() as link:
            states = oracle.task_states(link, self.daemon.prefix)
            after = oracle.baseline(link, self.daemon.prefix)
        verdict = oracle.judge(
            oracle.read_journal(self.journal.path),
            oracle.read_ledger(self.ledger.path),
            events,
            states,
            before=self.before,
            after=after,
            drained_in=self.finished,
            drain_bound=bound,
            slots=slots,
            workers_left=workers_left,
            text_key=lambda t: t["text"].decode().strip('"'),
            losses=losses,
            ack_times=oracle.read_ack_times(self.journal.path),
        )
        tap.note(verdict if table else verdict.summary())
        tap.note(f"    {self.stale} completions were refused as stale")
        for name, value in {**verdict.figures, "refused": self.stale, "drained_s": self.finished}.items():
            tap.figure(name, value)
        tap.check(verdict.good, "the oracle says no: see the table above")
        tap.equal(self.acked, self.tasks, "acked")
        return verdict


class AgentProcess:
    """An agent as a process of its own (tests/lib/agent.py), so that it can be killed. `at`: a host of network.py; `more`:
    options of agent.py."""

    def __init__(self, d, ledger, number, at=None, work_ms=40, more=()):
        self.more = list(more)
        self.d, self.ledger, self.number, self.lives, self.hits = d, ledger, number, 0, number
        self.at, self.work_ms = at, work_ms
        self.wake_at = None
        self.process = None
        self.start()

    def start(self):
        self.lives += 1
        d = self.d
        words = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(procs.__file__)), "agent.py"),
                 "--ledger", self.ledger, "--name", f"proc-{self.number}.{self.lives}", "--prefix", d.prefix,
                 "--work-ms", str(self.work_ms), *self.more]
        if d.redis is None:
            words += ["--socket", f"{d.dir}/redis.sock", "--user", "client", "--password-file", f"{d.redis_dir}/client.password"]
        else:
            words += ["--socket", f"{d.redis.address}:{d.redis.port}" if self.at else d.redis.socket]
        self.process = procs.start([*(self.at.inside if self.at else []), *words], env={"PYTHONPATH": os.path.dirname(os.path.abspath(procs.__file__))},
                                   stdout=subprocess.PIPE)

    def hit(self):
        """In turn: killed and replaced; stopped for longer than its leases (a zombie when it wakes)."""
        self.hits += 1
        if self.hits % 2:
            self.process.kill()
            self.process.wait()
            self.wake_at = None
            self.start()
        else:
            self.freeze()

    def freeze(self, seconds=3.5):
        if self.wake_at is None:
            procs.kill(self.process.pid, signal.SIGSTOP)
            self.wake_at = time.monotonic() + seconds

    def wake_if_due(self, now=False):
        if self.wake_at is not None and (now or time.monotonic() > self.wake_at):
            procs.kill(self.process.pid, signal.SIGCONT)
            self.wake_at = None

    def stop(self):
        """How many of the completions of its last life were refused."""
        self.wake_if_due(now=True)
        self.process.terminate()
        return int(self.process.communicate(timeout=20)[0] or 0)
