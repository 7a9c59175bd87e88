#!/usr/bin/env python3
"""groups.py: requests that a worker commits as one group get the replies that they would get one after the other, and leave the same
queues and tasks: random groups of creations, claims and completions, with roles, pauses, deny lists, damaged tasks, assigned ones,
claims that wait, repeats, refused requests and such that fail, of several callers. What is told of each task, and in each partition, is
the same, too. (The one thing that may differ is left out: tasks that wait for one of the group to be completed are told when the group is
done.)"""

import json
import random
import re

from cbtest import *
from scripts import KEEP, Request, Scripts, retention

WORKERS, QUEUES = "abc", ["default", "default", "q"]
OP_ARGS = {"task_create": [200], "task_create_batch": [200], "task_claim": [30000, 30000, 1000, "pull"],
           "task_complete": [30000, *retention(KEEP), 30000, "pull"]}
KINDS = ["task_create", "task_create_batch", *["task_claim"] * 3, *["task_complete"] * 2, "pause", "damage", "deny", "assign", "cancel"]
REPLIES = "reply-token-of-group"
CALLERS = [{}, {"actor": "x"}, {"actor": "x", "session": "s"}, {"actor": "x", "trace": "t"}, {"actor": "x", "agent": "t"}]

s = None


class Run:
    """One history; the same seed makes the same requests, whatever groups they come in. Tasks go by the number of their creation."""

    def __init__(self, seed, is_grouped):
        self.draw, self.is_grouped = random.Random(seed), is_grouped
        self.ids, self.tokens, self.seen, self.cancelled = [], {}, [], []
        s.redis.call("FLUSHALL")
        s.tick(register=1)
        for worker in WORKERS:
            s.register(worker, "i" + worker)
        for self.number in range(20):
            self.step(self.draw.choice(KINDS))

    def roles(self):
        return " ".join(self.draw.sample(["r", "x"], self.draw.randint(0, 2))) if self.draw.random() < 0.4 else ""

    def new_task(self):
        d, more = self.draw, {}
        if d.random() < 0.15:
            more["unique_key"] = d.choice("uvw")
        if d.random() < 0.05:
            more["delay_ms"] = 100000
        if d.random() < 0.1:
            more["payload"] = json.dumps("p" * d.choice([10, 600, 100000]))
        if d.random() < 0.1:
            more["partition"] = d.choice("mn")
        if d.random() < 0.1:  # one of these ends as it begins, one waits for ever, one is refused
            more["after"] = d.sample(self.cancelled, 1) if self.cancelled and d.random() < 0.8 else ["t-0"]
            more["on_failure"] = d.choice(["ignore", "block", ""])
        return s.create_args("t", priority=d.choice([0, 0, 50, 50, 100]), queue=d.choice(QUEUES), roles=self.roles(), **more)

    def claim_args(self, worker, counts):
        return s.claim_args(worker, self.draw.choice(counts), queue=self.draw.choice(QUEUES), roles=self.roles())

    def completion(self):
        d = self.draw
        number = d.choice(sorted(self.tokens)) if self.tokens and d.random() < 0.9 else d.randrange(len(self.ids))
        worker = s.task(self.ids[number]).get("ho", b"a").decode()
        token = "" if d.random() < 0.2 else self.tokens.get(number, "1-aa")  # without one it may be a task that the group leases
        args = [self.ids[number], token, worker if token else d.choice(["", worker]), d.choice(["1", ""])]
        return [*args, *self.claim_args(worker, [1, 1, 2, 5])] if d.random() < 0.6 else args

    def arguments(self, kind):
        d = self.draw
        if kind == "task_create":
            return self.new_task()
        if kind == "task_create_batch":
            tasks = [self.new_task() for _ in range(d.randint(1, 12))]
            return [len(tasks), *[x for task in tasks for x in task]]
        if kind == "task_claim":
            return [*self.claim_args(d.choice(WORKERS), [1, 1, 1, 2, 5, 30]), d.choice([0, 0, 30000])]
        return self.completion()

    def meddle(self, kind):
        """What comes between groups."""
        d = self.draw
        if kind == "pause":
            s.pause(d.choice(["default", "q"]))
            if d.random() < 0.7:
                s.resume("default")
                s.resume("q")
            return
        pending = [i for i in self.ids if s.task(i).get("st") == b"pending"]
        for task in d.sample(pending, min(len(pending), d.randint(0, 4))):
            if kind == "assign":
                s.assign(task, d.choice(WORKERS))
            elif kind == "cancel":
                s.cancel(task)
                self.cancelled.append(task)
            elif kind == "deny" and "up" in s.task(task):  # it may be damaged
                s.change(task, v=2, dn=d.choice(WORKERS))
            elif kind != "deny":
                s.redis.call(*d.choice([["DEL", s.key(f"task:{task}")], ["HSET", s.key(f"task:{task}"), "s", "pending"]]))

    def step(self, kind):
        if kind not in OP_ARGS:
            return self.meddle(kind)
        if kind == "task_complete" and not self.ids:
            return None
        requests = []
        for i in range(self.draw.randint(1, 24)):
            args = self.arguments(kind)
            keys = [s.key(f"task:{args[0]}")] if kind == "task_complete" else []
            idem = {"params_hash": f"{self.number}.{i % 7}", "idem": f"key {self.number}.{i % 7}"} if self.draw.random() < 0.2 else {}
            caller = self.draw.choice(CALLERS) if self.draw.random() < 0.3 else {}
            requests.append(Request(*args, reply=REPLIES, rid=str(i), keys=keys, **idem, **caller))
        codes, errors = [], []
        for group in [requests] if self.is_grouped else [[r] for r in requests]:
            answer = s.commit(kind, group, OP_ARGS[kind])
            codes += answer.codes
            errors += answer.errors
        equal(["WRONGTYPE" in e for e in errors], [True] * codes.count(-32603), f"{errors}")
        return self.look(kind, codes)

    def replies(self):
        """As they are, waiting claims' wakes as well, but for the ids, which are numbers, the tokens, and the times."""
        texts = [text.decode() for text in s.redis.call("LRANGE", s.key(f"reply:{REPLIES}"), 0, -1)]
        for doc in s.replies(REPLIES):
            for task in doc.get("result", {}).get("tasks", []):
                self.tokens[self.ids.index(task["id"])] = task["lease_token"]
        texts = [re.sub(r't-\d{16}', lambda m: str(self.ids.index(m[0])), text) for text in texts]
        return sorted(re.sub(r'("lease_token":")[^"]*|"20\d\d-[^"]*Z"|("retry_after_ms":)\d+', r"\1\2", text) for text in texts)

    def look(self, kind, codes):
        keys = sorted(key.decode() for key in s.redis.scan())
        self.ids += sorted({k.rsplit(":", 1)[1] for k in keys if k.startswith(s.key("task:t-"))} - set(self.ids))
        docs = self.replies()
        queues = {k: [self.ids.index(i.decode()) for i in s.redis.call("ZRANGE", k, 0, -1)] for k in keys
                  if k.startswith(s.key("queue:")) and (k.endswith(":pending") or ":role:" in k)}
        tasks = [(s.task(i).get("st"), s.task(i).get("ho")) for i in self.ids]
        listed = {k: sorted(self.ids.index(i.decode()) for i in members(k)) for k in keys
                  if k in (s.key("leases"), s.key("tasks:completed")) or k.startswith(s.key("queue:instance:"))}
        counts = s.redis.hash(s.key("counts"))
        self.seen.append((self.number, kind, codes, docs, queues, tasks, listed, counts, self.histories()))

    def histories(self):
        """What the events tell of each task, in their order, in all and in each partition."""
        out = {}
        for stream in ("stream:events", "partition:m", "partition:n"):
            for event in s.events(key=stream):
                ids = (event.pop("id", None) or event.pop("ids", "")).split()
                event.pop("at")
                event.pop("partition", None)  # it is there when all tasks of an event have the same one
                for task in ids:
                    out.setdefault((stream, self.ids.index(task)), []).append(event)
        return out


