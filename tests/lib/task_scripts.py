"""task_scripts.py: the scripts of tasks, driven directly (scripts.py): tasks in each state, where they are listed, and what must not change them."""

import json

from cbtest import check, equal, short
from scripts import Scripts


def problem(doc):
    """(code, reason, state) of an error reply; None for a result."""
    error = doc.get("error")
    return error and (error["code"], error["data"].get("reason"), error["data"].get("state"))


class TaskScripts(Scripts):
    """Scripts, with tasks made by the operations themselves."""

    def fresh(self):
        self.redis.call("FLUSHALL")

    def one(self, **kw):
        return self.create("t", **kw)["result"]["id"]

    def claimed(self, worker="w1", **kw):
        self.one(**kw)
        return self.claim(worker, queue=kw.get("queue", "default"), roles=kw.get("roles", ""))["result"]["tasks"][0]

    def held(self):
        """A task in progress: id, token."""
        t = self.claimed()
        return t["id"], t["lease_token"]

    def show(self, task):
        return self.get(task)["result"]

    def indexes(self, task):
        """Names of all sorted sets and sets that hold the id."""
        found = set()
        for key in self.redis.scan():
            kind = self.redis.call("TYPE", key)
            if kind == b"zset" and self.redis.call("ZSCORE", key, task) is not None:
                found.add(key.decode()[3:])
            if kind == b"set" and self.redis.call("SISMEMBER", key, task):
                found.add(key.decode()[3:])
        return found

    def in_state(self, state):
        """A task in a state, made by the methods themselves: (id, its token or '')."""
        if state == "pending":
            return self.one(), ""
        if state == "cancelled":
            task = self.one()
            self.update(task, status="cancelled")
            return task, ""
        t = self.claimed()
        task, lease_token = t["id"], t["lease_token"]
        if state == "delayed":
            self.fail(task, lease_token)
        elif state == "completed":
            self.complete(task, lease_token, result="[1]")
        elif state == "failed":
            self.fail(task, lease_token, retry=0)
        equal(self.show(task)["status"], state)
        return task, lease_token

    def unchanged(self, action, what):
        """Runs an action that must not change anything."""
        before = self.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
        doc = action()
        after = self.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
        changed = [k.decode() for k in set(before) | set(after) if before.get(k) != after.get(k)]
        equal(changed, [], what)
        return doc

    def with_wrong_types(self, name, keys, prepare, action):
        """Each of the keys with a wrong type: an internal error, and nothing changes."""
        for key in keys:
            self.fresh()
            made = prepare()
            rest = key.format(id=made[0])
            kind = self.redis.call("TYPE", self.key(rest)).decode()
            self.redis.call("DEL", self.key(rest))
            self.redis.call(*(["SADD", self.key(rest), "x"] if kind == "string" else ["SET", self.key(rest), "x"]))
            doc = self.unchanged(lambda m=made: action(*m), f"{name} with a wrong {rest}")
            equal(doc.get("error", {}).get("code"), -32603, f"{name} with a wrong {rest}: {short(json.dumps(doc))}")

    def secret_is_kept(self, lease_token):
        check(lease_token, "there is a token")
        for what, doc in (("list", self.listing()), ("events", self.events())):
            check(lease_token not in json.dumps(doc), f"the token is in {what}")
