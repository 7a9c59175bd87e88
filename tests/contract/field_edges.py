#!/usr/bin/env python3
"""field_edges.py: every method and every field that system.discover declares, at its edges.

The values are made from the declared schemas: what lies inside must not be refused as params, what lies
outside must be -32602 with data.path, expected and got. Replies are checked against the declared results
by the Caller.
"""

import copy
import json
import re

from cbtest import *

RESERVED = ["tasks", "instance", "current", "latest", "detected", "recovery"]
ANSWERS = {0, -32002, -32004, -32005}  # params were accepted: done, not allowed, no such thing, or not in this state
# What a schema cannot say: rules between fields (params that make the others acceptable), and texts of
# which only some are meant.
BASES = {"hook.register": {"name": "edges", "type": "pre_tool", "file": "edges.yaml"},
         "hook.todo_write": {"todos": [{"content": "x", "status": "pending"}]},
         "task.complete": {"id": "t-1", "workerId": "w"}, "schedule.add": {"id": "edges", "every_ms": 86400000}}
INSTEAD = {("hook.todo_write", "task"): {"mode": "one", "task": {"id": "1", "subject": "x"}},
           ("task.complete", "taskId"): {"workerId": "w"}, ("schedule.add", "cron"): {"template": {"text": "x"}}}
ONLY = {("hook.register", "file"): ["edges.yaml"], ("hook.register", "scope"): ["/", "/folder"], ("hook.todo_write", "mode"): ["list"],
        ("system.discover", "method"): ["task.create", "system.discover"], ("task.list", "cursor"): [], ("task.audit", "cursor"): [], ("system.audit", "cursor"): [],
        ("schedule.add", "cron"): ["@daily", "* * * * *"], ("schedule.add", "timezone"): ["UTC"],
        ("system.heartbeat", "seen"): [{}, {"other": 5}],
        ("system.event.subscribe", "since"): ["$", "0", "123", "123-4"],
        ("test.circuit", "shouldFail"): [False], ("test.circuit", "delay"): [0, 1],  # it does as it is told
        ("task.create", "after"): [[]], ("task.create_batch", "tasks[0].after"): [[]],  # there must be such tasks
        ("task.create_batch", "tasks[0].after_index"): [[]]}

daemon = None
link = None


def start():
    global daemon, link
    chain = procs.subfolder("edges")
    with open(f"{chain}/edges.yaml", "w", encoding="ascii") as f:
        f.write("groups: [{name: edges, rules: [{name: none, action: deny, message: m, tools: [NoSuchTool], match: {pattern: x}}]}]\n")
    daemon = Daemon(config={"domains": {"task": {"workers": 2}, "system": {"workers": 2}, "test": {"workers": 1}},
                            "hooks": {"chain_dir": chain}})
    at_exit(daemon.stop)
    link = daemon.caller()
    link.call("system.register", {"id": "edge-agent", "roles": []})


# ---- sample values from a schema ----

SAMPLES = ["t-1", "default", "q1", "tok_-A1", "2030-01-01T00:00:00Z", "a"]


def types(schema):
    kind = schema.get("type")
    return set(kind) if isinstance(kind, list) else {kind} if kind else set()


def sample(schema):
    if "enum" in schema:
        return schema["enum"][0]
    kind = types(schema) - {"null"}
    if not kind:
        return {"any": [1, "x", None]}
    if "string" in kind:
        for text in SAMPLES:
            if fits(text, schema):
                return text
        return "a" * max(1, schema.get("x-minBytes", 1))
    if "integer" in kind or "number" in kind:
        return max(schema.get("minimum", 0), min(1, schema.get("maximum", 1)))
    if "boolean" in kind:
        return True
    if "array" in kind:
        return [sample(schema.get("items", {})) for _ in range(max(1, schema.get("minItems", 0)))]
    return {n: sample(schema["properties"][n]) for n in schema.get("required", [])}


def wrong_types(schema):
    kind = types(schema)
    if not kind:
        return []
    values = {
        "string": ["text", ""],
        "number": [7, -0.5, 10**30],
        "boolean": [True],
        "array": [[], [1]],
        "object": [{}, {"a": 1}],
        "null": [None],
    }
    own = {"number" if k == "integer" else k for k in kind}
    return [v for k, list_ in values.items() if k not in own for v in list_]


