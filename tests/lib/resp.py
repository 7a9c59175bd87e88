"""resp.py: a small RESP2 client of our own: raw bytes in and out, pipelining, unix and TCP.

Error replies are values of type RespError inside a pipeline's answers; call() raises them.
"""

import socket
import time

import modes


class RespError(Exception):
    """An error reply: `code` is its first word."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text
        self.code = text.split(" ", 1)[0]


class Lost(OSError):
    """The connection is gone, or did not answer in time."""


# What tests call the prefix of their keys, and what it is (modes.py).
_renamed = {}


def rename_prefix(name):
    if modes.prefix(name) != name:
        _renamed[name.encode() + b":"] = modes.prefix(name).encode() + b":"


def _outwards(data):
    return next((real + data[len(name) :] for name, real in _renamed.items() if data.startswith(name)), data)


def _inwards(data):
    return next((name + data[len(real) :] for name, real in _renamed.items() if data.startswith(real)), data)


rename_prefix("cb")


def encode(args):
    parts = [b"*%d\r\n" % len(args)]
    renamed = (2 if args[0] == "XADD" else len(args)) if _renamed else 0  # an entry's fields are no keys
    for i, arg in enumerate(args):
        data = _outwards(to_bytes(arg)) if i < renamed else to_bytes(arg)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def to_bytes(arg):
    if isinstance(arg, bytes):
        return arg
    if isinstance(arg, str):
        return arg.encode("utf-8", "surrogateescape")
    if isinstance(arg, bool):
        raise TypeError("bool is not a Redis argument")
    if isinstance(arg, (int, float)):
        return repr(arg).encode()
    return bytes(arg)


LOGIN = (None, None)  # who connections are that do not say so (users.py)
NOBODY = (None, None)


class Resp:
    """One connection. `address` is a socket path or (host, port)."""

    def __init__(self, address, user=None, password=None, timeout=10.0, db=0, login=None):
        if user is None and password is None:
            user, password = login or LOGIN
        self.address = address
        self.timeout = timeout
        self.buffer = bytearray()
        self.at = 0
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(address)
            if password is not None:
                self.call("AUTH", *([user] if user else []), password)
            if db:
                self.call("SELECT", db)
        except BaseException:
            self.sock.close()
            raise

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- writing and reading ----

    def send(self, *args):
        self.send_raw(encode(args))

    def send_raw(self, data):
        try:
            self.sock.settimeout(self.timeout)
            self.sock.sendall(data)
        except OSError as problem:
            raise Lost(f"write: {problem}") from problem

    def read(self, timeout=None):
        """The next reply (errors as RespError values). Lost when nothing came in time."""
        self.deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        value = self._value()
        if self.at > 65536 or self.at == len(self.buffer):
            del self.buffer[: self.at]
            self.at = 0
        return value

    def call(self, *args, timeout=None):
        self.send(*args)
        reply = self.read(timeout)
        if isinstance(reply, RespError):
            raise reply
        return reply

    def pipeline(self, commands, timeout=None):
        """Sends all commands in one write; the list of replies, errors as values."""
        self.send_raw(b"".join(encode(c) for c in commands))
        return [self.read(timeout) for _ in commands]

    def text(self, *args):
        reply = self.call(*args)
        return None if reply is None else reply.decode()

    def hash(self, key):
        flat = self.call("HGETALL", key)
        return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}

    def info(self, section="all"):
        lines = self.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))

    def scan(self, match="*"):
        cursor, keys = b"0", set()
        while True:
            cursor, page = self.call("SCAN", cursor, "MATCH", match, "COUNT", 1000)
            keys.update(page)
            if cursor == b"0":
                return keys

    # ---- parsing ----

    def _fill(self):
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Lost("no reply in time")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except OSError as problem:
            raise Lost(f"read: {problem}") from problem
        if not data:
            raise Lost("closed by Redis")
        self.buffer += data

    def _line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.at)
            if end >= 0:
                line = bytes(self.buffer[self.at : end])
                self.at = end + 2
                return line
            self._fill()

    def _value(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            while len(self.buffer) < self.at + size + 2:
                self._fill()
            data = bytes(self.buffer[self.at : self.at + size])
            self.at += size + 2
            return _inwards(data) if _renamed else data
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"-":
            return RespError(rest.decode("utf-8", "replace"))
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self._value() for _ in range(count)]
        raise Lost(f"not RESP: {line[:40]!r}")


def pairs(flat):
    """[k, v, k, v, …] of bytes as a dict with text keys."""
    return {flat[i].decode("utf-8", "replace"): flat[i + 1] for i in range(0, len(flat), 2)}