def members(key):
    is_set = s.redis.call("TYPE", key) == b"set"
    return s.redis.call("SMEMBERS", key) if is_set else s.redis.call("ZRANGE", key, 0, -1)


@case("random requests in groups and one after the other: the same replies, queues, tasks, indexes and counts, and the same told of each task")
def groups():
    draw, seeds = rng("groups"), 0
    for _ in range(300 if LONG else 3):
        seed = draw.randrange(1 << 30)
        alone, grouped = Run(seed, False).seen, Run(seed, True).seen
        for one, other in zip(alone, grouped):
            for got, wanted in zip(other, one):
                equal(got, wanted, f"step {one[0]} of history {seed}")
        seeds += len(alone)
    note(f"{seeds} groups")


def kinds_of(task):
    return [e["type"] for e in s.events() if task in (e.get("id") or e.get("ids", "")).split()]


@case("a task that one request of a group leases and the next one, without its token, completes: completed, listed so, told in that order")
def leased_and_completed():
    s.redis.call("FLUSHALL")
    first, second = [s.create("t")["result"]["id"] for _ in range(2)]
    token = s.claim("a")["result"]["tasks"][0]["lease_token"]
    answer = s.commit("task_complete", [
        Request(first, token, "a", "", *s.claim_args("a"), keys=[s.key(f"task:{first}")], reply=REPLIES),
        Request(second, "", "a", "2", keys=[s.key(f"task:{second}")], reply=REPLIES)], OP_ARGS["task_complete"])
    equal(answer.codes, [4, 0])
    for task in (first, second):
        equal(kinds_of(task), ["task.created", "task.claimed", "task.completed"])
        equal(s.get(task)["result"]["status"], "completed")
    equal([members(s.key(k)) for k in ("leases", "queue:instance:a", "queue:tasks:pending")], [[], [], []])
    equal(sorted(members(s.key("tasks:completed"))), [first.encode(), second.encode()])
    equal(s.redis.hash(s.key("counts")).get(b"q:default:in_progress"), None)