def text_edges(schema):
    good, bad = [], []
    low, high = schema.get("x-minBytes"), schema.get("x-maxBytes")
    if not schema.get("pattern", "^[^").startswith("^[^") or "enum" in schema or "format" in schema:
        return good, bad
    if low is not None:
        good.append("x" * max(low, 0))
        if low > 0:
            bad.append("x" * (low - 1))
    if high is not None:
        good += ["y" * high, "é" * (high // 2) + "y" * (high % 2), "\U0001f600" * (high // 4) + "y" * (high % 4)]
        bad += ["y" * (high + 1), "é" * (high // 2 + 1), "\U0001f600" * (high // 4 + 1)]
    bad.append("nul \0 inside")
    return good, bad


def pattern_edges(schema):
    """Candidates of many shapes, sorted by the declared pattern (and the byte limits) themselves."""
    if "pattern" not in schema:
        return [], []
    shapes = ["t-1", "t-" + "9" * 20, "t-" + "9" * 21, "t-", "t-1x", "T-1", " t-1", "t-1\n", "t--1", "a", "A9", "a.b-c_d",
              ".a", "-a", "_a", "a b", "a:b", "a/b", "../a", "ä", "", "a" * 64, "a" * 65, "a" * 128, "a" * 129, "A_-z",
              "a\0b", "a\u2028b", "*", "{}", "a\r\nb"]
    good = [s for s in shapes if fits(s, schema)]
    return good, [s for s in shapes if s not in good]


def number_edges(schema):
    good, bad = [], []
    for limit, step in (("minimum", -1), ("maximum", 1)):
        if limit in schema:
            good.append(schema[limit])
            bad.append(schema[limit] + step)
    if "integer" in types(schema):
        bad += [b"0.5", b"1.0", b"1e0", b"9007199254740993000", b"18446744073709551616", b"1" + b"0" * 400]
    else:
        bad += [b"1e400"]
    return good, bad


def time_edges(schema):
    if schema.get("format") != "date-time":
        return [], []
    good = ["2030-01-01T00:00:00Z", "2030-12-31T23:59:59.999Z", "2030-06-01T12:00:00+02:00", "2028-02-29T00:00:00-11:30",
            "2030-01-01T00:00:00.123456Z"]
    bad = ["2030-01-01", "2030-02-30T00:00:00Z", "2029-02-29T00:00:00Z", "2030-13-01T00:00:00Z", "2030-01-01T24:00:00Z",
           "2030-01-01T00:60:00Z", "2030-01-01T00:00:00", "2030-01-01 00:00:00", "tomorrow", "", "2030-01-01T00:00:00Zx",
           "2030-1-1T00:00:00Z", "2030-01-01T00:00:00+2:00", "-2030-01-01T00:00:00Z", "1893456000"]
    return good, bad


def list_edges(schema):
    if "array" not in types(schema):
        return [], []
    item = sample(schema.get("items", {}))
    unique = schema.get("uniqueItems", False)

    def many(n):
        return [_vary(item, i) for i in range(n)] if unique else [copy.deepcopy(item) for _ in range(n)]

    low, high = schema.get("minItems", 0), schema.get("maxItems")
    good, bad = [many(low)], []
    if low > 0:
        bad.append(many(low - 1))
    if high is not None:
        good.append(many(high))
        bad.append(many(high + 1))
    if unique:
        bad.append([item, item])
    return good, bad


def _vary(item, i):
    if isinstance(item, str) and re.fullmatch(r"t-\d+", item):
        return f"t-{i + 1}"
    if isinstance(item, str):
        return f"{item}{i}"
    return i if isinstance(item, int) else item


def edges(schema):
    good, bad = [sample(schema)], list(wrong_types(schema))
    for source in (pattern_edges, time_edges, list_edges):
        g, b = source(schema)
        good += g
        bad += b
    if "string" in types(schema):
        g, b = text_edges(schema)
        good += g
        bad += b
        if "enum" in schema:
            good += schema["enum"]
            bad += ["", "nope", schema["enum"][0] + " ", schema["enum"][0].upper() + "X"]
    if types(schema) & {"integer", "number"}:
        g, b = number_edges(schema)
        good += g
        bad += b
    if "null" in types(schema):
        good.append(None)
    if not types(schema):
        good += [None, True, [], {}, "", 0, b"9007199254740993", b"1e400", b'{"a":[{}]}']
    return good, [b for b in bad if isinstance(b, bytes) or not fits(b, schema)]


# ---- sending ----


def encode_params(base, path, value):
    """base with `value` (bytes: a literal) at `path` (names and indexes), as JSON bytes."""
    mark = "@@literal@@"
    doc = copy.deepcopy(base)
    at = doc
    for step in path[:-1]:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    at[path[-1]] = mark if isinstance(value, bytes) else value
    data = dumps(doc)
    return data.replace(json.dumps(mark).encode(), value) if isinstance(value, bytes) else data


def path_text(path):
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def send_all(method, bodies):
    rids = link.send_many([(method, body, {"more": [("session", "edges")]}) for body in bodies])
    return link.wait_all(rids, 60)


def is_problem(reply, body, path):
    """None, or what is wrong with this refusal."""
    if reply.code != -32602:
        return f"not refused with -32602 but {reply.code}: {short(body)} -> {short(reply.raw)}"
    data = reply.data
    for name in ("path", "expected", "got"):
        if not isinstance(data.get(name), str):
            return f"data.{name} is missing: {short(body)} -> {short(reply.raw)}"
    if path is not None and data["path"] != path:
        # A bad element of a list is named by its index.
        if not (data["path"].startswith(path + "[") or data["path"].startswith(path + ".")):
            return f"data.path is {data['path']!r}, not {path!r}: {short(body)}"
    if not data["expected"] or (not data["got"] and path):
        return f"empty expected or got: {short(reply.raw)}"
    return None


def feed_claims():
    rids = link.send_many([("task.create", {"text": "claim me"}, {}) for _ in range(120)])
    link.wait_all(rids)


def try_field(method, base, path, schema):
    good, bad = edges(schema)
    base = INSTEAD.get((method, path[0]), base)
    good = ONLY.get((method, path_text(path)), good)
    if method == "task.claim":
        feed_claims()
    problems = []
    bodies = [encode_params(base, path, v) for v in good]
    for body, reply in zip(bodies, send_all(method, bodies)):
        if reply.code not in ANSWERS:
            problems.append(f"accepted by the schema, refused: {short(body, 200)} -> {short(reply.raw)}")
    bodies = [encode_params(base, path, v) for v in bad]
    for body, reply in zip(bodies, send_all(method, bodies)):
        problem = is_problem(reply, body, path_text(path))
        if problem:
            problems.append(problem)
    check(not problems, f"{len(problems)} of {len(good)} good and {len(bad)} bad values:\n" + "\n".join(problems[:6]))


def walk(schema, base, path=()):
    """(base, path, schema) of every declared field, members of objects and lists of objects included."""
    for name, sub in schema.get("properties", {}).items():
        here = path + (name,)
        yield base, here, sub
        inner = sub.get("items", {}) if "array" in types(sub) else sub
        if inner.get("properties"):
            nested = copy.deepcopy(base)
            at = nested
            for step in path:
                at = at[step]
            at[name] = sample(sub)
            deeper = here + (0,) if "array" in types(sub) else here
            if "array" in types(sub) and not at[name]:
                at[name] = [sample(inner)]
            yield from walk(inner, nested, deeper)


def objects(schema, base):
    """(path, schema, value) of the params and of every object with declared members inside them."""
    yield (), schema, base
    for nested, path, sub in walk(schema, base):
        inner = sub.get("items", {}) if "array" in types(sub) else sub
        if inner.get("properties"):
            yield (path + (0,) if "array" in types(sub) else path), inner, sample(inner)


def replaced(base, path, value):
    if not path:
        return value
    doc = copy.deepcopy(base)
    at = doc
    for i, step in enumerate(path[:-1]):
        if isinstance(at, dict) and step not in at:
            at[step] = [None] if isinstance(path[i + 1], int) else {}
        at = at[step]
    at[path[-1]] = value
    return doc


def make_cases():
    for name, method in sorted(link.schemas.items()):
        params = method["params"]
        base = {**sample(params), **BASES.get(name, {})}
        for base_, path, sub in walk(params, base):
            add_case(f"{name} {path_text(path)}: edges", lambda n=name, b=base_, p=path, s=sub: try_field(n, b, p, s))
        add_case(f"{name}: missing and unknown members", lambda n=name, b=base, s=params: try_shape(n, b, s))
        add_case(f"{name}: params that are no object", lambda n=name: try_params(n))


def try_shape(method, base, schema):
    problems = []
    for path, sub, inner in objects(schema, base):
        for missing in sub.get("required", []):
            body = dumps(replaced(base, path, {k: v for k, v in inner.items() if k != missing}))
            problem = is_problem(send_all(method, [body])[0], body, path_text(path + (missing,)))
            if problem:
                problems.append(problem)
        body = dumps(replaced(base, path, {**inner, "nosuchfield": 1}))
        reply = send_all(method, [body])[0]
        problem = is_problem(reply, body, None)
        if problem or reply.data["path"] != path_text(path) or "nosuchfield" not in reply.data["got"]:
            problems.append(problem or f"unknown member: {short(reply.raw)}")
    for unknown in ("nosuchfield", "__proto__", "", "Text", "id ", "*", "a.b", "a[0]", "x" * 10000, "\r\nFLUSHALL", "%n%s"):
        if unknown in schema.get("properties", {}):
            continue
        body = dumps({**base, unknown: 1})
        problem = is_problem(send_all(method, [body])[0], body[:300], None)
        if problem:
            problems.append(problem)
    for name in schema.get("properties", {}):
        near = name[:-1] + ("x" if name[-1] != "x" else "y")
        if len(name) > 4 and near not in schema["properties"]:
            reply = send_all(method, [dumps({**base, near: 1})])[0]
            if reply.code != -32602 or name not in json.dumps(reply.error):
                problems.append(f"no hint at {name!r} for {near!r}: {short(reply.raw)}")
    check(not problems, "\n".join(problems[:12]))


def try_params(method):
    for body in (b"[]", b'"x"', b"7", b"true", b"null", b"[{}]"):
        reply = send_all(method, [body])[0]
        equal(reply.code, -32600, f"params {body!r} -> {short(reply.raw)}")
    for body in (b"{", b"{}{}", b"", b" "):
        if body.strip():
            reply = send_all(method, [body])[0]
            equal(reply.code, -32700, f"params {body!r} -> {short(reply.raw)}")
            check(isinstance(reply.data.get("offset"), int), f"data.offset: {short(reply.raw)}")


@case("names that we use ourselves are refused, and default is not")
def reserved():
    for method, schema in sorted(link.schemas.items()):
        for name, sub in schema["params"].get("properties", {}).items():
            if name == "queue":
                base = {**sample(schema["params"]), **BASES.get(method, {})}
                for word in RESERVED:
                    data = link.refused(method, {**base, name: word})
                    equal(data["path"], name)
                check(link.ask(method, {**base, name: "default"}).code in ANSWERS, f"{method} queue default")


@case("every method of the issue is declared, with summary, params and result")
def declared():
    wanted = {"task.create", "task.create_batch", "task.claim", "task.complete", "task.get", "system.register",
              "system.heartbeat", "system.health", "system.discover"}
    check(wanted <= set(link.schemas), f"missing: {wanted - set(link.schemas)}")
    for name, method in link.schemas.items():
        check(method.get("summary"), f"{name} has no summary")
        for part in ("params", "result"):
            equal(method[part].get("type"), "object", f"{name} {part}")
            for field, sub in method[part].get("properties", {}).items():
                check(sub.get("description"), f"{name} {part}.{field} has no description")
        equal(method["params"].get("additionalProperties"), False, f"{name}: unknown params")


@case("the daemon handled all that without a restart of a worker")
def nothing_died():
    equal(daemon.events("child_died"), [])
    equal(daemon.backlog("task"), 0)
    equal(daemon.backlog("system"), 0)


if __name__ == "__main__":
    arguments()
    try:
        start()
    except Exception as problem:
        print(f"Bail out! {short(str(problem)).splitlines()[0]}")
        raise
    late = tap._cases.pop()  # the look at the log comes last
    make_cases()
    tap._cases.append(late)
    main()
