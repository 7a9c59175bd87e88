"""proxy.py: a proxy before a server: it forwards, and may be late, stop without a word (a black hole), drip, cut or reset its
connections, also in the middle of a request or a reply, say garbage, or lead elsewhere.

One that understands what passes through it, and answers in the server's place, is imposter.py.
"""

import collections
import os
import random
import select
import socket
import struct
import threading
import time

import procs

DRIP_S = 0.002
Late = collections.namedtuple("Late", "due to data")  # data None: this side is closed then


class Proxy:
    """Listens on a socket file of its own, or with `tcp` on a free port of 127.0.0.1 (only there is a reset a RST); forwards to
    `address`, a path or (host, port). `draw` (tap.rng()) draws where requests and replies are torn.

    delay   seconds by which all is late, in both directions
    drip    replies come in pieces of so many bytes, drip_s seconds apart
    """

    def __init__(self, address, tcp=False, draw=None):
        self.address = address
        self.draw = draw or random.Random(0)
        self.delay, self.drip, self.drip_s = 0.0, 0, DRIP_S
        if tcp:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self.where = self.listener.getsockname()
            self.url = f"redis://127.0.0.1:{self.where[1]}"
        else:
            self.path = self.where = f"{procs.subfolder('p')}/s"
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
            self.listener.listen(128)
            self.url = f"unix://{self.path}"
        self.is_black_hole = False
        self.tears = {"request": set(), "reply": set()}  # clients' sockets whose next request or reply is torn
        self.torn = self.accepted = 0
        self.pairs = {}  # socket: its other side
        self.fronts = set()  # those of clients
        self.late = collections.deque()  # in the order of `due`
        self.due = {}  # socket: when the last of what is late for it goes out
        self.lock = threading.RLock()
        self.wakes, self.wake = os.pipe()
        self.is_ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def black_hole(self):
        """From now on nothing gets through; connections stay open, and new ones are accepted by nobody."""
        self._set(True)

    def heal(self):
        """What was written meanwhile gets through now, late."""
        self._set(False)

    def switch(self, address):
        """New connections lead elsewhere, those that there are are closed: a promotion, as a virtual address shows it."""
        self.address = address
        self.reset()

    def reset(self):
        """Closes every connection at once."""
        with self.lock:
            for s in list(self.pairs):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def tear(self, what):
        """The next request, or the next reply (`what`), of each connection gets through to a point within it; then the connection
        is reset, on both sides."""
        with self.lock:
            self.tears[what] |= self.fronts

    def say(self, data):
        """Tells each client something that it has not asked for."""
        with self.lock:
            for s in self.fronts:
                try:
                    s.send(data)
                except OSError:
                    pass

    def end(self):
        self.is_ending = True
        os.write(self.wake, b".")
        self.thread.join(5)

    def _set(self, is_black_hole):
        self.is_black_hole = is_black_hole
        os.write(self.wake, b".")

    def _run(self):
        while not self.is_ending:
            with self.lock:
                watched = [] if self.is_black_hole else [self.listener, *self.pairs]
            wait = None if not self.late or self.is_black_hole else max(0.0, self.late[0].due - time.monotonic())
            for s in select.select([self.wakes, *watched], [], [], wait)[0]:
                if s is self.wakes:
                    os.read(self.wakes, 64)
                elif s is self.listener:
                    self._accept()
                else:
                    self._forward(s)
            while self.late and not self.is_black_hole and self.late[0].due <= time.monotonic():
                self._deliver(self.late.popleft())
        for s in [self.listener, *self.pairs]:
            s.close()

    def _accept(self):
        front, _ = self.listener.accept()
        self.accepted += 1
        back = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        try:
            back.connect(self.address)
        except OSError:
            front.close()
            back.close()
            return
        with self.lock:
            self.pairs[front], self.pairs[back] = back, front
            self.fronts.add(front)

    def _forward(self, s):
        if s not in self.pairs:  # closed with its other side
            return
        try:
            data = s.recv(262144)
        except OSError:
            data = b""
        with self.lock:
            is_request = s in self.fronts
            front = s if is_request else self.pairs[s]
            tears = self.tears["request" if is_request else "reply"]
            is_torn = bool(data) and front in tears
            if is_torn:
                tears.discard(front)
        if is_torn:
            self._send(self.pairs[s], data[: self.draw.randrange(len(data))])
            self._close(s, is_hard=True)
            self.torn += 1
        elif self.delay or s in self.due or (self.drip and not is_request):
            self._put_off(self.pairs[s], data, self.drip if not is_request else 0)
        elif not data or not self._send(self.pairs[s], data):
            self._close(s)

    def _put_off(self, to, data, size):
        """Sent later, in pieces of `size` (0: at once). What comes for the same side while some of it is late, is late as well."""
        due = max(time.monotonic() + self.delay, self.due.get(to, 0.0))
        size = size or max(1, len(data))
        pieces = [data[i : i + size] for i in range(0, len(data), size)] or [None]
        for piece in pieces:
            self.late.append(Late(due, to, piece))
            due += self.drip_s if len(pieces) > 1 else 0
        self.due[to] = due
        self.late = collections.deque(sorted(self.late, key=lambda x: x.due))  # stable

    def _deliver(self, item):
        if item.to in self.pairs and (item.data is None or not self._send(item.to, item.data)):
            self._close(item.to)
        if time.monotonic() > self.due.get(item.to, 0.0):
            self.due.pop(item.to, None)

    @staticmethod
    def _send(to, data):
        try:
            to.sendall(data)
            return True
        except OSError:
            return False

    def _close(self, s, is_hard=False):
        with self.lock:
            other = self.pairs.pop(s)
            self.pairs.pop(other, None)
            for each in (s, other):
                self.fronts.discard(each)
                self.tears["request"].discard(each)
                self.tears["reply"].discard(each)
                self.due.pop(each, None)
        for each in (s, other):
            if is_hard and each.family == socket.AF_INET:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
