"""proxy.py: a proxy before a server: it forwards, and may stop to do so without a word (a black hole), or
reset its connections, or lead elsewhere."""

import os
import select
import socket
import threading

import procs


class Proxy:
    """Listens on a socket file of its own; forwards to `address`, a path or (host, port)."""

    def __init__(self, address):
        self.address = address
        self.path = f"{procs.subfolder('p')}/s"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.is_black_hole = False
        self.pairs = {}  # socket: its other side
        self.lock = threading.Lock()
        self.wakes, self.wake = os.pipe()
        self.is_ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"unix://{self.path}"

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
            for s in select.select([self.wakes, *watched], [], [])[0]:
                if s is self.wakes:
                    os.read(self.wakes, 64)
                elif s is self.listener:
                    self._accept()
                else:
                    self._forward(s)
        for s in [self.listener, *self.pairs]:
            s.close()

    def _accept(self):
        front, _ = self.listener.accept()
        back = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        try:
            back.connect(self.address)
        except OSError:
            front.close()
            back.close()
            return
        with self.lock:
            self.pairs[front], self.pairs[back] = back, front

    def _forward(self, s):
        if s not in self.pairs:  # closed with its other side
            return
        try:
            data = s.recv(262144)
            if data:
                self.pairs[s].sendall(data)
        except OSError:
            data = b""
        if not data:
            with self.lock:
                other = self.pairs.pop(s)
                self.pairs.pop(other, None)
            s.close()
            other.close()
