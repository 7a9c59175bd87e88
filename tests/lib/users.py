"""users.py: as whom tests and the programs under test talk to Redis.

Every redis-server that a test starts, its own or a daemon's, has a user of the tests besides (`admin`, all rights): a program of that name
stands before the real one in PATH and adds it. So what is looked at from outside needs no right of the daemon's.

CB_TEST_REDIS=acl (row F26 of tests/results/faults.md): the tests' own servers have the users of etc/redis-claudebench.acl and no others, daemons and
claudebench log in as these, and a server whose users were refused anything fails its test. An embedded server has its own users
of the same table (common/rights.def) in every mode.
"""

import hashlib
import os
import shutil
import uuid

import resp
import tap
from resp import RespError

MODE = os.environ.get("CB_TEST_REDIS", "")
ACL = MODE == "acl"
# A test program that another one runs (campaign.py) finds that one's in its PATH.
REAL = os.environ.get("CBTEST_REDIS_SERVER") or shutil.which("redis-server")
ADMIN = ("admin", uuid.uuid4().hex)
FUNCTIONS = " +fcall +function|load +function|list +function|delete"
PASSWORDS = {"daemon": uuid.uuid4().hex, "client": uuid.uuid4().hex}

if ACL:
    resp.LOGIN = ADMIN


def install(folder):
    """Puts our redis-server before the real one, and the passwords into files."""
    os.mkdir(f"{folder}/bin")
    if REAL:
        _write(f"{folder}/bin/redis-server", "#!/bin/sh\n"
               f'case ${{1:---}} in --*) exec {REAL} "$@" ;; esac\n'
               f"exec {REAL} \"$@\" --user {ADMIN[0]} on '>{ADMIN[1]}' '~*' '&*' '+@all'\n", 0o700)
        os.environ["PATH"] = f"{folder}/bin:{os.environ['PATH']}"
        os.environ["CBTEST_REDIS_SERVER"] = REAL
    for who, password in PASSWORDS.items():
        _write(f"{folder}/{who}.password", f"{password}\n", 0o600)


def _write(path, text, mode):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "w", encoding="ascii") as f:
        f.write(text)


def name(who, prefix):
    return f"claudebench-{who}" if prefix == "cb" else f"claudebench-{who}-of-{prefix}"


def acl_lines(srcdir, prefix):
    """The lines of etc/redis-claudebench.acl with our passwords, for another prefix as the manual has it done, and with functions, as
    it says of a server that nobody else uses."""
    with open(os.path.join(srcdir, "etc/redis-claudebench.acl"), encoding="ascii") as f:
        text = f.read().replace("cb:", f"{prefix}:")
    for who, password in PASSWORDS.items():
        text = text.replace(f"{who.upper()}_PASSWORD_SHA256", hashlib.sha256(password.encode()).hexdigest())
        text = text.replace(f"user claudebench-{who} ", f"user {name(who, prefix)} ")
    return [line + FUNCTIONS if line.startswith("user claudebench-daemon") else line for line in text.splitlines()]


def login(folder, prefix):
    """What a configuration says of them (section redis)."""
    return {"user": name("daemon", prefix), "password_file": f"{folder}/daemon.password",
            "client_user": name("client", prefix), "client_password_file": f"{folder}/client.password"}


def refusals(link):
    """What our users were refused, but for passwords: `user: command` in the words of ACL LOG."""
    found = []
    for entry in link.call("ACL", "LOG", 128):
        fields = resp.pairs(entry)
        user = fields["username"].decode()
        if fields["reason"] != b"auth" and (user in PASSWORDS or user.startswith("claudebench-")):
            found.append(f"{user}: {fields['object'].decode()} ({fields['reason'].decode()}, {fields['context'].decode()})")
    return found


def check_refusals(connect, what):
    """Before a server ends; of one that does not answer nothing is said."""
    try:
        with connect(timeout=1.0) as link:
            found = refusals(link)
    except (OSError, RespError):
        return
    tap.check(not found, f"{what} has refused: {found}")
