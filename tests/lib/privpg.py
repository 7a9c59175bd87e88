"""privpg.py: a PostgreSQL server of the test's own: on a unix socket in a temporary folder, by a user who is not root, without fsync.

    server = PrivatePostgres()
    db = server.database()               # a new, empty one
    with Daemon(config={"postgres": {"conninfo": db.conninfo}}) as d: …
    db.rows("SELECT id FROM claudebench.task")  # lists of texts

One server for all cases of a program: PrivatePostgres.shared(); a database of it: database().
"""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

import procs
import tap
from daemon import Daemon, merge

USER = "nobody"


def bin_folder():
    """Where Debian has the server's programs, or the folder of what is in the PATH; None: there is no PostgreSQL."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: int(p.split("/")[4]))
    path = found[-1] if found else shutil.which("postgres")
    return os.path.dirname(os.path.realpath(path)) if path else None


def need_postgres():
    """Skips where there is no server, or no program of ours that could use it; a failure in CI (tap.py)."""
    if not bin_folder():
        raise tap.Skip("PostgreSQL is not installed")
    if not os.access(procs.binary("claudebench-archive"), os.X_OK):
        raise tap.Skip("built without PostgreSQL")


class Database:
    def __init__(self, server, name):
        self.server, self.name = server, name
        self.conninfo = f"host={server.socket_dir} user=postgres dbname={name}"

    def psql(self, sql, check=True, timeout=60):
        done = subprocess.run(
            [os.path.join(bin_folder(), "psql"), "-XAtq", "-F", "\x1f", "-R", "\x1e", "-v", "ON_ERROR_STOP=1", self.conninfo],
            input=sql.encode(), capture_output=True, timeout=timeout, check=False, env={"LC_ALL": "C.UTF-8", "PGTZ": "UTC"},
        )
        if check:
            tap.equal(done.returncode, 0, f"psql: {sql}: {done.stderr.decode(errors='replace')}")
        return done

    def rows(self, sql, **kw):
        out = self.psql(sql, **kw).stdout.decode()
        return [line.split("\x1f") for line in out.rstrip("\n").split("\x1e") if line] if out.strip("\n") else []

    def value(self, sql, **kw):
        rows = self.rows(sql, **kw)
        return rows[0][0] if rows else None

    def number(self, sql, **kw):
        return int(self.value(sql, **kw) or 0)


class PrivatePostgres:
    _shared = None

    @classmethod
    def shared(cls):
        if cls._shared is None:
            need_postgres()
            cls._shared = cls()
            tap.at_exit(cls._shared.remove)
        return cls._shared

    def __init__(self, options=None, data=None):
        """`options`: of the server; `data`: an empty folder for its files (a small file system, say)."""
        need_postgres()
        self.dir = tempfile.mkdtemp(prefix="cbpg-", dir="/tmp")
        self.data = data or f"{self.dir}/data"
        self.socket_dir = self.dir
        self.options = {"fsync": "off", "listen_addresses": "", "unix_socket_directories": self.socket_dir,
                        "max_connections": "40", "log_destination": "stderr", "autovacuum": "off", **(options or {})}
        self.process = None
        self.databases = 0
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            for path in {self.dir, self.data} if data else {self.dir}:
                os.chown(path, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
                  "--no-instructions")
        self.start()

    def _as_user(self, program, *args):
        argv = [os.path.join(bin_folder(), program), *args]
        if os.geteuid() != 0:
            return argv
        user = pwd.getpwnam(USER)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--", *argv]

    def _run(self, program, *args):
        done = procs.run(self._as_user(program, *args), timeout=120)
        tap.equal(done.returncode, 0, f"{program}: {done.stderr.decode(errors='replace')}")

    def start(self, wait=True):
        words = [word for name, value in self.options.items() for word in ("-c", f"{name}={value}")]
        with open(f"{self.dir}/log", "ab") as log:
            self.process = procs.start(self._as_user("postgres", "-D", self.data, *words), stdout=log, stderr=log)
        if wait:
            tap.wait_until(self.answers, 60, "PostgreSQL answers")

    def answers(self):
        return Database(self, "template1").psql("SELECT 1", check=False).returncode == 0

    def send(self, number, everybody=False):
        """To the postmaster, or (a stopped server) to all of its processes."""
        for pid in [self.process.pid, *(procs.descendants(self.process.pid) if everybody else [])]:
            procs.kill(pid, number)

    def stop(self, number=signal.SIGINT):
        """SIGINT: at once, as with a restart; SIGQUIT: as if it had crashed."""
        if self.process:
            self.send(number)
            self.process.wait(60)
            self.process = None

    def kill(self):
        """As if the host had died."""
        tree = procs.descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        for pid in tree:
            procs.kill(pid)
        self.process = None
        tap.wait_until(lambda: not [p for p in tree if procs.alive(p)], 20, "all of PostgreSQL is gone")

    def database(self):
        self.databases += 1
        name = f"cb{self.databases}"
        Database(self, "template1").psql(f"CREATE DATABASE {name} TEMPLATE template0")
        return Database(self, name)

    def remove(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.dir, ignore_errors=True)


def database():
    """A new one of the server that the program's cases share."""
    return PrivatePostgres.shared().database()


def archive_config(db, **more):
    """Of a daemon with an archive in this database."""
    return merge({"postgres": {"conninfo": db.conninfo, "timeout_ms": 5000}, "domains": {"hook": {"workers": 0}}}, more)


def outbox_served(db, env=None, **config):
    """A daemon that serves the database's outbox."""
    d = Daemon(config=archive_config(db, **config), env=env)
    tap.wait_until(lambda: d.events("archive_outbox"), 20, "somebody serves the outbox")
    return d


def wait_outbox(db, n, timeout=30):
    tap.wait_until(lambda: db.number("SELECT count(*) FROM claudebench.outbox WHERE done_at IS NOT NULL") == n, timeout, f"{n} rows are done")
