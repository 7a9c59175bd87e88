#!/usr/bin/env python3
"""hostile_text.py: text and ids that try to be something else (row F32 of tests/results/faults.md) stay data, byte for byte."""

import os
import re

from cbtest import *

TEXTS = [
    "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "$6\r\nFLUSHALL",
    "a\u0000b",
    "x" * 10240,
    "{}",
    "{cb}",
    "*",
    "?",
    "[a-z]",
    "cb:leader:current",
    "cb:*",
    "%n%s%x%99999999s",
    "../../../../etc/passwd",
    "'; return redis.call('FLUSHALL') --",
    "]] redis.call('FLUSHALL') --[[",
    'return redis.call("FLUSHDB")',
    "\u001b[2J\u001b]0;owned\u0007",
    "\u009b31m",
    "worker:8080",
    "$(touch /tmp/cb-owned)",
    "`id`",
    "\ufeffbom",
    "\u202eabc",
    "\ud7ff\ue000\uffff",
    "\U0001f4a5" * 40,
    '"quoted\\"',
    "\\u0000",
    "line\u2028separator",
    "- yaml: [",
    "null",
    "true",
    "0x7f\u007f",
]
LIMIT = 500

daemon = None
link = None


def start():
    global daemon, link
    daemon = Daemon(config={"domains": {"test": {"workers": 1}}})
    at_exit(daemon.stop)
    link = daemon.caller()


def names():
    with daemon.connect() as r:
        return {k.decode("utf-8", "backslashreplace") for k in r.scan("*")}


def text_ok(text):
    return 1 <= len(text.encode()) <= LIMIT and "\0" not in text


@case("hostile task texts come back byte for byte, or are refused with -32602")
def texts():
    for text in TEXTS:
        reply = link.ask("task.create", {"text": text})
        if not text_ok(text):
            equal(reply.code, -32602, f"{text[:40]!r}")
            equal(reply.data["path"], "text")
            continue
        check(reply.ok, f"{text[:40]!r} -> {short(reply.raw)}")
        equal(reply.result["text"], text)
        got = link.call("task.get", {"id": reply.result["id"]})
        equal(got["text"], text)


@case("the same in payload, metadata and the result of a completion")
def payloads():
    for text in TEXTS:
        doc = {"v": text, "list": [text]}
        made = link.call("task.create", {"text": "hostile payload", "payload": doc, "metadata": {"m": text}, "queue": "hp"})
        got = link.call("task.claim", {"workerId": "w1", "queue": "hp"})
        task = got["tasks"][0]
        equal(task["id"], made["id"])
        equal(task["payload"], doc)
        equal(task["metadata"], {"m": text})
        link.call("task.complete", {"id": task["id"], "lease_token": task["lease_token"], "result": doc})
        equal(link.call("task.get", {"id": task["id"]})["result"], doc)


@case("hostile ids: workers, instances, actors, sessions, request ids, idempotency keys")
def ids():
    for text in TEXTS:
        raw = text.encode("utf-8", "surrogatepass")
        fits_id = 1 <= len(raw) <= 128 and not re.search("[\u0000-\u001f\u007f-\u009f]", text)
        reply = link.ask("system.register", {"id": text})
        if fits_id:
            check(reply.ok, f"register {text[:40]!r} -> {short(reply.raw)}")
            beat = link.call("system.heartbeat", {"instanceId": text, "incarnation": reply.result["incarnation"]})
            equal(beat["alive"], True, repr(text[:40]))
        else:
            equal(reply.code, -32602, f"register {text[:40]!r}")
        claim = link.ask("task.claim", {"workerId": text, "queue": "nothing-here"})
        equal(claim.code, 0 if fits_id else -32602, f"workerId {text[:40]!r} ({short(claim.raw)})")


@case("hostile envelope fields do not break the reply")
def envelope():
    for text in TEXTS:
        raw = text.encode("utf-8", "surrogatepass")
        if len(raw) <= 128 and "\0" not in text:
            reply = link.ask("system.health", {}, rid=raw)
            equal(reply.id, text, "the id is echoed")
        for name in ("actor", "session", "agent", "trace"):
            kw = {"actor": raw} if name == "actor" else {"more": [(name, raw)]}
            reply = link.ask("task.create", {"text": "t"}, **kw)
            check(reply.code in (0, -32600), f"{name} {text[:40]!r} -> {short(reply.raw)}")
        reply = link.ask("task.create", {"text": "t"}, idem=raw)
        check(reply.code in (0, -32600), f"idem {text[:40]!r} -> {short(reply.raw)}")


