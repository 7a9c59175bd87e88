#!/usr/bin/env python3
"""json_rules.py: JSON end to end: what is refused with its offset, and what survives byte for
byte (rows F30, F31 of tests/results/faults.md)."""

import json

from cbtest import *

daemon = None
link = None
MAX = 256 * 1024


def start():
    global daemon, link
    daemon = Daemon(config={"domains": {"test": {"workers": 1}}})
    at_exit(daemon.stop)
    link = daemon.caller()


def refused(body, offset=None, method="task.create", code=-32700):
    reply = link.ask(method, body)
    equal(reply.code, code, f"{short(body, 120)} -> {short(reply.raw, 200)}")
    if code == -32700:
        at = reply.data.get("offset")
        check(isinstance(at, int) and 0 <= at <= len(body), f"offset {at} of {short(body, 120)}")
        if offset is not None:
            equal(at, offset, f"offset in {short(body, 120)}")


def literal_of(raw, name):
    """The bytes of member `name` of the reply's result (or of its first task), by scanning, not by parsing."""
    # The last one: `result` is also the envelope's member.
    at = raw.rindex(b'"' + name.encode() + b'":') + len(name) + 3
    depth, inside, i = 0, False, at
    while True:
        c = raw[i]
        if inside:
            if c == 0x5C:
                i += 1
            elif c == 0x22:
                inside = False
        elif c == 0x22:
            inside = True
        elif c in b"[{":
            depth += 1
        elif c in b"]}":
            if depth == 0:
                return raw[at:i]
            depth -= 1
        elif c == 0x2C and depth == 0:
            return raw[at:i]
        i += 1


BAD = [
    (b'{"text":"a","text":"b"}', None),
    (b'{"text":"a","te\\u0078t":"b"}', None),
    (b'{"text":"a","payload":{"k":1,"k":1}}', None),
    (b'{"text":"a","payload":[{"k":{"x":1,"\\u0078":2}}]}', None),
    (b'{"text":"a","payload":NaN}', 22),
    (b'{"text":"a","payload":Infinity}', 22),
    (b'{"text":"a","payload":-Infinity}', None),
    (b'{"text":"a","payload":nul}', None),
    (b'{"text":"a","payload":True}', 22),
    (b"{'text':'a'}", 1),
    (b'{"text":"a",}', 12),
    (b'{"text":"a" "x":1}', 12),
    (b'{"text":"a"}}', 12),
    (b'{"text":"a"} x', 13),
    (b'{"text":"a"', None),
    (b'{"text":"a', None),
    (b'{"text"', None),
    (b'{text:1}', 1),
    (b'{"text":"a","payload":01}', None),
    (b'{"text":"a","payload":+1}', 22),
    (b'{"text":"a","payload":.5}', 22),
    (b'{"text":"a","payload":5.}', None),
    (b'{"text":"a","payload":1e}', None),
    (b'{"text":"a","payload":1e+}', None),
    (b'{"text":"a","payload":0x10}', None),
    (b'{"text":"a","payload":--1}', None),
    (b'{"text":"a","payload":[1,]}', None),
    (b'{"text":"a","payload":[,1]}', None),
    (b'{"text":"a","payload":[1 2]}', None),
    (b'{"text":"a","payload":"\\x41"}', None),
    (b'{"text":"a","payload":"\\u12"}', None),
    (b'{"text":"a","payload":"\\u12G4"}', None),
    (b'{"text":"a\nb"}', None),
    (b'{"text":"a\tb"}', None),
    (b'{"text":"a\x00b"}', None),
    (b'{"text":"\xff"}', 9),
    (b'{"text":"\xc0\xaf"}', None),
    (b'{"text":"\xed\xa0\x80"}', None),
    (b'{"text":"\xf4\x90\x80\x80"}', None),
    (b'{"text":"\xe2\x82"}', None),
    (b'{"\xff":1}', None),
    (b'{"text":"a","payload":{"a\\u0000b":1}}', None),
    (b'{"text":"a","payload":"\\ud800"}', None),
    (b'{"text":"a","payload":"\\udc00x"}', None),
    (b"/* c */{}", 0),
    (b'{"text":"a"} // c', None),
    (b"\xef\xbb\xbf{}", 0),
    (b'{"text":"a"}\x00', None),
    (b'{"text":"a","payload":' + b"[" * 200 + b"]" * 200 + b"}", None),
    (b'{"text":"a","payload":' + b"[" * 100000, None),
    (b'{"text":"a","payload":' + b'{"a":' * 20000, None),
]

