"""fake_control.py: a control socket that answers every request with what the test wants, and its configuration."""

import json
import os
import socket
import threading

import procs

HOSTILE = "a\x1b[31mb\u202ec\x9bd\ne"


def status(**more):
    """What a daemon with little to do says."""
    worker = {"domain": "task", "slot": 0, "generation": 1, "pid": 4242, "state": "idle", "method": "", "entry": "", "requests": 7,
              "age_ms": 61000, "restarts": 0, "next_start_ms": 0}
    queue = {"paused": False, "pending": 0, "delayed": 0, "blocked": 0, "in_progress": 0, "failed": 0, "cancelled": 0}
    instance = {"id": "host-a", "kind": "daemon", "status": "ACTIVE", "roles": [], "capacity": 0, "held": 0, "beat_age_ms": 12,
                "incarnation": "abcdefgh"}
    made = {
        "pid": 4241, "version": "9.9", "instance": "host-a", "incarnation": "x" * 24, "uptime_ms": 3_720_000, "status": "healthy",
        "reasons": [], "redis": {"state": "up", "url": "unix:///r", "used_memory": 1 << 21, "max_memory": 1 << 30},
        "leader": {"id": "host-a", "is_self": True, "epoch": "1"}, "hosts": {"seen": 1, "known": 1},
        "workers": [worker, {**worker, "slot": 1, "pid": 4243, "requests": 9, "state": "handling", "method": "task.create"}],
        "methods": {"task.create": {"requests": 16, "errors": 1, "refused": 0, "p50_us": 210, "p95_us": 400, "p99_us": 900}},
        "hooks": {"rules": 70, "deny": 1, "ask": 0, "none": 5, "allow": 0, "modify": 0},
        "figures": {
            "tasks": {"pending": 3, "delayed": 0, "blocked": 0, "in_progress": 1, "completed": 9, "failed": 0, "dead": 0, "cancelled": 0},
            "queues": [{**queue, "queue": "build", "pending": 1, "oldest_ms": 5000},
                       {**queue, "queue": "default", "pending": 2, "in_progress": 1, "oldest_ms": 90000}],
            "instances": [instance, {**instance, "id": "agent-1", "kind": "agent", "roles": ["gpu"], "capacity": 4, "held": 1}],
            "instance_count": 2, "leader": "host-a", "all_paused": False, "more_queues": False,
            "backlog": {"task": {"length": 4, "oldest_ms": 30}, "system": {"length": 0}},
            "global": {"requests_per_s": 12.5, "p50_ms": 0.21, "p99_ms": 0.9}, "scaling": {"created_per_s": 3, "completed_per_s": 2.5},
        },
        "figures_age_ms": 3,
        "log": [{"at": "2026-11-22T04:00:00.000Z", "level": "info", "program": "claudebenchd", "pid": 4241, "text": "event=daemon_ready"}],
    }
    made.update(more)
    return made


class FakeControl:
    def __init__(self, answer=None):
        self.answer = answer or status()
        self.asked = 0
        self.folder = procs.subfolder("c")
        self.path = f"{self.folder}/control.sock"
        self.config = f"{self.folder}/claudebench.yaml"
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(f"supervisor:\n  control_socket: {self.path}\n")
        self.env = {"CLAUDEBENCH_CONFIG": self.config}
        self.socket = None
        self.start()

    def start(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self.serve, args=(self.socket,), daemon=True).start()

    def serve(self, listening):
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with peer, peer.makefile("rb") as lines:
                if lines.readline():
                    self.asked += 1
                    answer = self.answer(self) if callable(self.answer) else self.answer
                    try:
                        peer.sendall(json.dumps(answer).encode() + b"\n")
                    except OSError:
                        pass

    def stop(self):
        """As a daemon that has ended."""
        os.unlink(self.path)
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if os.path.exists(self.path):
            self.stop()