@case("request ids that are not UTF-8 or too long give a reply or a dead letter, never silence")
def bad_ids():
    dead = len(daemon.stream("stream:dead"))
    for raw in (b"\xff\xfe", b"x" * 129, b"x" * 100000, b"nul\0nul"):
        link.send("system.health", {}, rid=raw)
    answered = 0

    def all_seen():
        nonlocal answered
        answered += link.poll(0.02)
        return answered + len(daemon.stream("stream:dead")) - dead >= 4

    wait_until(all_seen, 5, "four answers or dead letters")
    link.replies.clear()


@case("reply tokens that could name another key are not used as keys")
def reply_tokens():
    before = names()
    for raw in ("../x", "x", "a:b:c:d:e:f:g:h:i", "*" * 20, "{cb}" * 5, "x" * 65, "x" * 15, "leader:current", "a\r\nb" * 6):
        with daemon.connect() as r:
            r.call("XADD", "cb:requests:system", "*", "id", "1", "method", "system.health", "params", "{}", "reply", raw)
    wait_until(lambda: daemon.backlog("system") == 0, 5, "all handled")
    new = {n for n in names() - before if n.startswith("cb:reply:")}
    check(not new, f"reply lists from bad tokens: {new}")


@case("hostile task ids, queues, roles and tokens are refused")
def handles():
    for text in TEXTS:
        for method, field, more in (
            ("task.get", "id", {}),
            ("task.complete", "lease_token", {"id": "t-1"}),
            ("task.create", "queue", {"text": "x"}),
        ):
            if field == "queue" and text in ("null", "true"):
                continue
            if field == "lease_token" and re.fullmatch(r"[A-Za-z0-9_-]{1,128}", text):
                continue
            data = link.refused(method, {**more, field: text})
            equal(data["path"], field)


@case("hostile method names")
def methods():
    for text in TEXTS:
        raw = text.encode()
        reply = link.ask(None, {}, more=[("method", raw)], stream="cb:requests:task")
        check(reply.code in (-32601, -32600), f"{text[:40]!r} -> {short(reply.raw)}")


@case("the client prints hostile text escaped: no ESC or C1 byte reaches the terminal")
def client_output():
    for text in ("\u001b[2Jred\u0007", "c1\u009b31m", "cr\rover", "del\u007f"):
        link.call("task.create", {"text": text, "priority": 100})
    for words in (["task", "list"], ["task", "list", "--json"], ["events"], ["status"], ["call", "task.list"]):
        done = daemon.client(*words)
        equal(done.returncode, 0, f"{words}: {done.stderr!r}")
        done.stdout.decode("utf-8")
        code, out = procs.run_on_terminal([procs.binary("claudebench"), *words],
                                          env={"CLAUDEBENCH_CONFIG": daemon.config_path})
        equal(code, 0, f"{words} on a terminal: {out!r}")
        text = re.sub("\u001b\\[[0-9;]*m", "", out.decode("utf-8"))  # our own colours
        wrong = re.findall("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]", text)
        check(not wrong, f"{words} printed {sorted(set(wrong))!r}")


@case("nothing was executed, deleted or named after it")
def aftermath():
    check(not os.path.exists("/tmp/cb-owned"), "a shell ran")
    wrong = [n for n in names() if not n.startswith("cb:")]
    equal(wrong, [], "keys outside of the prefix")
    with daemon.connect() as r:
        check(r.call("EXISTS", "cb:meta") == 1, "cb:meta is there")
    equal(daemon.events("child_died"), [])
    log = daemon.log()
    check("\x1b" not in log and "\x9b" not in log, "raw ESC in the log")
    check(daemon.status()["status"] in ("healthy", "degraded"), "status is JSON")


if __name__ == "__main__":
    arguments()
    start()
    main()