VERBATIM = [
    b"9007199254740993",
    b"-9007199254740993",
    b"18446744073709551617",
    b"1e400",
    b"-0",
    b"-0.0",
    b"1E5",
    b"1.10",
    b"0.1000000000000000055511151231257827",
    b"[]",
    b"{}",
    b"[[],{},[{}]]",
    b"null",
    b"true",
    b'""',
    b'"\\u0041\\/\\b\\f\\n\\r\\t\\"\\\\"',
    b'"\\ud83d\\ude00 \xf0\x9f\x98\x80"',
    b'{"b":1,"a":2,"\\u0063":[]}',
    b'{ "spaced" : [ 1 , 2 ] }',
    b'"\xc2\x9b \x7f"',
    b"123456789012345678901234567890.123456789012345678901234567890",
]


@case("documents that are not JSON, or ambiguous, are -32700 with the offset", faults="F30")
def bad_documents():
    for body, offset in BAD:
        refused(body, offset)


@case("depth 64 is accepted, 65 is refused", faults="F30")
def depth():
    # The params object is level 1.
    for levels, ok in ((63, True), (64, False)):
        body = b'{"text":"deep","payload":' + b"[" * levels + b"]" * levels + b"}"
        reply = link.ask("task.create", body)
        equal(reply.ok, ok, f"depth {levels + 1}: {short(reply.raw, 200)}")


@case("white space around and inside is accepted")
def white_space():
    reply = link.ask("task.create", b' \t\r\n{ "text" : "spaces" , "priority" : 5 }\r\n ')
    equal(reply.result["priority"], 5)


@case("payload and metadata literals survive create, claim and get byte for byte", faults="F30")
def verbatim_payload():
    for literal in VERBATIM:
        body = b'{"text":"v","queue":"verbatim","payload":' + literal + b',"metadata":{"m":' + literal + b"}}"
        made = link.ask("task.create", body)
        check(made.ok, f"{literal!r} -> {short(made.raw)}")
        claim = link.ask("task.claim", {"workerId": "w", "queue": "verbatim"})
        equal(literal_of(claim.raw, "payload"), literal, "payload at claim")
        equal(literal_of(claim.raw, "metadata"), b'{"m":' + literal + b"}", "metadata at claim")
        got = link.ask("task.get", {"id": made.result["id"]})
        equal(literal_of(got.raw, "payload"), literal, "payload at get")
        done = link.ask("task.complete", b'{"id":"%s","lease_token":"%s","result":%s}' % (
            made.result["id"].encode(), claim.result["tasks"][0]["lease_token"].encode(), literal))
        check(done.ok, short(done.raw))
        got = link.ask("task.get", {"id": made.result["id"]})
        equal(literal_of(got.raw, "result"), literal, "result at get")


@case("create_batch keeps each payload verbatim", faults="F30")
def verbatim_batch():
    body = b'{"tasks":[' + b",".join(
        b'{"text":"b","queue":"vb","payload":' + v + b"}" for v in VERBATIM) + b"]}"
    made = link.ask("task.create_batch", body)
    check(made.ok, short(made.raw))
    equal(len(made.result["ids"]), len(VERBATIM))
    for i, literal in zip(made.result["ids"], VERBATIM):
        equal(literal_of(link.ask("task.get", {"id": i}).raw, "payload"), literal)


def params_of(size):
    head, tail = b'{"text":"big","queue":"big","payload":"', b'"}'
    return head + b"p" * (size - len(head) - len(tail)) + tail


@case("params of exactly 256 KiB are stored byte for byte, one byte more is refused", faults="F31")
def largest():
    body = params_of(MAX)
    made = link.ask("task.create", body)
    check(made.ok, short(made.raw))
    claim = link.ask("task.claim", {"workerId": "w", "queue": "big"})
    equal(literal_of(claim.raw, "payload") == body[body.index(b'"payload":') + 10 : -1], True, "256 KiB payload")
    head = b'{"id":"%s","lease_token":"%s","result":"' % (
        made.result["id"].encode(), claim.result["tasks"][0]["lease_token"].encode())
    done = link.ask("task.complete", head + b"r" * (MAX - len(head) - 2) + b'"}')
    check(done.ok, short(done.raw))
    got = link.ask("task.get", {"id": made.result["id"]})
    equal(literal_of(got.raw, "result") == b'"' + b"r" * (MAX - len(head) - 2) + b'"', True, "result of 256 KiB")
    for extra in (1, 1000, 4 * MAX):
        reply = link.ask("task.create", params_of(MAX + extra))
        check(reply.code in (-32600, -32602), f"{MAX + extra} bytes -> {short(reply.raw)}")


