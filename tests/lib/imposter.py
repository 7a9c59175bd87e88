"""imposter.py: a server that is believed, because it asks a real one, until it is told to lie: then it answers in the real one's
place, with whatever bytes a test gives it.

Unlike proxy.py it knows which reply belongs to which command, so that a lie can be about one command only, and be told in the
middle of a conversation.
"""

import collections
import select
import socket
import threading
import time

import procs

Lie = collections.namedtuple("Lie", "data commands is_endless is_early drip_s")
CRLF = b"\r\n"
ENDLESS_BYTES = 4 << 30  # of an endless lie, in all: whoever reads so much of it will read more


def end_of(data, at):
    """Where the RESP2 value at `at` ends; -1: not all of it is there."""
    left = 1
    while left:
        eol = data.find(CRLF, at)
        if eol < 0:
            return -1
        kind, head, at = data[at : at + 1], data[at + 1 : eol], eol + 2
        if kind in b"$*" and int(head) >= 0:
            if kind == b"$":
                at += int(head) + 2
            else:
                left += int(head)
        left -= 1
    return at if at <= len(data) else -1


def names_of(data):
    """What a lie may call a command, which is an array of strings: its first word in capitals; a script also by its first key
    ("EVALSHA cb:clock") and by its sha1 ("EVALSHA 0a1b…"), a function likewise ("FCALL claudebench_task_create_0a1b…")."""
    words = [bytes(w).decode("latin-1") for w in data.split(CRLF, 9)]
    name = words[2].upper()
    if name not in ("EVALSHA", "FCALL") or words[6] == "0":
        return {name}
    return {name, f"{name} {words[8]}", f"{name} {words[4]}"}


class Imposter:
    """Listens on a socket file of its own; asks `address`, the socket file of a real server.

    told        how many lies were told
    hung_up     after how many of them the client went (what it should do unless the lie was a whole reply)
    accepted    connections in all
    """

    def __init__(self, address):
        self.address = address
        self.path = f"{procs.subfolder('i')}/s"
        self.url = f"unix://{self.path}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.what = None
        self.told = self.hung_up = self.accepted = 0
        self.lock = threading.Lock()
        self.open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def lie(self, data, commands=(), is_endless=False, is_early=False, drip_s=0):
        """From now on each reply, or each to one of these commands (see names_of), is `data`: once, or again and again for as long as
        the client listens; no data at all: it hangs up. The real server has done as it was told by then; `is_early`: it is not asked,
        so nobody waits for it either. With `drip_s` it comes byte by byte, with such a pause behind each."""
        self.told = self.hung_up = 0
        self.what = Lie(data, frozenset(commands), is_endless, is_early, drip_s)

    def truth(self):
        """Honest again, with everybody: connections that were lied to end."""
        self.what = None

    def end(self):
        with self.lock:
            gone, self.open = [self.listener, *self.open], set()
        for s in gone:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()

    def _accept(self):
        while True:
            try:
                front, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(front,), daemon=True).start()

    def _serve(self, front):
        with socket.socket(socket.AF_UNIX) as back, front:
            try:
                back.connect(self.address)
                with self.lock:
                    self.open |= {front, back}
                self._converse(front, back)
            except OSError:
                pass  # one of them went
            finally:
                with self.lock:
                    self.open -= {front, back}

    def _converse(self, front, back):
        asked, requests, replies, lied = collections.deque(), bytearray(), bytearray(), None
        while lied is None or lied is self.what:
            ready = select.select([front, back], [], [], 0.1)[0]
            for s in ready:
                data = s.recv(262144)
                if not data:
                    self.hung_up += lied is not None and s is front
                    return
                if s is front:
                    requests += data
                    lied = self._ask(front, back, requests, asked) or lied
                else:
                    replies += data
                    lied = self._answer(front, replies, asked) or lied

    def _is_about(self, names):
        """The lie that is to be told in the place of a reply to the command with these names, or None."""
        lie = self.what
        return lie if lie and (not lie.commands or names & lie.commands) else None

    def _ask(self, front, back, requests, asked):
        """Passes on the commands that are whole; returns the lie that was told in the place of asking, if one was."""
        at, out, lied = 0, [], None
        while at < len(requests) and (end := end_of(requests, at)) >= 0:
            names = names_of(requests[at:end])
            lie = self._is_about(names)
            if lie and lie.is_early and not asked:
                lied = lie
                self._tell(front, b"", lie)
            else:
                asked.append(names)
                out.append(bytes(requests[at:end]))
            at = end
        del requests[:at]
        back.sendall(b"".join(out))
        return lied

    def _answer(self, front, replies, asked):
        """Passes on what is whole; the lie that was told instead, if one was."""
        at, out, lied = 0, [], None
        while at < len(replies) and (end := end_of(replies, at)) >= 0:
            lie = self._is_about(asked.popleft() if asked else set())
            if lie:
                lied = lie
                self._tell(front, b"".join(out), lie)
                out.clear()
            else:
                out.append(bytes(replies[at:end]))
            at = end
        del replies[:at]
        front.settimeout(None)
        front.sendall(b"".join(out))
        return lied

    def _tell(self, front, before, lie):
        """`before` is true."""
        self.told += 1
        if not lie.data:
            raise OSError("hung up")
        front.settimeout(0.1)
        data, left = memoryview(before + lie.data), ENDLESS_BYTES
        while data and left > 0:
            if self.what is not lie:
                raise OSError("enough of it")
            try:
                sent = front.send(data[:1] if lie.drip_s else data)
            except socket.timeout:
                continue  # it does not read; it may go yet
            except OSError:
                self.hung_up += 1
                raise
            time.sleep(lie.drip_s)  # the pace of the drip: what the case is about
            left -= sent
            data = data[sent:] or memoryview(lie.data if lie.is_endless else b"")