@case("the claims of a group are told together when worker, queue and caller are the same, and apart when they are not")
def claims_told():
    s.redis.call("FLUSHALL")
    for queue in ("default", "default", "default", "default", "q", "q"):
        s.create("t", queue=queue)
    claims = [("a", "default", "x"), ("a", "default", "x"), ("a", "q", "x"), ("b", "q", "x"), ("b", "default", "x"), ("b", "default", "y")]
    s.commit("task_claim", [Request(*s.claim_args(worker, queue=queue), 0, actor=actor, trace=f"of {actor}", reply=REPLIES)
                            for worker, queue, actor in claims], OP_ARGS["task_claim"])
    told = [(e["worker"], e["queue"], e["actor"], e["trace"], len(e["ids"].split())) for e in s.events("task.claimed")]
    equal(told, [("a", "default", "x", "of x", 2), ("a", "q", "x", "of x", 1), ("b", "q", "x", "of x", 1), ("b", "default", "x", "of x", 1),
                 ("b", "default", "y", "of y", 1)])


@case("the creations of a group are told together when queue, priority and caller are the same; a single one has `id`, several have `ids`")
def creations_told():
    s.redis.call("FLUSHALL")
    new = [("q", 50, "x"), ("q", 50, "x"), ("q", 0, "x"), ("default", 0, "x"), ("default", 0, "y"), ("default", 0, "y")]
    s.commit("task_create", [Request(*s.create_args("t", queue=queue, priority=priority), actor=actor, trace=f"of {actor}", reply=REPLIES)
                             for queue, priority, actor in new], OP_ARGS["task_create"])
    ids = [doc["result"]["id"] for doc in s.replies(REPLIES)]
    told = [(e.get("id"), e.get("ids"), e["queue"], e["priority"], e["actor"], e["trace"]) for e in s.events("task.created")]
    equal(told, [(None, f"{ids[0]} {ids[1]}", "q", "50", "x", "of x"), (ids[2], None, "q", "0", "x", "of x"),
                 (ids[3], None, "default", "0", "x", "of x"), (None, f"{ids[4]} {ids[5]}", "default", "0", "y", "of y")])


@case("a task that fails as it is created is created first, whatever is told together")
def created_and_failed():
    s.redis.call("FLUSHALL")
    gone = s.create("t")["result"]["id"]
    s.cancel(gone)
    s.commit("task_create", [Request(*s.create_args("t", **more), reply=REPLIES) for more in ({}, {"after": [gone]}, {}, {})],
             OP_ARGS["task_create"])
    a, b, c, d = [doc["result"]["id"] for doc in s.replies(REPLIES)]
    equal([(e["type"], e.get("id") or e["ids"]) for e in s.events()[-3:]],
          [("task.created", f"{a} {b}"), ("task.failed", b), ("task.created", f"{c} {d}")])


@case("the completions of a group are told together, before what they unblock, and before the claims")
def completions_told():
    s.redis.call("FLUSHALL")
    first = [s.create("t")["result"]["id"] for _ in range(3)]
    tokens = [t["lease_token"] for t in s.claim("a", 3)["result"]["tasks"]]
    behind = s.create("t", after=first)["result"]["id"]
    more = [s.create("t")["result"]["id"] for _ in range(2)]
    s.commit("task_complete", [Request(task, token, "a", "", *(s.claim_args("a") if i < 2 else []), keys=[s.key(f"task:{task}")], reply=REPLIES)
                               for i, (task, token) in enumerate(zip(first, tokens))], OP_ARGS["task_complete"])
    told = [(e["type"], e.get("id") or e["ids"]) for e in s.events()[-3:]]
    equal(told, [("task.completed", " ".join(first)), ("task.claimed", " ".join(more)), ("task.unblocked", behind)])
    equal([e["attempt"] for e in s.events("task.completed")], ["1"])