@case("a completion with a result above the limit changes nothing", faults="F31")
def large_result():
    made = link.call("task.create", {"text": "x", "queue": "lr"})
    task = link.call("task.claim", {"workerId": "w", "queue": "lr"})["tasks"][0]
    reply = link.ask("task.complete", {"id": made["id"], "lease_token": task["lease_token"], "result": "r" * MAX})
    check(reply.code in (-32600, -32602), short(reply.raw))
    equal(link.call("task.get", {"id": made["id"]})["status"], "in_progress")


@case("claims of large payloads stay within the reply limit of 1 MiB and lose nothing", faults="F31")
def large_claims():
    ids = [link.call("task.create", params_of(200 * 1024).replace(b'"big"', b'"lc"'))["id"] for _ in range(12)]
    seen = []
    for _ in range(30):
        reply = link.ask("task.claim", {"workerId": "w", "queue": "lc", "maxTasks": 100})
        check(reply.ok, short(reply.raw))
        if not reply.result["tasks"]:
            break
        seen += [t["id"] for t in reply.result["tasks"]]
    equal(sorted(seen), sorted(ids))


@case("10 000 mutated documents: refused with a position, or stored as JSON reads them", faults="F30")
def mutations():
    draw = rng("mutations")
    bases = [b'{"text":"mutant","priority":7,"metadata":{"k":[1,2.5,null,true,"\\u00e9"]},"payload":{"a":{"b":[]}}}',
             b'{"text":"\xc3\xa9\xf0\x9f\x98\x80","payload":[1e5,-0.5,"x\\n"],"queue":"mut"}']
    count = 10000 if LONG or FAULTS else 3000
    bodies = []
    for _ in range(count):
        data = bytearray(draw.choice(bases))
        for _ in range(draw.randint(1, 3)):
            kind, at = draw.randrange(5), draw.randrange(len(data))
            if kind == 0:
                data[at] = draw.randrange(256)
            elif kind == 1:
                del data[at : at + draw.randint(1, 5)]
            elif kind == 2:
                data[at:at] = draw.choice([b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\0", b"\xff", b"1e999", b"NaN"])
            elif kind == 3:
                data[at:at] = data[at : at + draw.randint(1, 20)]
            else:
                del data[at:]
            if not data:
                data = bytearray(b"{")
        bodies.append(bytes(data))
    accepted = 0
    for start_ in range(0, count, 500):
        part = bodies[start_ : start_ + 500]
        rids = link.send_many([("task.create", b, {}) for b in part])
        for body, reply in zip(part, link.wait_all(rids, 60)):
            try:
                doc = json.loads(body.decode("utf-8"), object_pairs_hook=strict, parse_constant=lost)
                valid = True
            except (ValueError, RecursionError):
                valid = False
            if reply.ok:
                check(valid, f"accepted: {body!r}")
                accepted += 1
                equal(reply.result["text"], doc["text"])
            elif reply.code == -32700:
                check(not valid or lone_surrogate(body), f"refused as no JSON: {body!r} {reply.data}")
            else:
                check(valid and reply.code in (-32600, -32602), f"{body!r} -> {short(reply.raw)}")
    note(f"{accepted} of {count} mutants were accepted")


def strict(members):
    names = [k for k, _ in members]
    if len(set(names)) != len(names) or any("\0" in n for n in names):
        raise ValueError("duplicate or NUL key")
    return dict(members)


def lost(name):
    raise ValueError(name)


def lone_surrogate(body):
    try:
        json.dumps(json.loads(body.decode("utf-8")), ensure_ascii=False).encode("utf-8")
        return False
    except UnicodeEncodeError:
        return True
    except ValueError:
        return False


@case("no worker died of it", faults="F30 F31")
def nothing_died():
    equal(daemon.events("child_died"), [])
    equal(daemon.backlog("task"), 0)


if __name__ == "__main__":
    arguments()
    start()
    main()
