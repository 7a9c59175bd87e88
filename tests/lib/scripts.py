"""scripts.py: the Lua scripts driven directly on a private Redis, with hand-made arguments.

Text from tools/embed-lua.sh, so that what runs here is what is compiled into the binaries.
"""

import hashlib
import json
import os
import subprocess

import procs
import task_hash
import users
from privredis import PrivateRedis
from resp import RespError

_texts = {}

KEEP = (100000, 86400000, 600000)  # keep_finished, keep_finished_ms, keep_finished_min_ms
KEEP_BYTES = 1 << 40

DEFAULTS = {"idem_ttl": 900000, "idem_cap": 268435456,
            "events": "stream 100000 268435456 604800000"}  # include/emit.lua: EVENTS_POLICY


ENDS = "return main(KEYS,ARGV)\n"  # what a function has as a script only: tools/persist-lua.awk


def text(name):
    """One script as Redis gets it for EVALSHA."""
    if name not in _texts:
        src = procs.top_srcdir()
        _texts[name] = subprocess.run(
            ["sh", os.path.join(src, "tools/embed-lua.sh"), "expand", src, f"lua/{name}.lua"],
            check=True,
            capture_output=True,
        ).stdout
    return _texts[name]


def is_function(name):
    """Is it called by FCALL?"""
    return text(name).endswith(ENDS.encode())


def function(name):
    """What it is called then; as common/scripts.c: scripts_function()."""
    return f"claudebench_{name}_{hashlib.sha1(text(name)).hexdigest()[:16]}"


def library(name):
    """The text for FUNCTION LOAD; as common/scripts.c: put_library()."""
    first, _, body = text(name).decode().partition("\n")
    flags = [f for f in first.partition("flags=")[2].split(",") if f]
    return (f"#!lua name={function(name)}\n" + body.removesuffix(ENDS)
            + f"redis.register_function{{function_name='{function(name)}',callback=main,flags={{{','.join(repr(f) for f in flags)}}}}}\n")


def names():
    return sorted(f[:-4] for f in os.listdir(os.path.join(procs.top_srcdir(), "lua")) if f.endswith(".lua"))


def hash_of(text_):
    """Any text as a hash of the params: 11 characters, '' as it is."""
    return text_ if len(text_) in (0, 11) else hashlib.sha256(text_.encode()).hexdigest()[:11]


def retention(keep):
    """The four of include/retention.lua; the bytes may be left out."""
    return (*keep, KEEP_BYTES)[:4]


class Request:
    """One request of a group: what the worker would have made of an entry."""

    def __init__(self, *args, rid="1", reply=None, deadline=0, params_hash="", idem=None, keys=(), actor="", session="",
                 agent="", trace="", entry=None, flags=""):
        self.args, self.rid, self.reply, self.deadline = args, rid, reply, deadline
        self.params_hash, self.idem, self.keys = hash_of(params_hash), idem, list(keys)
        self.caller = (actor, session, agent, trace)
        self.entry = entry
        self.flags = flags


class Gate:
    """The gate of a method (lua/include/gate.lua): rate limit and breaker; threshold 0 and limit 0 are none."""

    def __init__(self, method="task.create", limit=0, window=60000, threshold=0, fail_window=60000, open_ms=30000,
                 open_max=600000, backoff=1.5, half_open=3, close_after=2, permit_ms=30000, depends=""):
        self.method = method
        self.row = [method, limit, window, threshold, fail_window, open_ms, open_max, int(backoff * 1000), half_open, close_after,
                    permit_ms, depends]
        self.has_limit = limit > 0

    def args(self, requests):
        return [*self.row, "".join({"": ".", "et": "b"}.get(r.flags, r.flags) for r in requests)]


class Answer:
    """What a commit returned, and the replies that it pushed."""

    def __init__(self, raw):
        self.codes, self.errors, self.length = raw[:3]
        self.more = raw[3] if len(raw) > 3 else None  # refuse: of the dead letters that made room
        self.errors = [text.decode() for _, text in self.errors]


