#!/usr/bin/env python3
"""Counts the words, lines, headings and links of the artifact `document` (exec protocol 1)."""

import json
import re
import sys

LINK = re.compile(r"\[[^\]]*\]\([^)]+\)")
HEADING = re.compile(r"#{1,6}\s")


def progress(fraction, message):
    print(json.dumps({"progress": {"fraction": fraction, "message": message}}), file=sys.stderr, flush=True)


def answer(**fields):
    json.dump({"version": 1, **fields}, sys.stdout)
    sys.stdout.write("\n")


def fail(kind, message):
    answer(outcome="failed", error={"class": kind, "message": message})


def count(content):
    """The counts of a Markdown text; what stands in fenced code is neither heading nor link."""
    lines = content.decode("utf-8", errors="replace").splitlines()
    headings = links = 0
    fenced = False
    for line in lines:
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            headings += bool(HEADING.match(line))
            links += len(LINK.findall(line))
    return {
        "words": sum(len(line.split()) for line in lines),
        "lines": len(lines),
        "bytes": len(content),
        "headings": headings,
        "links": links,
        "longest_line": max((len(line) for line in lines), default=0),
    }


def run(order):
    path = order["artifacts"].get("document")
    if path is None:
        fail("missing_input", "the task has no artifact named `document`")
        return
    progress(0.1, "reading the document")
    with open(path, "rb") as document:
        content = document.read()
    progress(0.5, f"counting {len(content)} bytes")
    answer(outcome="succeeded", output=count(content), usage={"files": 0, "lines": 0})


if __name__ == "__main__":
    run(json.load(sys.stdin))
