"""Decides calls of the HTTP interface with Cedar's own engine for Python, from a model of the world.

    python authorization.py SCHEMA POLICIES...

Reads the world as one line of JSON: tenants that have a record, principals, tasks, and the tenant of each agent, hook,
schedule, file and audit entry. Then one call a line: who, which operation, and on what, as the caller names it. Writes how
the call is answered, one word a line, in the same order:

    allow      Cedar allows it
    forbidden  Cedar denies it, and the caller is told so
    hidden     Cedar denies it, and the answer is that of something that is not there
    absent     Cedar does not deny it, but what is named is not there, or not where this call looks

What a policy sees of a call, and who is told what, is written from docs/authorization.md alone. Anything that the schema
does not allow ends the script with an error.
"""

import json
import sys

import cedarpy

# Who may not even read what such a call names is told that it is not there.
READS = {
    "tenant.list": "tenant.list",
    "tenant.update": "tenant.list",
    "tenant.delete": "tenant.list",
    "queue.status": "queue.status",
    "queue.pause": "queue.status",
    "queue.resume": "queue.status",
}
# What is looked for in the caller's own tenant; True where an admin finds that of every tenant.
THINGS = {"agent": True, "entry": True, "hook": False, "schedule": False, "artifact": False}
# The system's own tenant: agents that serve all tenants belong to it.
SHARED = "00000000-0000-0000-0000-000000000000"


def uid(kind, name):
    return {"type": f"Arbiter::{kind}", "id": name}


def entity(kind, name, attributes):
    known = {key: value for key, value in attributes.items() if value is not None}
    return {"uid": uid(kind, name), "attrs": known, "parents": []}


def band(priority):
    return min(priority // 25, 3)


class World:
    def __init__(self, world, schema, policies):
        self.world, self.schema, self.policies = world, schema, policies
        self.verdicts = {}

    def allows(self, who, operation, **target):
        """What Cedar says. Equal questions are asked once."""
        key = (who["id"], operation, *sorted(target.items(), key=str))
        if key not in self.verdicts:
            self.verdicts[key] = self.asked(who, operation, target)
        return self.verdicts[key]

    def asked(self, who, operation, target):
        principal = entity("Principal", who["id"], {
            "id": who["id"],
            "tenant": who["tenant"],
            "kind": who["kind"],
            "roles": who["roles"],
            "highest_band": who["highest_band"],
            "agent": who["agent"],
            "shared": who["tenant"] == SHARED,
        })
        resource = entity("Target", "anything", target)
        request = {
            "principal": principal["uid"],
            "action": uid("Action", operation),
            "resource": resource["uid"],
            "context": {},
        }
        result = cedarpy.is_authorized(request, self.policies, [principal, resource], self.schema)
        if result.decision == cedarpy.Decision.NoDecision or result.diagnostics.errors:
            raise SystemExit(f"{who} {operation} {target}: {result.diagnostics.errors}")
        return result.decision == cedarpy.Decision.Allow

    def answer(self, who, operation, on):
        """How a call is answered. `on` has one or two entries; the first says what is named."""
        named, name = next(iter(on.items()))
        if named == "task":
            return self.on_task(who, operation, name)
        if named in THINGS:
            return self.on_thing(who, operation, named, name)
        if named in ("tenant", "record"):
            return self.on_tenant(who, operation, name, must_exist=named == "record")
        if named == "principal":
            if not self.allows(who, operation, tenant=on["tenant"]):
                return "forbidden"
            found = self.world["principals"].get(name)
            return "allow" if found and found["tenant"] == on["tenant"] else "absent"
        if named == "nothing_of":
            return "absent" if self.allows(who, operation, tenant=name) else "forbidden"
        target = self.target(who, named, name, on)
        return "allow" if target is not None and self.allows(who, operation, **target) else "forbidden"

    def target(self, who, named, name, on):
        """What a policy sees of a call that looks nothing up; None for an agent's call of somebody who is none."""
        own = {"tenant": who["tenant"]}
        if named == "everything":
            return {}
        if named == "own":
            return own
        if named == "mine":
            return own | {"submitter": who["id"]}
        if named == "submission":
            return own | {"submitter": who["id"], "band": band(name["priority"]), "security": name["security"]}
        if named == "named_agent":
            return own | {"agent": name}
        if who["agent"] is None:
            return None
        if named == "claim":
            return own | {"agent": who["agent"]}
        held = {"agent": who["agent"], "holder": who["agent"]}
        if named == "leases":
            return own | held
        if named == "attempt":
            return held | {"tenant": on["tenant"], "task": name}
        raise SystemExit(f"`{named}` is nothing that a call can be about")

    def on_task(self, who, operation, name):
        task = self.world["tasks"].get(name)
        if task is None:
            return "absent"
        target = {
            "tenant": task["tenant"],
            "task": name,
            "submitter": task["submitter"],
            "holder": task["holder"],
            "band": band(task["priority"]),
            "security": task["security"],
        }
        if self.allows(who, operation, **target):
            return "allow"
        return "forbidden" if self.allows(who, "task.get", **target) else "hidden"

    def on_thing(self, who, operation, sort, name):
        of_all = THINGS[sort] and "admin" in who["roles"]
        # another control plane, whose registry of agents this one is
        of_all = of_all or (sort == "agent" and "peer" in who["roles"] and who["tenant"] == SHARED)
        about = {"agent": name} if sort == "agent" else {}
        owner = self.world[sort].get(name)
        if owner is not None and (of_all or owner == who["tenant"]):
            return "allow" if self.allows(who, operation, tenant=owner, **about) else "forbidden"
        # Answered as if nobody had it: by what the caller may do in its own tenant.
        if not self.allows(who, operation, tenant=who["tenant"], **about):
            return "forbidden"
        denied = owner is not None and not self.allows(who, operation, tenant=owner, **about)
        return "hidden" if denied else "absent"

    def on_tenant(self, who, operation, name, must_exist):
        if self.allows(who, operation, tenant=name):
            return "absent" if must_exist and name not in self.world["tenants"] else "allow"
        read = READS.get(operation)
        return "hidden" if read and not self.allows(who, read, tenant=name) else "forbidden"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def main(schema, *policies):
    schema = cedarpy.Schema.from_str(read(schema))
    policies = cedarpy.PolicySet.from_str("\n".join(read(path) for path in policies))
    world = World(json.loads(sys.stdin.readline()), schema, policies)
    for line in sys.stdin:
        asked = json.loads(line)
        who = world.world["principals"][asked["who"]]
        print(world.answer(who, asked["operation"], asked["on"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
