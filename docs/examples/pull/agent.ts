#!/usr/bin/env node
/**
 * An agent that pulls its work over HTTP: counts lines, words and characters of what it is told to count.
 *
 *     node agent.ts --server http://127.0.0.1:7700 --key-file agent.key
 *
 * Needs Node 22.18 or newer and nothing else. It registers, asks for work and waits for it, keeps its leases with
 * heartbeats, and hands in what it made. On SIGTERM it takes nothing new and ends when its work is done.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const KINDS = ["writing"];
const HEARTBEAT_MS = 15_000;

type Work = { task: string; tenant: string; fence: number; input?: { text?: unknown } };
type Problem = { code: string; detail?: string };

/** The server refused a call; sending it again would not help. */
class Refused extends Error {
  readonly code: string;

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail ?? ""}`);
    this.code = problem.code;
  }
}

/** Calls of the server. What may have been lost on the way is sent again: every call can be repeated. */
class Server {
  readonly #url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.#url = url.replace(/\/$/, "");
    this.#key = key;
  }

  async call<T>(method: string, path: string, body?: unknown, tries = 8): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      let wait = Math.min(2 ** attempt * 250, 30_000);
      try {
        const answer = await fetch(this.#url + path, {
          method,
          headers: { authorization: `Bearer ${this.#key}`, "content-type": "application/json" },
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: AbortSignal.timeout(90_000),
        });
        const text = await answer.text();
        if (answer.ok) return (text === "" ? undefined : JSON.parse(text)) as T;
        if (![408, 429, 503].includes(answer.status) || attempt === tries) throw new Refused(JSON.parse(text));
        const after = Number(answer.headers.get("retry-after"));
        if (after > 0) wait = after * 1_000;
      } catch (error) {
        if (error instanceof Refused || attempt === tries) throw error;
      }
      await sleep(wait);
    }
  }
}

/** The work itself. */
function count(work: Work) {
  const text = work.input?.text;
  if (typeof text !== "string") throw new TypeError("the input has no `text`");
  const lines = text === "" ? 0 : text.replace(/\r?\n$/, "").split(/\r?\n/).length;
  return { lines, words: text.split(/\s+/u).filter((word) => word !== "").length, characters: [...text].length };
}

class Agent {
  readonly #server: Server;
  readonly #slots: number;
  readonly #held = new Map<string, { fence: number; done: Promise<void> }>();
  stopping = false;

  constructor(server: Server, slots: number) {
    this.#server = server;
    this.#slots = slots;
  }

  async register(name: string): Promise<string> {
    const about = { name, model_family: "none", kinds: KINDS, slots: this.#slots };
    return (await this.#server.call<{ id: string }>("POST", "/v1/agents", about)).id;
  }

  async run(): Promise<void> {
    const heartbeats = setInterval(() => void this.#keep(), HEARTBEAT_MS);
    while (!this.stopping) {
      if (this.#held.size >= this.#slots) {
        await Promise.race([...this.#held.values()].map((held) => held.done));
        continue;
      }
      const holding = [...this.#held].map(([task, { fence }]) => ({ task, fence }));
      // A short wait, so that SIGTERM is heeded soon; an answer that was lost is given again at the next claim.
      const claim = { slots: this.#slots - holding.length, holding, wait_seconds: 2 };
      const { work } = await this.#server.call<{ work: Work[] }>("POST", "/v1/work/claim", claim);
      for (const one of work) {
        const done = this.#attempt(one).finally(() => this.#held.delete(one.task));
        this.#held.set(one.task, { fence: one.fence, done });
      }
    }
    await Promise.all([...this.#held.values()].map((held) => held.done));
    clearInterval(heartbeats);
  }

  async #attempt(work: Work): Promise<void> {
    // The command names the call: the server answers a repeated one as it answered the first.
    const { task, tenant, fence } = work;
    const attempt = { task, tenant, fence, command: randomUUID() };
    try {
      let output;
      try {
        output = count(work);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        await this.#server.call("POST", "/v1/work/fail", { attempt, class: "input", message });
        return;
      }
      await this.#server.call("POST", "/v1/work/report", { attempt, output });
    } catch (error) {
      // Cancelled meanwhile, or the lease was lost: somebody else has the task.
      console.error(`${task}: ${error}`);
    }
  }

  async #keep(): Promise<void> {
    const attempts = [...this.#held].map(([task, { fence }]) => ({ task, fence }));
    if (attempts.length === 0) return;
    try {
      await this.#server.call("POST", "/v1/work/heartbeat", { attempts });
    } catch (error) {
      console.error(`heartbeat: ${error}`);
    }
  }
}

const { values } = parseArgs({
  options: {
    server: { type: "string" },
    "key-file": { type: "string" },
    name: { type: "string", default: "typescript-example" },
    slots: { type: "string", default: "2" },
  },
});
if (values.server === undefined || values["key-file"] === undefined) {
  console.error("usage: agent.ts --server URL --key-file FILE [--name NAME] [--slots N]");
  process.exit(2);
}
const key = readFileSync(values["key-file"], "ascii").trim();
const agent = new Agent(new Server(values.server, key), Number(values.slots));
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => (agent.stopping = true));
console.log(`registered as ${await agent.register(values.name)}`);
await agent.run();
