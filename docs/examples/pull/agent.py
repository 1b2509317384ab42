#!/usr/bin/env python3
"""An agent that pulls its work over HTTP: counts lines, words and characters of what it is told to count.

    agent.py --server http://127.0.0.1:7700 --key-file agent.key

Needs Python 3.9 or newer and nothing else. It registers, asks for work and waits for it, keeps its leases with
heartbeats, and hands in what it made. On SIGTERM it takes nothing new and ends when its work is done.
"""

import argparse
import json
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid

KINDS = ["analysis"]
HEARTBEAT_SECONDS = 15


class Refused(Exception):
    """The server refused a call; sending it again would not help."""

    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem.get('detail', '')}")
        self.code = problem["code"]


class Server:
    """Calls of the server. What may have been lost on the way is sent again: every call can be repeated."""

    def __init__(self, url, key):
        self.url, self.key = url.rstrip("/"), key

    def call(self, method, path, body=None, tries=8):
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        for attempt in range(1, tries + 1):
            wait = min(2**attempt / 4, 30)
            request = urllib.request.Request(self.url + path, data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=90) as answer:
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                with error:
                    problem = json.load(error)
                if error.code not in (408, 429, 503) or attempt == tries:
                    raise Refused(problem) from None
                wait = float(error.headers.get("retry-after", wait))
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if attempt == tries:
                    raise
            time.sleep(wait)
        raise AssertionError("every try returned or raised")


def count(work):
    """The work itself."""
    text = work.get("input", {}).get("text")
    if not isinstance(text, str):
        raise ValueError("the input has no `text`")
    return {"lines": len(text.splitlines()), "words": len(text.split()), "characters": len(text)}


class Agent:
    def __init__(self, server, slots):
        self.server, self.slots = server, slots
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.held = {}  # task -> fencing token
        self.freed = threading.Condition(self.lock)

    def register(self, name):
        about = {"name": name, "model_family": "none", "kinds": KINDS, "slots": self.slots}
        return self.server.call("POST", "/v1/agents", about)["id"]

    def run(self):
        threading.Thread(target=self.keep, daemon=True).start()
        workers = []
        while not self.stopping.is_set():
            with self.lock:
                while len(self.held) >= self.slots:
                    self.freed.wait()
                holding = [{"task": task, "fence": fence} for task, fence in self.held.items()]
            # A short wait, so that SIGTERM is heeded soon; an answer that was lost is given again at the next claim.
            claim = {"slots": self.slots - len(holding), "holding": holding, "wait_seconds": 2}
            for work in self.server.call("POST", "/v1/work/claim", claim)["work"]:
                with self.lock:
                    self.held[work["task"]] = work["fence"]
                worker = threading.Thread(target=self.attempt, args=(work,))
                worker.start()
                workers.append(worker)
            workers = [worker for worker in workers if worker.is_alive()]
        for worker in workers:
            worker.join()

    def attempt(self, work):
        # The command names the call: the server answers a repeated one as it answered the first.
        attempt = {"task": work["task"], "tenant": work["tenant"], "fence": work["fence"], "command": str(uuid.uuid4())}
        try:
            try:
                output = count(work)
            except ValueError as error:
                self.server.call("POST", "/v1/work/fail", {"attempt": attempt, "class": "input", "message": str(error)})
            else:
                self.server.call("POST", "/v1/work/report", {"attempt": attempt, "output": output})
        except Refused as refused:
            # Cancelled meanwhile, or the lease was lost: somebody else has the task.
            print(f"{work['task']}: {refused}", file=sys.stderr)
        finally:
            with self.lock:
                self.held.pop(work["task"], None)
                self.freed.notify_all()

    def keep(self):
        """Heartbeats: of the agent, and of what it holds."""
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            with self.lock:
                held = [{"task": task, "fence": fence} for task, fence in self.held.items()]
            try:
                if held:
                    self.server.call("POST", "/v1/work/heartbeat", {"attempts": held})
            except (Refused, OSError) as error:
                print(f"heartbeat: {error}", file=sys.stderr)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--server", required=True, help="its address, such as http://127.0.0.1:7700")
    arguments.add_argument("--key-file", required=True, help="file of a key with the role `agent`")
    arguments.add_argument("--name", default="python-example")
    arguments.add_argument("--slots", type=int, default=2, help="tasks at once")
    told = arguments.parse_args()
    with open(told.key_file, encoding="ascii") as file:
        key = file.read().strip()
    agent = Agent(Server(told.server, key), told.slots)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stopping.set())
    print(f"registered as {agent.register(told.name)}", flush=True)
    agent.run()


if __name__ == "__main__":
    main()
