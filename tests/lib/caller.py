"""caller.py: the stream protocol (claudebench-methods(7)), spoken by hand: many requests in flight, any bytes.

Every reply is checked: envelope, id, and the result against the method's declared schema once the
caller has it (learn_schemas(), done by Daemon.caller()).
"""

import json
import os
import random
import threading
import time

import schema
import tap
from resp import RespError, to_bytes

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
ERROR_NAMES = {
    -32700: "parse error",
    -32600: "invalid request",
    -32601: "method not found",
    -32602: "invalid params",
    -32603: "internal",
    -32000: "rate limited",
    -32001: "circuit open",
    -32002: "unauthorized",
    -32004: "not found",
    -32005: "conflict",
    -32006: "deadline",
    -32007: "full",
}


def token(length=22):
    draw = random.SystemRandom()
    return "".join(draw.choice(ALPHABET) for _ in range(length))


# Errors of Redis itself that pass: sent again.
PATIENCE = {"LOADING", "OOM", "READONLY", "MISCONF", "MASTERDOWN", "BUSY", "UNBLOCKED", "NOSCRIPT"}


# … of a node of a cluster: asked is whoever has the keys by then.
ELSEWHERE = {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"}


class CallError(Exception):
    """An error reply. .code, .message, .data"""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error}")
        self.code = error["code"]
        self.message = error["message"]
        self.data = error.get("data", {})

    @property
    def reason(self):
        return self.data.get("reason")


class Reply:
    """One reply: .raw bytes, .result or .error (dict), .id"""

    def __init__(self, raw):
        self.raw = raw
        try:
            text = raw.decode("utf-8")
            self.doc = json.loads(text, object_pairs_hook=_no_doubles, parse_constant=_no_constant)
        except ValueError as problem:
            raise tap.Failure(f"a reply is not valid JSON ({problem}): {raw[:300]!r}") from problem
        tap.check(isinstance(self.doc, dict), f"a reply is not an object: {raw[:300]!r}")
        tap.equal(self.doc.get("jsonrpc"), "2.0", "jsonrpc member")
        tap.check("id" in self.doc, f"a reply has no id: {raw[:300]!r}")
        tap.check(("result" in self.doc) != ("error" in self.doc), f"result xor error: {raw[:300]!r}")
        extra = set(self.doc) - {"jsonrpc", "id", "result", "error"}
        tap.check(not extra, f"members {extra} in a reply")
        self.id = self.doc["id"]
        self.result = self.doc.get("result")
        self.error = self.doc.get("error")
        if self.error is not None:
            tap.check(self.error.get("code") in ERROR_NAMES, f"undocumented error code: {self.error}")
            tap.check(isinstance(self.error.get("message"), str) and self.error["message"], f"no message: {self.error}")
            tap.check(set(self.error) <= {"code", "message", "data"}, f"members of error: {self.error}")
            tap.check(isinstance(self.error.get("data", {}), dict), f"data is no object: {self.error}")
        tap.check(len(raw) <= 1024 * 1024, f"a reply of {len(raw)} bytes (limit 1 MiB)")

    @property
    def ok(self):
        return self.error is None

    @property
    def code(self):
        return 0 if self.error is None else self.error["code"]

    @property
    def data(self):
        return {} if self.error is None else self.error.get("data", {})


def _no_doubles(members):
    names = [k for k, _ in members]
    if len(set(names)) != len(names):
        raise ValueError(f"duplicate keys: {names}")
    return dict(members)


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


