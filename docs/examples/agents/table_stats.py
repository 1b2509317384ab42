#!/usr/bin/env python3
"""Counts, means and bounds of the numeric columns of the CSV artifact `table` (exec protocol 1).

Sums are decimal, so that they are exact; a mean is rounded to ten decimal places. `NA` and empty cells are missing.
Numbers are given as strings, because JSON numbers become binary fractions in most readers.
"""

import csv
import json
import sys
from decimal import Decimal, InvalidOperation

MISSING = {"", "NA"}
PLACES = Decimal("1e-10")


def answer(**fields):
    json.dump({"version": 1, **fields}, sys.stdout)
    sys.stdout.write("\n")


def fail(kind, message):
    answer(outcome="failed", error={"class": kind, "message": message})


def plain(number):
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def numbers(cells):
    """The cells as numbers without the missing ones; None when one of them is no number, or all are missing."""
    try:
        found = [Decimal(cell) for cell in cells if cell not in MISSING]
    except InvalidOperation:
        return None
    return found if found and all(number.is_finite() for number in found) else None


def statistics(cells):
    found = numbers(cells)
    if found is None:
        return None
    return {
        "count": len(found),
        "mean": plain((sum(found) / len(found)).quantize(PLACES)),
        "min": plain(min(found)),
        "max": plain(max(found)),
        "missing": len(cells) - len(found),
    }


def main():
    order = json.load(sys.stdin)
    path = order["artifacts"].get("table")
    if path is None:
        fail("missing_input", "the task has no artifact named `table`")
        return
    with open(path, newline="", encoding="utf-8") as table:
        rows = list(csv.reader(table))
    if not rows:
        fail("empty_input", "the table has no header")
        return
    header, rows = rows[0], rows[1:]
    for place, row in enumerate(rows, start=2):
        if len(row) != len(header):
            fail("malformed_input", f"line {place} has {len(row)} cells where the header has {len(header)}")
            return
    columns = {}
    for place, name in enumerate(header):
        found = statistics([row[place] for row in rows])
        if found is not None:
            columns[name] = found
        told = {"fraction": (place + 1) / len(header), "message": f"column {name}"}
        print(json.dumps({"progress": told}), file=sys.stderr, flush=True)
    claims = [{"text": f"the table has {len(rows)} rows", "value": len(rows)}]
    answer(outcome="succeeded", output={"rows": len(rows), "columns": columns}, claims=claims)


if __name__ == "__main__":
    main()