def completion(task, token, *next_args):
    return Request(task, token, "a", "", *next_args, keys=[s.key(f"task:{task}")], reply=REPLIES)


@case("a request that fails, refused or in the middle, takes nothing from the event of its group: what it has done is told, and nothing else")
def failed_between():
    s.redis.call("FLUSHALL")
    s.redis.call("SET", s.key("queue:odd:pending"), "no sorted set")
    new = [{}, {"queue": "odd"}, {}, {"after": ["t-0"]}, {}]
    answer = s.commit("task_create", [Request(*s.create_args("t", **more), reply=REPLIES) for more in new], OP_ARGS["task_create"])
    equal(answer.codes, [0, -32603, 0, -32602, 0])
    ids = [doc["result"]["id"] for doc in s.replies(REPLIES) if "result" in doc]
    equal([(e["type"], e["ids"]) for e in s.events()], [("task.created", " ".join(ids))])

    tokens = [t["lease_token"] for t in s.claim("a", 3)["result"]["tasks"]]
    s.change(s.create("damaged")["result"]["id"], v=2, sc="no time")  # found when the first task is completed
    answer = s.commit("task_complete", [completion(ids[1], tokens[1], *s.claim_args("a")), completion(ids[0], tokens[0]),
                                        completion(ids[2], "1-aa"), completion(ids[2], tokens[2]), completion(ids[1], tokens[1])],
                      OP_ARGS["task_complete"])
    equal(answer.codes, [-32603, 0, -32005, 0, 0])
    equal([(e["type"], e["ids"]) for e in s.events()[3:]], [("task.completed", f"{ids[1]} {ids[0]} {ids[2]}")])


@case("callers that take turns, some with a completion and some with a claim alone: each event is of who caused it, each task's in their order")
def callers_in_turns():
    s.redis.call("FLUSHALL")
    held = [s.create("t")["result"]["id"] for _ in range(3)]
    tokens = [t["lease_token"] for t in s.claim("a", 3)["result"]["tasks"]]
    more = [s.create("t")["result"]["id"] for _ in range(4)]
    group = [completion(held[0], tokens[0]), completion(held[0], tokens[0], *s.claim_args("a")), completion(held[1], tokens[1], *s.claim_args("a")),
             completion(more[0], "", *s.claim_args("a")), completion(held[2], tokens[2])]
    for request, actor in zip(group, "xyxxy"):
        request.caller = (actor, "", "", "")
    equal(s.commit("task_complete", group, OP_ARGS["task_complete"]).codes, [0, 4, 4, 4, 0])
    told = [(e["type"].split(".")[1], (e.get("ids") or e["id"]).split(), e["actor"]) for e in s.events()[len(held) + 1 + len(more):]]
    by_task = {task: [(kind, actor) for kind, ids, actor in told if task in ids] for task in held + more}
    completed, claimed = lambda actor: ("completed", actor), lambda actor: ("claimed", actor)
    equal(by_task, {held[0]: [completed("x")], held[1]: [completed("x")], held[2]: [completed("y")],
                    more[0]: [claimed("y"), completed("x")], more[1]: [claimed("x")], more[2]: [claimed("x")], more[3]: []})


@case("who only claims, between two completions of another caller, does not make two events of them")
def caller_between():
    s.redis.call("FLUSHALL")
    held = [s.create("t")["result"]["id"] for _ in range(3)]
    tokens = [t["lease_token"] for t in s.claim("a", 3)["result"]["tasks"]]
    s.complete(held[0], tokens[0])
    more, before = s.create("t")["result"]["id"], len(s.events())
    group = [completion(held[1], tokens[1]), completion(held[0], tokens[0], *s.claim_args("a")), completion(held[2], tokens[2])]
    for request, actor in zip(group, "xyx"):
        request.caller = (actor, "", "", "")
    equal(s.commit("task_complete", group, OP_ARGS["task_complete"]).codes, [0, 4, 0])
    equal([(e["type"], e["ids"], e["actor"]) for e in s.events()[before:]],
          [("task.completed", f"{held[1]} {held[2]}", "x"), ("task.claimed", more, "y")])


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()