class Caller:
    """`connect` makes a Resp connection. Not for several threads at once."""

    def __init__(self, connect, prefix="cb", actor=None, schemas=None):
        self.connect = connect
        self.prefix = prefix
        self.token = token()
        self.actor = actor or f"test-{self.token[:8]}"
        self.schemas = schemas if schemas is not None else {}
        self.replies = {}
        self.methods = {}  # request id -> method, of those in flight
        self.out = self.back = None
        self.next = 0
        self.doubles = []  # ids that were answered twice
        self.losses = 0  # of connections

    # ---- connection ----

    def _out(self):
        if self.out is None:
            self.out = self.connect()
        return self.out

    def _back(self):
        if self.back is None:
            self.back = self.connect()
        return self.back

    def drop(self):
        """Closes both connections. The token is new then: a pop of the dead one takes nothing from us."""
        self.losses += 1
        self.close()
        self.token = token()

    def close(self):
        for link in (self.out, self.back):
            if link:
                link.close()
        self.out = self.back = None

    # ---- sending ----

    def key(self, rest):
        return f"{self.prefix}:{rest}"

    def fields(self, method, params=None, rid=None, idem=None, ttl_ms=None, actor=None, notify=False, more=()):
        """The field list of a request entry. `params`: a value, or bytes that go out verbatim."""
        pairs = [] if rid is None else [("id", rid)]
        if method is not None:
            pairs.append(("method", method))
        if params is not None:
            data = params if isinstance(params, bytes) else dumps(params)
            pairs.append(("params", data))
        if not notify:
            pairs.append(("reply", self.token))
        pairs.append(("actor", actor or self.actor))
        if ttl_ms is not None:
            pairs.append(("ttl_ms", str(ttl_ms)))
        if idem is not None:
            pairs.append(("idem", idem))
        pairs.extend(more)
        return [x for pair in pairs for x in pair]

    def domain(self, method):
        name = (method or "task.").split(".", 1)[0]
        return "task" if name == "schedule" else name

    def entry(self, method, params=None, stream=None, **kw):
        """(request id, XADD command) without sending it."""
        if "rid" not in kw:
            self.next += 1
            kw["rid"] = f"{self.token[:6]}.{self.next}"
        stream = stream or self.key(f"requests:{self.domain(method)}")
        self.methods[_text(kw["rid"])] = method
        return _text(kw["rid"]), ["XADD", stream, "*", *self.fields(method, params, **kw)]

    def send(self, method, params=None, **kw):
        """Puts one request on its stream; returns its id. params default to {}."""
        rid, command = self.entry(method, {} if params is None else params, **kw)
        self._out().call(*command)
        return rid

    def send_many(self, requests):
        """[(method, params, kw)…] in one pipeline; the ids. Raises when one was refused by Redis."""
        made = [self.entry(m, p, **kw) for m, p, kw in requests]
        for reply in self._out().pipeline([command for _, command in made]):
            if isinstance(reply, RespError):
                raise reply
        return [rid for rid, _ in made]

    # ---- receiving ----

    def poll(self, timeout=0.05):
        """Takes what has arrived (waits up to `timeout` for the first); number of replies taken."""
        link = self._back()
        got = link.call("BLMPOP", max(timeout, 0.001), 1, self.key(f"reply:{self.token}"), "LEFT", "COUNT", 1000,
                        timeout=timeout + link.timeout)
        if got is None:
            return 0
        for raw in got[1]:
            self._take(raw)
        return len(got[1])

    def _take(self, raw):
        reply = Reply(raw)
        rid = reply.id
        if rid in self.replies:
            self.doubles.append(rid)
        self.replies[rid] = reply
        method = self.methods.get(rid)
        if reply.ok and method in self.schemas:
            try:
                schema.validate(reply.result, self.schemas[method]["result"])
            except schema.Mismatch as problem:
                raise tap.Failure(f"reply of {method} against its declared result: {problem}") from problem

    def wait(self, rid, timeout=10.0):
        """The Reply to `rid`."""
        deadline = time.monotonic() + timeout
        while rid not in self.replies:
            left = deadline - time.monotonic()
            if left <= 0:
                raise tap.Failure(f"no reply to {self.methods.get(rid)} (id {rid}) within {timeout} s")
            self.poll(min(left, 0.5))
        self.methods.pop(rid, None)
        return self.replies.pop(rid)

    def wait_all(self, rids, timeout=20.0):
        deadline = time.monotonic() + timeout
        return [self.wait(rid, max(0.05, deadline - time.monotonic())) for rid in rids]

    # ---- both ----

    def ask(self, method, params=None, timeout=10.0, **kw):
        """Sends and waits: a Reply, whatever it says."""
        return self.wait(self.send(method, params, **kw), timeout)

    def call(self, method, params=None, timeout=10.0, **kw):
        """Sends and waits: the result; CallError for an error reply."""
        reply = self.ask(method, params, timeout, **kw)
        if not reply.ok:
            raise CallError(method, reply.error)
        return reply.result

    def refused(self, method, params=None, code=-32602, **kw):
        """Sends, and wants this error code: the error object's data."""
        reply = self.ask(method, params, **kw)
        tap.check(not reply.ok, f"{method} was accepted: {tap.short(reply.raw)}")
        tap.equal(reply.code, code, f"error code of {method} ({tap.short(reply.error)})")
        return reply.data

    def insist(self, method, params=None, timeout=30.0, each=2.0, idem=None):
        """Sends until a reply comes, with the same idem over lost connections and silence: the Reply."""
        return self.insist_all([(method, {} if params is None else params, idem or token())], timeout, each)[0]

    def insist_all(self, requests, timeout=30.0, each=2.0, stop=None):
        """[(method, params, idem)…] in flight together; what got no reply is sent again with its idem.

        Replies that only ask for patience (-32000, -32001, -32006, -32007) are sent again, too. With
        `stop` (a function) it gives up, with None for what has no reply, once stop() is true.
        """
        replies = [None] * len(requests)
        deadline = time.monotonic() + timeout
        problem = None
        while True:
            missing = [i for i, r in enumerate(replies) if r is None]
            if not missing:
                return replies
            if stop and stop():
                return replies
            if time.monotonic() > deadline:
                method = requests[missing[0]][0]
                raise tap.Failure(f"no answer to {len(missing)} of {len(requests)} ({method}…) in {timeout} s: {problem!r}")
            try:
                problem = self._round(requests, missing, replies, each) or problem
            except RespError as trouble:
                problem = trouble
                if trouble.code not in PATIENCE | ELSEWHERE:
                    raise
                if trouble.code in ELSEWHERE:
                    self.drop()
                time.sleep(0.1 if trouble.code in ELSEWHERE else 0.02)  # the pace of repeating; the deadline is above
            except OSError as trouble:
                problem = trouble
                self.drop()
                time.sleep(0.01)  # as above

    def _round(self, requests, missing, replies, each):
        """One sending of what is missing; takes replies for `each` seconds. The last problem, or None."""
        problem = None
        rids = dict(zip(self.send_many([(requests[i][0], requests[i][1], {"idem": requests[i][2]}) for i in missing]),
                        missing))
        until = time.monotonic() + each
        while rids and time.monotonic() < until:
            self.poll(max(0.01, min(0.5, until - time.monotonic())))
            for rid in [r for r in rids if r in self.replies]:
                reply = self.replies.pop(rid)
                self.methods.pop(rid, None)
                i = rids.pop(rid)
                if reply.code in (-32000, -32001, -32006, -32007):
                    problem = reply.error
                else:
                    replies[i] = reply
        if rids:
            problem = problem or f"{len(rids)} without a reply for {each} s"
            self.drop()
        elif problem:
            time.sleep(0.02)  # as above
        return problem

    def learn_schemas(self, timeout=10.0):
        """Asks system.discover; from then on every result is checked."""
        result = self.call("system.discover", {}, timeout)
        for method in result["methods"]:
            self.schemas[method["name"]] = method
        schema.validate(result, self.schemas["system.discover"]["result"])
        return self.schemas


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _text(value):
    return to_bytes(value).decode("utf-8", "replace")


