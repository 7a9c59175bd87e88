"""modes.py: what the tests' Redis is, beside a server of its own on a unix socket: CB_TEST_REDIS.

    cluster  a Redis Cluster of three masters. The one that PrivateRedis is has the slots of all keys that tests use; daemons
             are given the address of another one, and have to follow MOVED. The prefix gets a hash tag, unseen by the tests:
             resp.py writes cb: as {cb}: and back. A Daemon without a Redis of the test's own gets one, where it would have
             had an embedded one.

    acl      the users of etc/redis-claudebench.acl: users.py.

Tests that are about something which a mode does not have are left out, with the reason: left_out().
"""

import os
import sys

MODE = os.environ.get("CB_TEST_REDIS", "")
IS_CLUSTER = MODE == "cluster"

EMBEDDED = "about the embedded redis-server"
REPLICA = "makes a replica with REPLICAOF, which nodes refuse; t2/redis_cluster.py and t5/redis_cluster.py have a failover"
ONE_SERVER = "changes the users or settings of one server; the nodes of a cluster have the same ones (CB_TEST_REDIS=acl is about users)"
ONE_ADDRESS = "lies at one address (imposter.py): whoever doubts a node of a cluster asks the others, which speak the truth"

PLAIN_PREFIX = "rows of the outbox name the prefix cb, which a Cluster does not take"

# program: reason; or {a part of the case's name: reason}
LEFT_OUT = {
    "cluster": {
        "t1/backup.py": EMBEDDED,
        "t1/embedded.py": EMBEDDED,
        "t1/command_line.py": {"-d that fails": EMBEDDED},
        "t1/handing_on.py": {"Redis is adopted": EMBEDDED},
        "t1/redis_away.py": {"a replica is not used": REPLICA, "a wrong password": ONE_SERVER, "a user that": ONE_SERVER,
                             "that lack a right": ONE_SERVER},
        "t1/stopping.py": {"with the embedded redis-server": EMBEDDED},
        "t2/acks.py": {"without a replica": REPLICA, "a replica that stands still": REPLICA, "redis.wait_replicas": REPLICA,
                       "the master is killed": REPLICA},
        "t2/acl.py": EMBEDDED,
        "t2/requests.py": {"refuses the refusal": ONE_SERVER},
        "t2/weather.py": {"errors nobody asked for": ONE_ADDRESS, "answered with nonsense": ONE_ADDRESS, "cut as soon as": ONE_ADDRESS},
        "t6/rights_table.py": {"the ACL file": ONE_SERVER},
        "t3/client_doctor.py": {"Redis without its file": ONE_SERVER, "files that others": EMBEDDED, "while the daemon is down": EMBEDDED,
                                "Redis came back empty": ONE_SERVER, "a value that waits": EMBEDDED},
        "t4/sentinel.py": "about Redis Sentinel, which watches no nodes of a cluster",
        "t2/archive_outbox.py": PLAIN_PREFIX,
        "t5/archive_outbox.py": PLAIN_PREFIX,
        "t6/runbook_run.py": {"Redis down": EMBEDDED, "Backup and restore": EMBEDDED},
        "t5/oracle_itself.py": {"journal and ledger files": EMBEDDED},
    },
    "acl": {  # users.py
        "t1/backup.py": {"an external Redis": "needs a user who may replicate, which neither of ours may"},
        "t2/redis_cluster.py": {"a backup has the whole slot": "needs a user who may replicate, which neither of ours may"},
        "t2/functions.py": {"without the rights": "is about what our users are refused"},
        "t4/sentinel.py": "sentinels and replicas would log in as users of their own",
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
