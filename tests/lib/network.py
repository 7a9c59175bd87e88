"""network.py: hosts with addresses of their own on one switch, and links that are cut and healed.

A host is a network namespace that one sleeping process holds open, joined to the switch (a bridge in a namespace of
its own) by a veth pair. The namespaces have no names and the host's own network has no part in it, so the kernel
removes it all when the processes in it end, however the test ends; tests beside each other do not meet.

    need_network()
    net = Network(3)
    redis = PrivateRedis(at=net.hosts[0])
    daemon = Daemon(redis, at=net.hosts[1])
    net.hosts[1].cut()
"""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading

import procs
import tap

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _may_unshare():
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


def enter_user_namespace():
    """Called first of all: who is not root tries again as the root of a user namespace."""
    if not _may_unshare() and "CBTEST_USERNS" not in os.environ:
        inside = ["unshare", "--user", "--map-root-user", "--net"]
        if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode == 0:
            os.environ["CBTEST_USERNS"] = "1"
            os.execvp(inside[0], [*inside, sys.executable, *sys.argv])


def need_network():
    """Skips where namespaces cannot be made; a failure in CI (tap.py)."""
    for tool in ("ip", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            raise tap.Skip(f"there is no {tool} (packages iproute2, util-linux)")
    if not _may_unshare():
        raise tap.Skip("network namespaces need root or CAP_SYS_ADMIN, or user namespaces")


class Namespace:
    """A network namespace, and the process that holds it open."""

    def __init__(self):
        self.holder = procs.start(["unshare", "--net", "sleep", "infinity"])
        ours = os.readlink("/proc/self/ns/net")
        tap.wait_until(lambda: os.readlink(self.path) != ours, 5, "a network namespace")
        self.ip("link", "set", "lo", "up")

    @property
    def path(self):
        return f"/proc/{self.holder.pid}/ns/net"

    @property
    def inside(self):
        """What is put before a command to run it here; its pid is that of the command."""
        return ["nsenter", f"--net={self.path}", "--"]

    def ip(self, *words):
        done = subprocess.run([*self.inside, "ip", *words], capture_output=True, text=True, check=False)
        tap.check(done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}")
        return done.stdout

    def end(self):
        self.holder.kill()
        self.holder.wait()


class Host(Namespace):
    """A host on the switch: `address` on eth0."""

    def __init__(self, switch, number):
        super().__init__()
        self.switch, self.port, self.address = switch, f"port{number}", f"10.77.0.{number + 1}"
        switch.ip("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        switch.ip("link", "set", self.port, "master", "switch")
        switch.ip("link", "set", self.port, "up")
        self.ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")

    def cut(self):
        """The cable is pulled: nobody is told, packets are lost both ways."""
        self.switch.ip("link", "set", self.port, "down")

    def heal(self):
        self.switch.ip("link", "set", self.port, "up")

    def cut_inside(self):
        """The host's own interface goes down: its programs are told that there is no way any more."""
        self.ip("link", "set", "eth0", "down")

    def heal_inside(self):
        self.ip("link", "set", "eth0", "up")

    def connect(self, address, timeout=1.0):
        """A TCP connection from this host. (Only the thread that makes the socket enters the namespace.)"""
        made = []

        def enter_and_connect():
            try:
                with open(self.path, "rb") as namespace:
                    if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.create_connection(address, timeout))
            except OSError as problem:
                made.append(problem)

        thread = threading.Thread(target=enter_and_connect)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def reaches(self, address, timeout=1.0):
        try:
            self.connect(address, timeout).close()
            return True
        except OSError:
            return False


class Network:
    """`count` hosts on one switch."""

    def __init__(self, count):
        self.switch = Namespace()
        self.switch.ip("link", "add", "switch", "type", "bridge", "forward_delay", "0")
        self.switch.ip("link", "set", "switch", "up")
        self.hosts = [Host(self.switch, i) for i in range(count)]

    def reboot(self, number):
        """The host is gone without a farewell (end what ran on it before), and is there again: it knows no connection any more."""
        old = self.hosts[number]
        old.end()
        # Its closed connections keep the namespace for a while, and with it the link.
        self.switch.ip("link", "del", old.port)
        self.hosts[number] = Host(self.switch, number)
        return self.hosts[number]

    def end(self):
        for namespace in [*self.hosts, self.switch]:
            namespace.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
