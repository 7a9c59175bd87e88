"""hooks.py: `claudebench hook` under test: a folder with a configuration, events, and a worker that answers as a test says.

Unix sockets that never answer, or that take no connection, stand for what a network can do.
"""

import json
import os
import socket
import threading

import modes
import procs
import tap
import users
from daemon import merge, yaml
from resp import Lost, Resp, RespError

RULES = """
groups:
  - name: ours
    severity: high
    rules:
      - {name: no-boom, action: deny, message: No booms., match: {command: boom}}
      - {name: ask-hm, action: ask, message: Is that so?, match: {command: hm}}
      - {name: fine, action: allow, message: Always fine., match: {command: fine}}
      - {name: slow, action: warn, message: This is slow., match: {command: slow}}
      - name: soft
        action: modify
        message: Softly.
        match: {command: hard}
        replacement: {pattern: '\\bhard\\b', with: soft, field: command}
      - name: secret
        action: deny
        events: [user_prompt]
        message: No secrets here.
        match: {field: prompt, pattern: 'sk-[a-z0-9]{8}'}
      - name: leak
        action: deny
        events: [post_tool]
        message: The answer has a secret in it.
        match: {pattern: 'sk-[a-z0-9]{8}'}
"""


def event(command="ls", name="PreToolUse", **more):
    """An event of Claude Code about a command."""
    return {
        "session_id": "s-1", "transcript_path": "/tmp/t.jsonl", "cwd": "/home/user/project", "permission_mode": "default",
        "hook_event_name": name, "tool_name": "Bash", "tool_input": {"command": command, "description": "d"},
        "tool_use_id": "toolu_1", **more,
    }


class Answer:
    """What came out of one call."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        tap.check(self.code in (0, 2), f"exit {self.code}: {self.err!r}")

    def silent(self):
        tap.equal((self.code, self.out, self.err), (0, b"", b""), "no opinion")

    def json(self):
        tap.check(self.out.endswith(b"}\n") and self.out.startswith(b"{") and self.out.count(b"\n") == 1, self.out)
        return json.loads(self.out)

    def specific(self):
        doc = self.json()
        tap.equal(set(doc), {"hookSpecificOutput"}, self.out)
        return doc["hookSpecificOutput"]

    def denied(self, text="", name="PreToolUse"):
        """Refused, said three ways."""
        tap.equal(self.code, 2, f"{self.out!r} {self.err!r}")
        tap.check(text.encode() in self.err and self.err.startswith(b"claudebench: ") and self.err.endswith(b"\n"),
                  f"{text!r} in {self.err!r}")
        said = self.specific()
        tap.equal((said["hookEventName"], said["permissionDecision"]), (name, "deny"))
        tap.check(said["permissionDecisionReason"] and text in said["permissionDecisionReason"], said)
        tap.equal(set(said), {"hookEventName", "permissionDecision", "permissionDecisionReason"})


class Hooks:
    """A folder with rules and a configuration; run() is one event."""

    def __init__(self, url=None, rules=RULES, hooks=None, deadline_ms=250):
        self.dir = procs.subfolder("h")
        self.rules_dir = f"{self.dir}/rules.d"
        self.state = f"{self.dir}/state"
        self.home = f"{self.dir}/home"
        self.config_path = f"{self.dir}/claudebench.yaml"
        os.makedirs(self.rules_dir)
        os.makedirs(self.home)
        if rules:
            self.write(f"{self.rules_dir}/a.yaml", rules)
        self.config = merge({
            "config_version": 1,
            "redis": {"embedded": False, "url": url or f"unix://{self.dir}/none.sock", "prefix": modes.prefix("cb"),
                      **(users.login(procs.folder(), "cb") if users.ACL else {})},
            "supervisor": {"state_dir": self.state},
            "hooks": {"rules_dir": self.rules_dir, "deadline_ms": deadline_ms},
        }, {"hooks": hooks or {}})
        self.write(self.config_path, yaml(self.config) + "\n")

    @staticmethod
    def write(path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def env(self, more=None):
        return {"HOME": self.home, "CLAUDEBENCH_CONFIG": self.config_path, **(more or {})}

    def start(self, *words, env=None, config=False):
        args = [procs.binary("claudebench"), *(["-c", self.config_path] if config else []), "hook", *words]
        return procs.start(args, env=self.env(env), stdin=-1, stdout=-1, stderr=-1)

    def run(self, what, *words, env=None, timeout=20):
        """`what`: an event, or bytes as they are."""
        data = what if isinstance(what, bytes) else json.dumps(what).encode()
        done = procs.run([procs.binary("claudebench"), "hook", *words], env=self.env(env), input=data, timeout=timeout)
        return Answer(done)

    def spool(self, name="spool"):
        try:
            with open(f"{self.state}/hook/{name}", encoding="utf-8") as f:
                return [json.loads(line) for line in f]
        except FileNotFoundError:
            return []

    def wait_spool(self, count):
        tap.wait_until(lambda: len(self.spool()) == count, 10, lambda: f"{count} records in {self.spool()}")
        return self.spool()


class Worker:
    """Answers the requests of a domain, cb:requests:<domain>: `answers` maps a method to a result, an error ({"code": …}), bytes, a
    function of the params, or None for silence. `seen` has what came: (method, params, fields)."""

    def __init__(self, redis, answers=None, domain="hook"):
        self.redis, self.answers, self.seen = redis, dict(answers or {}), []
        self.stream = f"cb:requests:{domain}"
        self.lock = threading.Lock()
        self.stopped = False
        with connect(redis) as r:
            try:
                r.call("XGROUP", "CREATE", self.stream, "workers", "0", "MKSTREAM")
            except RespError as problem:
                tap.check(problem.code == "BUSYGROUP", problem.text)
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopped = True
        self.thread.join(10)

    def methods(self):
        with self.lock:
            return [m for m, _, _ in self.seen]

    def of(self, method):
        with self.lock:
            return [(p, f) for m, p, f in self.seen if m == method]

    def loop(self):
        try:
            with connect(self.redis) as r:
                while not self.stopped:
                    got = r.call("XREADGROUP", "GROUP", "workers", "w", "COUNT", "10", "BLOCK", "100", "STREAMS",
                                 self.stream, ">")
                    for entry in got[0][1] if got else []:
                        self.one(r, entry)
        except (Lost, OSError):
            pass  # the test took Redis away

    def one(self, r, entry):
        texts = [t.decode() for t in entry[1]]
        fields = dict(zip(texts[::2], texts[1::2]))
        method, params = fields["method"], json.loads(fields["params"])
        with self.lock:
            self.seen.append((method, params, fields))
        answer = self.answers.get(method, {"code": -32601})
        if callable(answer):
            answer = answer(params)
        r.call("XACK", self.stream, "workers", entry[0])
        r.call("XDEL", self.stream, entry[0])
        if answer is None or "reply" not in fields:
            return
        if not isinstance(answer, bytes):
            if set(answer) == {"code"}:
                answer = {"error": {"code": answer["code"], "message": "no", "data": {}}}
            else:
                answer = {"result": answer}
            answer = json.dumps({"jsonrpc": "2.0", "id": fields["id"], **answer}).encode()
        r.call("RPUSH", f"cb:reply:{fields['reply']}", answer)


class BlackHole:
    """A unix socket that takes connections and never says a word."""

    def __init__(self):
        self.path = f"{procs.subfolder('b')}/s"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(self.path)
        self.sock.listen(64)
        self.url = f"unix://{self.path}"

    def close(self):
        self.sock.close()


def connect(redis):
    return Resp(redis.socket)
