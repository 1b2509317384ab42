#!/usr/bin/env python3
"""Dies in the middle of some attempts and does the work of `word_count.py` in the others (exec protocol 1).

Which attempts it dies in depends on the task's id and the attempt's number alone, so a run can be repeated.
"""

import hashlib
import json
import os
import signal
import sys

import word_count


def unlucky(task, attempt):
    digest = hashlib.sha256(f"{task}/{attempt}".encode()).digest()
    return digest[0] % 2 == 1


def main():
    order = json.load(sys.stdin)
    word_count.progress(0.05, "starting")
    if unlucky(order["task"]["id"], order["attempt"]["number"]):
        word_count.progress(0.4, "half way")
        os.kill(os.getpid(), signal.SIGKILL)
    word_count.run(order)


if __name__ == "__main__":
    main()