class Scripts:
    """A private Redis, one connection, and the scripts by name. With `schema`, 1 or 2, each script meets tasks as an earlier version
    would have written them; CBTEST_SCHEMA has all tests do so (those that count commands or damage tasks fail then). With
    `has_functions` false, or CBTEST_AS_SCRIPTS, functions are called as the scripts that they are where Redis does not take them."""

    schema = int(os.environ.get("CBTEST_SCHEMA", "0"))
    has_functions = "CBTEST_AS_SCRIPTS" not in os.environ

    def __init__(self, prefix="cb", schema=0, **redis):
        self.schema = self.schema or schema
        self.server = PrivateRedis(**redis)
        self.redis = self.server.client()
        self.runner = self.server.as_user("daemon", prefix) if users.ACL else self.redis
        self.prefix = prefix
        self.called = {}
        self.options = dict(DEFAULTS)

    def close(self):
        self.server.__exit__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def key(self, rest):
        return f"{self.prefix}:{rest}"

    # ---- running ----

    def eval(self, name, keys, args):
        """FCALL or EVALSHA, loaded at first use; error replies raise RespError."""
        self._make_earlier()
        for _ in range(2):
            if name not in self.called:
                self.called[name] = self.load(name)
            try:
                return self.runner.call(*self.called[name], len(keys), *keys, *args)
            except RespError as problem:
                if problem.code != "NOSCRIPT" and problem.text != "ERR Function not found":
                    raise
                del self.called[name]
        raise AssertionError("forgotten twice")

    def load(self, name):
        """How it is called then."""
        if self.has_functions and is_function(name):
            try:
                return "FCALL", self.runner.text("FUNCTION", "LOAD", "REPLACE", library(name))
            except RespError as problem:
                if problem.code != "OOM":
                    raise
        return "EVALSHA", self.runner.text("SCRIPT", "LOAD", text(name))

    def _make_earlier(self):
        for key in self.redis.scan(self.key("task:t-*")) if self.schema else ():
            if self.redis.call("TYPE", key) == b"hash":
                task_hash.to_schema(self.redis, key, self.schema)

    def stream(self, domain="task"):
        return self.key(f"requests:{domain}")

    def deliver(self, count=1, consumer="c1", domain="task", fields=("method", "x")):
        """Adds entries and reads them as `consumer`; their ids."""
        self.group(domain)
        out = self.redis.pipeline([["XADD", self.stream(domain), "*", *fields] for _ in range(count)])
        self.redis.call("XREADGROUP", "GROUP", "workers", consumer, "COUNT", count, "STREAMS", self.stream(domain), ">")
        return [i.decode() for i in out]

    def group(self, domain="task"):
        try:
            self.redis.call("XGROUP", "CREATE", self.stream(domain), "workers", "0", "MKSTREAM")
        except RespError as problem:
            if problem.code != "BUSYGROUP":
                raise

    def commit(self, name, requests, op_args=(), op_keys=(), domain="task", deliver=True, gate=None):
        """Runs an envelope script on a group of Requests. Entries are delivered first where none is set."""
        missing = [r for r in requests if r.entry is None]
        if deliver and missing:
            for request, entry in zip(missing, self.deliver(len(missing), domain=domain)):
                request.entry = entry
        lists = []
        for request in requests:
            if request.reply and request.reply not in lists:
                lists.append(request.reply)
        keys = [self.stream(domain), self.key("stream:events"), self.key("duplicates:prevented"), self.key("clock"),
                self.key("meta"), *op_keys, *[self.key(f"reply:{t}") for t in lists]]
        args = [self.prefix + ":", len(requests), len(lists), len(op_keys), len(op_args), self.options["idem_ttl"],
                self.options["idem_cap"], self.options["events"]]
        guard = gate.args(requests) if gate else []
        callers = list(dict.fromkeys(r.caller for r in requests))
        args += [len(guard), len(callers), *op_args, *guard, *[field for caller in callers for field in caller]]
        for request in requests:
            keys += request.keys
            form = [lists.index(request.reply) + 1 if request.reply else 0, callers.index(request.caller) + 1, len(request.keys),
                    len(request.args)]
            args += [request.entry, json.dumps(request.rid), request.deadline, request.params_hash, " ".join(map(str, form)),
                     *request.args, *([request.idem] if request.params_hash else [])]
        return Answer(self.eval(name, keys, args))

    def replies(self, token):
        """Takes all replies of a list, as documents."""
        raw = self.redis.call("LRANGE", self.key(f"reply:{token}"), 0, -1)
        self.redis.call("DEL", self.key(f"reply:{token}"))
        return [json.loads(r) for r in raw]

    def ask(self, name, *args, op_args=(), op_keys=(), keys=(), domain="task", gate=None, **kw):
        """One request in a group of its own; its reply document."""
        token = "reply-token-for-ask"
        answer = self.commit(name, [Request(*args, reply=token, keys=keys, **kw)], op_args, op_keys, domain, gate=gate)
        docs = self.replies(token)
        assert len(docs) == (0 if answer.codes[0] == -1 else 1), (docs, answer.codes)
        doc = docs[0] if docs else {"duplicate": True}
        doc["internal"] = answer.errors
        return doc

    # ---- the operations, with their arguments spelled once ----

    def create_args(self, text_="a task", priority=50, queue="default", payload="", metadata="", max_attempts=3,
                    max_crashes=3, backoff="", lease="", roles="", **extras):
        """extras: as include/create_extras.lua has them (delay_ms, run_at, after, after_index, on_failure, unique_key)."""
        extras = {**{k: v for k, v in (("backoff_ms", backoff), ("lease_ms", lease)) if v != ""}, **extras}
        return [json.dumps(text_), priority, queue, payload, metadata, max_attempts, max_crashes, roles,
                json.dumps(extras) if extras else ""]

    def create(self, text_="a task", max_pending=1000, **kw):
        return self.ask("task_create", *self.create_args(text_, **kw), op_args=[max_pending])

    def claim_args(self, worker="w1", count=1, incarnation="", lease="", salt="0123456789abcdef", queue="default",
                   roles=""):
        return ["\n".join(map(str, (count, lease, queue, incarnation, roles, worker))), salt]

    def claim(self, worker="w1", count=1, lease_ms=30000, mode="pull", deny=30000, **kw):
        return self.ask("task_claim", *self.claim_args(worker, count, **kw), 0, op_args=[lease_ms, deny, 1000, mode])

    def wait(self, worker="w1", count=1, wait_ms=30000, reply=None, max_waiters=1000, deadline=0, params_hash="", idem=None,
             rid="1", mode="pull", **kw):
        """A claim that waits. Its code (2 = parked); replies come to `reply` (default: one named after the worker)."""
        request = Request(*self.claim_args(worker, count, **kw), wait_ms, reply=reply or self.waiting(worker), rid=rid,
                          deadline=deadline, params_hash=params_hash, idem=idem)
        answer = self.commit("task_claim", [request], [30000, 30000, max_waiters, mode])
        assert not answer.errors, answer.errors
        return answer.codes[0]

    @staticmethod
    def waiting(worker):
        return f"reply-token-of-{worker}"

    def complete(self, task, lease_token="", worker="", result="", next_args=None, keep=KEEP, **kw):
        args = [task, lease_token, worker, result, *(next_args or [])]
        return self.ask("task_complete", *args, op_args=[30000, *retention(keep), 30000, "pull"], keys=[self.key(f"task:{task}")], **kw)

    def complete_batch(self, items, worker="", keep=KEEP, **kw):
        """items: (task, token[, result])…"""
        flat = [x for item in items for x in (*item, "")[:3]]
        return self.ask("task_complete_batch", worker, len(items), *flat, op_args=[30000, *retention(keep), 30000, "pull"],
                        keys=[self.key(f"task:{item[0]}") for item in items], **kw)

    def fail(self, task, lease_token, error='"boom"', retry=1, random=500, backoff=1000, backoff_max=3600000,
             keep=KEEP, crashed=0, signal="", **kw):
        return self.ask("task_fail", task, lease_token, error, retry, random, crashed, signal,
                        op_args=[backoff, backoff_max, *retention(keep)], keys=[self.key(f"task:{task}")], **kw)

    def release(self, task, lease_token):
        return self.ask("task_release", task, lease_token, keys=[self.key(f"task:{task}")])

    def renew(self, task, lease_token, extend=""):
        return self.ask("task_renew", task, lease_token, extend, op_args=[30000], keys=[self.key(f"task:{task}")])

    def progress(self, task, lease_token, percent="50", note="", **kw):
        return self.ask("task_progress", task, lease_token, percent, note, keys=[self.key(f"task:{task}")], **kw)

    def update(self, task, text_="", status="", priority="", metadata="", version="", keep=KEEP, **kw):
        return self.ask("task_update", task, version, text_, status, priority, metadata, op_args=retention(keep),
                        keys=[self.key(f"task:{task}")], **kw)

    def assign(self, task, instance, salt="fedcba9876543210", **kw):
        return self.ask("task_assign", task, instance, salt, op_args=[30000], keys=[self.key(f"task:{task}")], **kw)

    def reassign(self, task, to="", why="", salt="00112233445566ff", **kw):
        return self.ask("task_reassign", task, to, why, salt, op_args=[30000], keys=[self.key(f"task:{task}")], **kw)

    def delete(self, task, version="", **kw):
        return self.ask("task_delete", task, version, keys=[self.key(f"task:{task}")], **kw)

    def cancel(self, task, reason="", version="", keep=KEEP, **kw):
        return self.ask("task_cancel", task, version, reason, op_args=retention(keep), keys=[self.key(f"task:{task}")], **kw)

    def retry(self, task, attempts="", version="", **kw):
        return self.ask("task_retry", task, version, attempts, keys=[self.key(f"task:{task}")], **kw)

    def create_batch(self, *tasks, max_pending=1000):
        """tasks: dictionaries of what create_args() takes."""
        flat = [x for t in tasks for x in self.create_args(**t)]
        return self.ask("task_create_batch", len(tasks), *flat, op_args=[max_pending])

    def todo(self, *todos, session="s1", mode="list", event="", salt="0123456789abcdef", keep=KEEP, max_pending=1000, **kw):
        """todos: (content, state)…, known by their content; with mode `one`: (id, state, subject or "", [description])."""
        flat, seen = [], {}
        for first, state, *subject in todos:
            name = ("t" if mode == "one" else "c") + hashlib.sha256(first.encode()).hexdigest()[:32]
            text_ = subject[0] if mode == "one" else first
            if mode != "one":
                seen[name] = seen.get(name, -1) + 1
                name += f".{seen[name]}"
            more = ',"description":' + json.dumps(subject[1]) if len(subject) > 1 else ""
            flat += [name, state, json.dumps(text_) if text_ else "", "", more, 50]
        return self.ask("hook_todo_write", mode, event, salt, len(todos), *flat,
                        op_args=[*retention(keep), max_pending, 3, 3], domain="hook", session=session, **kw)

    def todo_expire(self, limit=100):
        """Tasks looked at, tasks cancelled, what went wrong."""
        got = self.eval("hook_todo_expire", [self.key("todos"), self.key("stream:events")], [self.prefix + ":", limit, 100000])
        return got[0], got[1], got[2].decode()

    def pause(self, queue="*"):
        return self.ask("task_queue_pause", queue)

    def resume(self, queue="*"):
        return self.ask("task_queue_resume", queue)

    def queues(self, cursor="", limit=50):
        return self.ask("task_queues", cursor, limit)

    def get(self, task):
        return self.ask("task_get", task, keys=[self.key(f"task:{task}")])

    def listing(self, status="", queue="", assigned="", text_="", limit=50, cursor="", order="oldest"):
        return self.ask("task_list", status, queue, assigned, text_, limit, cursor, order)

    def register(self, agent, incarnation, roles="[]", capacity=1, lease="", metadata="{}", takeover=1, queues="default"):
        return self.ask("system_register", agent, roles, capacity, lease, metadata, takeover, incarnation, queues,
                        " ".join(json.loads(roles)), op_args=[30000], domain="system")

    def unregister(self, agent, incarnation):
        return self.ask("system_unregister", agent, incarnation, domain="system")

    def heartbeat(self, agent, incarnation, leases=(), health="healthy", load=0, seen=""):
        flat = [x for pair in leases for x in pair]
        return self.ask("system_heartbeat", agent, incarnation, health, load, len(leases), *flat, seen, op_args=[30000],
                        domain="system")

    def circuit_call(self, fail=0, gate=None, actor="", **kw):
        """test.circuit; (its error's code or 0, the reply)."""
        doc = self.ask("test_circuit", fail, "boom", domain="test", gate=gate, actor=actor, **kw)
        return doc.get("error", {}).get("code", 0), doc

    def enter(self, entry, gate, actor="", deadline=0):
        """Asks for admission of one request whose work is outside; (0 or a code, data)."""
        request = Request(entry=entry, actor=actor)
        code, _, data = self.eval("gate_enter", [self.key("stream:events")],
                                  [self.prefix + ":", self.options["events"], entry, deadline, actor, *gate.args([request])])
        return code, json.loads(data) if data else {}

    def circuit(self, method="test.circuit"):
        return {k: v.decode() for k, v in self.redis.hash(self.key(f"circuit:{method}")).items()}

    def vote(self, decision, instance, value="yes", role="", timeout=60000, incarnation="", **kw):
        return self.ask("system_quorum_vote", decision, instance, incarnation, json.dumps(value), role, timeout,
                        domain="system", **kw)

    def decision(self, decision):
        return self.ask("system_quorum_get", decision, domain="system")

    def batch(self, batch, instance="p1", items=(), fence="", first=0, more="", lease="", take=10, **kw):
        return self.ask("system_batch_process", batch, instance, fence, first, more, lease, take, len(items),
                        *map(json.dumps, items), domain="system", **kw)

    def batch_progress(self, batch, fence, done="", instance="p1", take=0, release=0, **kw):
        return self.ask("system_batch_progress", batch, instance, fence, done, take, release, domain="system", **kw)

    def batch_complete(self, batch, fence, done="", instance="p1", **kw):
        return self.ask("system_batch_complete", batch, instance, fence, done, domain="system", **kw)

    def batch_get(self, batch):
        return self.ask("system_batch_get", batch, domain="system")

    def sync(self, data='{}', version="", **kw):
        return self.ask("system_state_sync", data, version, domain="system", **kw)

    def publish(self, kind="deploy.done", event="", partition="", data="", window=86400000, ids=100000, **kw):
        return self.ask("system_event_publish", kind, event, partition, data, op_args=[window, ids], domain="system", **kw)

    def subscribe(self, group, since="$", idle=604800000, **kw):
        return self.ask("system_event_subscribe", group, since, op_args=[idle], domain="system", **kw)

    def unsubscribe(self, group, **kw):
        return self.ask("system_event_unsubscribe", group, domain="system", **kw)

    def event_care(self, instance="host-a", incarnation="i1", epoch=None):
        if epoch is None:
            epoch = self.redis.text("HGET", self.key("leader:current"), "epoch") or "0"
        keys = [self.key(k) for k in ("leader:current", "stream:events", "events:readers", "meta")]
        return [x.decode() if isinstance(x, bytes) else x
                for x in self.eval("event_care", keys, [self.prefix + ":", instance, incarnation, epoch, self.options["events"]])]

    def check_health(self, timeout="", suspect=1500, offline=2500):
        return self.ask("system_check_health", timeout, op_args=[suspect, offline], domain="system")

    def state(self):
        return self.ask("system_get_state", '"1.0"', domain="system")

    def tick(self, instance="host-a", incarnation="i1", secret="s1", register=0, leave=0, tick_ms=500, offline=2500,
             leader_lease=2000, suspect=1500, keep=KEEP, aging=0, generation="gen1",
             can_adopt=0, finished="", metrics=()):
        keys = [self.key(k) for k in ("clock", "leader:current", f"instance:{instance}", "instances:active",
                                      "stream:events", "meta", "requests:system")]
        got = self.eval("tick", keys, [self.prefix + ":", instance, incarnation, secret, register, leave, tick_ms, offline,
                                       leader_lease, suspect, self.options["events"], *retention(keep), aging, generation, can_adopt,
                                       finished, len(metrics), *metrics])
        names_ = ("state", "eff", "leader", "epoch", "leads", "expired", "promoted", "moved", "problem", "waited",
                  "orphan", "hosts", "schedule_ms", "audit", "circuits")
        made = {n: (v.decode() if isinstance(v, bytes) else v) for n, v in zip(names_, got)}
        made["circuits"] = [[x.decode() for x in row] for row in made["circuits"]]
        hosts = made["hosts"]
        made["hosts"] = (hosts[0], hosts[1], int(hosts[2]), hosts[3].decode().split())
        return made

    def assign_pending(self, mode="push", instance="host-a", incarnation="i1", epoch=None, wait=0, lease_ms=30000,
                       salt="a5a5a5a5a5a5a5a5", cursor="", reply="", deny=30000):
        if epoch is None:
            epoch = self.redis.text("HGET", self.key("leader:current"), "epoch") or "0"
        keys = [self.key(k) for k in ("leader:current", "stream:events", "meta")]
        got = self.eval("assign_pending", keys, [self.prefix + ":", instance, incarnation, epoch,
                                                 self.options["events"], mode, wait,
                                                 lease_ms, salt, cursor, reply, deny])
        names_ = ("state", "assigned", "cursor", "seen", "names", "problem")
        return {n: (v.decode() if isinstance(v, bytes) else v) for n, v in zip(names_, got)}

    def requeue(self, consumer="c1", limit=100, crashed="", how="signal 9", dead_entries=10000, max_crashes=3,
                max_redelivered=10, domain="task", dead_bytes=64 << 20):
        """[handed on, dead, still pending]; in `given_up` what the log is told of the dead, in `dropped` of those that made room."""
        *counts, told, self.dropped = self.eval("requeue", [self.stream(domain), self.key("stream:dead")],
                                  [self.prefix + ":", consumer, limit, crashed, how, dead_entries, dead_bytes,
                                   max_crashes, max_redelivered])
        self.given_up = [[text.decode() for text in one] for one in told]
        return counts

    # ---- looking ----

    def task(self, task):
        return task_hash.unpacked(self.redis.hash(self.key(f"task:{task}")))

    def change(self, task, **values):
        task_hash.change(self.redis, self.key(f"task:{task}"), **values)

    def kept(self, scope):
        """The record under an idempotency key's scope, None when there is none."""
        last = int(self.redis.hash(self.key("meta")).get("idem_gen", 0))
        found = [self.redis.call("HGET", self.key(f"idem:{n}"), scope) for n in (last - 1, last) if n > 0]
        return next((record for record in reversed(found) if record is not None), None)

    def events(self, kind=None, key="stream:events"):
        rows = self.redis.call("XRANGE", self.key(key), "-", "+")
        found = [{f[i].decode(): f[i + 1].decode() for i in range(0, len(f), 2)} for _, f in rows]
        return [e for e in found if kind is None or e["type"] == kind]

    def dump(self, skip=("requests:", "reply:", "stream:", "duplicates:", "clock")):
        """All keys and values (serialized), but those that every commit changes: for "nothing changed"."""
        self._make_earlier()
        found = {}
        for key in sorted(self.redis.scan()):
            if any(key.decode().startswith(self.key(s)) for s in skip):
                continue
            found[key] = self.redis.call("DUMP", key)
        return found

    def age(self, seconds):
        """Moves the effective clock forward, as if ticks had done it."""
        self.redis.call("HINCRBY", self.key("clock"), "eff", int(seconds * 1000))

    def wall(self):
        s, us = self.redis.call("TIME")
        return int(s) * 1000 + int(us) // 1000
