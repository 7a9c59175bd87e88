#!/usr/bin/env python3
"""hostile_fields.py: every text that any method takes, wherever its declared params have one, as something that tries to be something
else (F32): refused, or data. What others keep in the same Redis is untouched, and each key that came has a row in common/keys.def.

The fields of the envelope, and what comes back byte for byte, are in tests/contract/hostile_text.py.
"""

import os
import re

from cbtest import *

TEXTS = ["*", "?", "[a-z]", "a\r\nb", "\r\n*1\r\n$8\r\nFLUSHALL\r\n", "$6\r\nFLUSHALL", "{}", "{cb}", "cb:leader:lock", "leader:current",
         "x" * 10240, "%n%s%x%99999999s", "../../../../etc/passwd", "'; return redis.call('FLUSHALL') --",
         "]] redis.call('FLUSHALL') --[[", 'return redis.call("FLUSHDB")', "worker:8080", "a\0b", "\x1b[2J", "", " ", "\u202eabc"]
STRANGERS = {"stranger": "1", "worker:8080": "2", "*": "3", "{}": "4", "cb": "5", "cbx:leader:lock": "6", "leader:lock": "7", "../x": "8"}
CODES = {0, -32600, -32602, -32700, -32000, -32001, -32002, -32004, -32005, -32006, -32007}  # but no internal error
SAMPLES = ["t-1", "q1", "2030-01-01T00:00:00Z", "@daily", "a"]


def types(schema):
    kind = schema.get("type", ())
    return {kind} if isinstance(kind, str) else set(kind)


def sample(schema):
    if "enum" in schema:
        return schema["enum"][0]
    kind = types(schema) - {"null"}
    if "string" in kind:
        return next((s for s in SAMPLES if fits(s, schema)), "a" * max(1, schema.get("x-minBytes", 1)))
    if kind & {"integer", "number"}:
        return max(schema.get("minimum", 0), min(1, schema.get("maximum", 1)))
    if "boolean" in kind:
        return True
    if "array" in kind:
        return [sample(schema.get("items", {})) for _ in range(max(1, schema.get("minItems", 0)))]
    return {n: sample(schema["properties"][n]) for n in schema.get("required", ())}


def places(schema):
    """Functions of a text, each of which gives params with it in another place; and the place, in words."""
    kind = types(schema)
    if "string" in kind or not kind:
        yield "", lambda text: text
    if "array" in kind:
        for name, make in places(schema.get("items", {})):
            yield f"[]{name}", lambda text, m=make: [m(text)]
    if "object" in kind:
        for member, sub in schema.get("properties", {}).items():
            for name, make in places(sub):
                yield f".{member}{name}", lambda text, n=member, m=make: {**sample(schema), n: m(text)}
        if not schema.get("properties"):  # a map
            yield ".*", lambda text: {text: text}


def rows():
    with open(os.path.join(procs.top_srcdir(), "common/keys.def"), encoding="utf-8") as f:
        patterns = re.findall(r'KEY\(\w+,\s*"([^"]*)"', f.read())
    return [re.compile(re.escape(p).replace("%", "(.+?)") + r"\Z", re.S) for p in patterns]


@case("every text of every method with every hostile text: no internal error, no stranger's key touched, every key explained",
      faults="F32")
def every_field():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 2}, "test": {"workers": 1}}}) as d:
        c = d.caller()
        with redis.client() as r:
            for key, value in STRANGERS.items():
                r.call("SET", key, value)
        tried = refused = 0
        for method, declared in sorted(c.schemas.items()):
            for place, make in places(declared["params"]):
                rids = [(text, c.send(method, make(text))) for text in TEXTS]
                for text, rid in rids:
                    reply = c.wait(rid, 20)
                    tried += 1
                    refused += not reply.ok
                    check(reply.code in CODES, f"{method}{place} {text[:40]!r} -> {short(reply.raw)}")
                    fit = fits(make(text), declared["params"])
                    check(fit or not reply.ok, f"{method}{place} {text[:40]!r}: its schema does not have it, and it was taken")
        note(f"{tried} texts in the fields of {len(c.schemas)} methods, {refused} refused")
        check(tried > 2000, "that is all?")
        with redis.client() as r:
            for key, value in STRANGERS.items():
                equal(r.text("GET", key), value, key)
            names = {k.decode("utf-8", "replace") for k in r.scan("*")} - set(STRANGERS)
            equal(r.call("DBSIZE") >= len(STRANGERS), True)
        known = rows()
        unknown = [n for n in names if not n.startswith("cb:") or not any(p.match(n[3:]) for p in known)]
        equal(unknown, [], "keys without a row")
        equal(d.events("child_died"), [])
        check("\x1b" not in d.log(), "raw ESC in the log")


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=600)
