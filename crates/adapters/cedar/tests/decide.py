"""Decides requests with Cedar's own engine for Python, from a mapping of its own.

    python decide.py SCHEMA POLICIES...

Reads one request a line, as plain facts: who (id, tenant, agent as 32 hexadecimal digits; kind; roles; band), operation,
and what it is done to (tenant, task, submitter, agent, holder; band; security as its rank). Absent facts are null. Writes
`allow` or `deny` a line, in the same order; anything that the schema does not allow ends it with an error.

The mapping to Cedar's entities is written from docs/authorization.md alone, so that this script and the adapter would
have to be wrong in the same way to agree on a wrong decision.
"""

import json
import sys
import uuid

import cedarpy

# Ranks, from the least to the most secret.
SECURITY = ("internal", "confidential", "restricted")


def known(facts):
    return {name: value for name, value in facts.items() if value is not None}


def text(digits):
    return None if digits is None else str(uuid.UUID(hex=digits))


def uid(kind, name):
    return {"type": f"Arbiter::{kind}", "id": name}


def principal(who):
    attributes = {
        "id": text(who["id"]),
        "tenant": text(who["tenant"]),
        "kind": who["kind"],
        "roles": who["roles"],
        "highest_band": who["band"],
        "agent": text(who["agent"]),
        # The system's own tenant, which is nobody's, has the id 0.
        "shared": int(who["tenant"], 16) == 0,
    }
    return {"uid": uid("Principal", text(who["id"])), "attrs": known(attributes), "parents": []}


def target(what):
    rank = what["security"]
    attributes = {name: text(what[name]) for name in ("tenant", "task", "submitter", "agent", "holder")}
    attributes["band"] = what["band"]
    attributes["security"] = None if rank is None else SECURITY[rank]
    # A target has no name of its own that a policy could look at.
    return {"uid": uid("Target", "anything"), "attrs": known(attributes), "parents": []}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def main(schema, *policies):
    schema = cedarpy.Schema.from_str(read(schema))
    policies = cedarpy.PolicySet.from_str("\n".join(read(path) for path in policies))
    for line in sys.stdin:
        asked = json.loads(line)
        who, what = principal(asked["who"]), target(asked["what"])
        request = {
            "principal": who["uid"],
            "action": uid("Action", asked["operation"]),
            "resource": what["uid"],
            "context": {},
        }
        result = cedarpy.is_authorized(request, policies, [who, what], schema)
        if result.decision == cedarpy.Decision.NoDecision or result.diagnostics.errors:
            raise SystemExit(f"{line.strip()}: {result.diagnostics.errors}")
        print("allow" if result.decision == cedarpy.Decision.Allow else "deny")


if __name__ == "__main__":
    main(*sys.argv[1:])
