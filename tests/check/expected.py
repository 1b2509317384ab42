#!/usr/bin/env python3
"""Computes the expected answers of the real batch, independently of the agents.

Usage: expected.py FILE... ; prints one JSON object: per file its words, lines and bytes, for CSV files also the number of
rows and, per column, how many values are numbers and their exact sum.
"""
import json
import re
import sys
from fractions import Fraction

answer = {}
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        data = file.read()
    facts = {
        "bytes": len(data),
        "lines": data.count(b"\n") + (0 if data.endswith(b"\n") or not data else 1),
        "words": len(re.findall(rb"[^\x09-\x0d\x20]+", data)),
    }
    if path.endswith(".csv"):
        rows = [line.rstrip("\r").split(",") for line in data.decode().split("\n") if line]
        head, body = [name.strip('"') for name in rows[0]], rows[1:]
        columns = {}
        for place, name in enumerate(head):
            values = [row[place].strip('"') for row in body]
            numbers = [Fraction(value) for value in values if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value)]
            if numbers and all(value == "NA" or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) for value in values):
                columns[name] = {"count": len(numbers), "mean": float(sum(numbers) / len(numbers))}
        facts["rows"], facts["columns"] = len(body), columns
    answer[path.rsplit("/", 1)[-1]] = facts
json.dump(answer, sys.stdout)
