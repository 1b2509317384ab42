#!/usr/bin/env python3
"""Checks an exported audit log and its proofs with pymerkle (RFC 6962 hashing), independently of arbiter's own code.

    python merkle.py EXPORT < PROOFS

PROOFS is one JSON object: `heads`, signed heads (`size`, `root`, `checkpoint`); `inclusion`, proofs as `arbiter audit
proof` prints them; `consistency`, proofs between two sizes (`old`, `new`, `path`). Prints how many of each were accepted
and how many changed ones were refused; anything unexpected ends it with an error.

pymerkle verifies our inclusion proofs itself. Its consistency proofs cut the tree differently than RFC 6962 does, so ours
are compared hash by hash with `PROOF(m, D[n])` of RFC 6962 §2.1.2 over pymerkle's own tree, and checked as RFC 9162
§2.1.4.2 says with pymerkle's hashing; pymerkle's own proofs are verified between our roots.
"""
import base64
import json
import sys

import pymerkle
from pymerkle.hasher import MerkleHasher

HASHER = MerkleHasher("sha256")


class Refused(Exception):
    """A proof does not show what it claims."""


def ensure(condition, what):
    if not condition:
        raise SystemExit(f"not so: {what}")


def grow(path):
    """The tree that the leaves of an export make, and their hashes."""
    tree, hashes = pymerkle.InmemoryTree("sha256"), []
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    for index, entry in enumerate(lines[1:-1]):
        # RFC 8785 for what leaves hold: strings, integers below 2^53, lists, objects with ASCII names.
        leaf = json.dumps(entry["leaf"], ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        ensure(entry["index"] == index, f"entry {index} stands at its place")
        tree.append_entry(leaf)
        hashes.append(tree.get_leaf(index + 1))
        ensure(hashes[-1].hex() == entry["hash"], f"entry {index} has the hash of its leaf")
    ensure(tree.get_size() == lines[0]["size"], "the header names the size")
    return tree, hashes, lines[-1]["checkpoint"]


def signed(note):
    """Size and root of a checkpoint (C2SP tlog-checkpoint)."""
    _origin, size, root = note.split("\n")[:3]
    return int(size), base64.b64decode(root)


def subtree(hashes):
    """MTH(D) of RFC 6962 §2.1."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return HASHER.hash_pair(subtree(hashes[:split]), subtree(hashes[split:]))


def proof(old, hashes, whole=True):
    """SUBPROOF(m, D[n], b) of RFC 6962 §2.1.2."""
    if old == len(hashes):
        return [] if whole else [subtree(hashes)]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    if old <= split:
        return proof(old, hashes[:split], whole) + [subtree(hashes[split:])]
    return proof(old - split, hashes[split:], False) + [subtree(hashes[:split])]


def check_consistency(old, new, old_root, new_root, path):
    """RFC 9162 §2.1.4.2, with pymerkle's hashing."""
    if not 0 < old <= new:
        raise Refused
    if old == new:
        if path or old_root != new_root:
            raise Refused
        return
    path = ([old_root] if old & (old - 1) == 0 else []) + path
    if not path:
        raise Refused
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Refused
        if node & 1 or node == last:
            before, after = HASHER.hash_pair(sibling, before), HASHER.hash_pair(sibling, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = HASHER.hash_pair(after, sibling)
        node, last = node >> 1, last >> 1
    if last or before != old_root or after != new_root:
        raise Refused


def check_inclusion(tree, index, size, leaf, root, path):
    # The rule says on which side each hash stands; it depends on the place and the size alone.
    rule = tree.prove_inclusion(index + 1, size).rule
    found = pymerkle.InclusionProof("sha256", True, size, index + 1, rule, [leaf] + path)
    try:
        pymerkle.verify_inclusion(leaf, root, found, index=index + 1, size=size, algorithm="sha256")
    except pymerkle.InvalidProof as error:
        raise Refused from error


def flipped(value):
    return value[:7] + bytes([value[7] ^ 16]) + value[8:]


def changes(path):
    """The path with one hash changed, one missing, one too many, two exchanged."""
    for place, value in enumerate(path):
        yield path[:place] + [flipped(value)] + path[place + 1:]
        yield path[:place] + path[place + 1:]
        yield path[:place] + [value] + path[place:]
        if place and path[place - 1] != value:
            yield path[:place - 1] + [value, path[place - 1]] + path[place + 1:]


def refusals(check, good, changed):
    """Counts the changed ones; each must be refused where the good one is accepted."""
    check(*good)
    count = 0
    for arguments in changed:
        try:
            check(*arguments)
        except Refused:
            count += 1
        else:
            raise SystemExit(f"accepted although changed: {arguments}")
    return count


def main(export):
    tree, hashes, note = grow(export)
    asked = json.load(sys.stdin)
    ensure(signed(note) == (tree.get_size(), tree.get_root()), "the export's checkpoint signs pymerkle's root")
    answer = {"entries": len(hashes), "inclusion": 0, "consistency": 0, "refused": 0}
    for head in asked["heads"]:
        size, root = signed(head["checkpoint"])
        ensure((size, root.hex()) == (head["size"], head["root"]), "the head is what was signed")
        ensure(root == tree.get_root(size), f"the root at {size}")
    for one in asked["inclusion"]:
        index, size, root = one["index"], one["size"], bytes.fromhex(one["root"])
        leaf, path = bytes.fromhex(one["leaf_hash"]), [bytes.fromhex(value) for value in one["path"]]
        ensure(leaf == hashes[index], f"the hash of leaf {index}")
        check = lambda *arguments: check_inclusion(tree, *arguments)
        changed = [(index, size, leaf, root, other) for other in changes(path)]
        changed += [(index, size, flipped(leaf), root, path), (index, size, leaf, flipped(root), path)]
        changed += [((index + 1) % size, size, leaf, root, path)]
        answer["refused"] += refusals(check, (index, size, leaf, root, path), changed)
        answer["inclusion"] += 1
    for one in asked["consistency"]:
        old, new = one["old"], one["new"]
        path = [bytes.fromhex(value) for value in one["path"]]
        before, after = tree.get_root(old), tree.get_root(new)
        ensure(path == proof(old, hashes[:new]), f"the proof from {old} to {new} by RFC 6962")
        pymerkle.verify_consistency(before, after, tree.prove_consistency(old, new), old, new, "sha256")
        changed = [(old, new, before, after, other) for other in changes(path)]
        changed += [(old, new, flipped(before), after, path), (old, new, before, flipped(after), path)]
        answer["refused"] += refusals(check_consistency, (old, new, before, after, path), changed)
        answer["consistency"] += 1
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
