"""modes.py: what the tests' Redis is, beside a server of its own on a unix socket: CB_TEST_REDIS.

    cluster  a Redis Cluster of three masters. The one that PrivateRedis is has the slots of all keys that tests use; daemons
             are given the address of another one, and have to follow MOVED. The prefix gets a hash tag, unseen by the tests:
             resp.py writes cb: as {cb}: and back. A Daemon without a Redis of the test's own gets one, where it would have
             had an embedded one.

Tests that are about something which a mode does not have are left out, with the reason: left_out().
"""

import os
import sys

MODE = os.environ.get("CB_TEST_REDIS", "")
IS_CLUSTER = MODE == "cluster"

# program: reason; or {a part of the case's name: reason}
LEFT_OUT = {
    "cluster": {
        "t1/embedded.py": "about the embedded redis-server",
        "t2/acl.py": "about the users of the embedded redis-server",
    },
}


def left_out(name):
    """Why this case of this program is left out in this mode; None: it is not."""
    path = os.path.realpath(sys.argv[0])
    program = os.path.join(os.path.basename(os.path.dirname(path)), os.path.basename(path))
    rule = LEFT_OUT.get(MODE, {}).get(program)
    if isinstance(rule, dict):
        return next((reason for part, reason in rule.items() if part in name), None)
    return rule


def prefix(text):
    """The prefix that a daemon is given where a test says `text`."""
    return f"{{{text}}}" if IS_CLUSTER and "{" not in text else text


def around(redis):
    """What belongs to a PrivateRedis in this mode: lines(), is_ready(), url(), ended(). None: nothing."""
    if not IS_CLUSTER:
        return None
    from cluster import Neighbours  # pylint: disable=import-outside-toplevel

    return Neighbours(redis)


if MODE not in ("", *LEFT_OUT):
    sys.exit(f"CB_TEST_REDIS={MODE}: expected nothing or one of {', '.join(LEFT_OUT)}")