def in_threads(functions, timeout=60.0):
    """Runs the functions beside each other; the first failure is raised. Returns their values."""
    values, problems = [None] * len(functions), []

    def runner(i):
        try:
            values[i] = functions[i]()
        except BaseException as problem:  # pylint: disable=broad-except
            problems.append(problem)

    threads = [threading.Thread(target=runner, args=(i,), daemon=True) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.01, deadline - time.monotonic()))
    if problems:
        raise problems[0]
    if any(t.is_alive() for t in threads):
        tap.fail(f"threads did not end within {timeout} s")
    return values


def failpoint(name, action, once=None, match=None, nth=None):
    """One fault point for CLAUDEBENCH_FAILPOINT (common/fault.h)."""
    text = f"{name}:{action}"
    if once:
        text += f":once={once}"
    if match:
        text += f":match={match}"
    if nth:
        text += f":nth={nth}"
    return text


def failpoints_env(*points):
    return {"CLAUDEBENCH_FAILPOINT": ",".join(points)}


def has_failpoints(binary):
    try:
        with open(binary, "rb") as f:
            return b"CLAUDEBENCH_FAILPOINT" in f.read()
    except OSError:
        return False


def need_failpoints(binary):
    if not os.path.exists(binary):
        raise tap.Failure(f"{binary} does not exist")
    if not has_failpoints(binary):
        raise tap.Skip("this build has no fault points (configure --enable-failpoints)")
