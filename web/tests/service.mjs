// A real service for the tests of the console: the program, the bundled model, folders with real pictures, and a broker if one is
// installed. Everything is in a temporary folder and at free ports of this machine, and ends with the test.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, copyFile, mkdir, mkdtemp, realpath, rename, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PROGRAM = process.env.STAKEOUT ?? join(ROOT, "target/debug/stakeout");
const BROKER = "/usr/sbin/mosquitto";
/** Only what hangs reaches this limit. */
export const PATIENCE = 120_000;
/** The token of clients that may change something. */
export const TOKEN = "0123456789abcdef";

/** Names that must appear as text: each would run or show something if a page took it for HTML. `level` is a part of a topic. */
export const HOSTILE = {
  source: "gate <u onclick=planted()>1",
  absent: "away <s onclick=planted()>2",
  level: "<i onclick=planted()>3",
  label: `<img src=x onerror="planted()">`,
  file: `<b onclick=planted()>bold.jpg`,
  prefix: "topic-<script>planted()",
};

/**
 * Starts a service and waits until it watches its folders. `sources` maps the name of a source to the label sets that it watches: it is a
 * folder then; or to its settings. `options.labels` replaces the label sets, `options.prefix` is the beginning of every topic, and
 * `options.listen` is added to `listen`.
 * `options.before` receives the path of the configuration, and runs before the service starts.
 */
export async function start(sources, options = {}) {
  for (;;) {
    const started = await attemptStart(sources, options);
    if (started) return started;
  }
}

/** Starts a service; `undefined` if another program has taken one of its ports since it was free. */
async function attemptStart(sources, options) {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "stakeout-console-")));
  const [port, brokerPort] = [await freePort(), await freePort()];
  const config = join(folder, "stakeout.yaml");
  const url = `http://127.0.0.1:${port}`;
  let broker, service, log;
  try {
    broker = await startBroker(folder, brokerPort);
    for (const name of Object.keys(sources)) await mkdir(join(folder, "inbox", name), { recursive: true });
    await writeFile(config, configuration(folder, port, brokerPort, sources, options));
    await options.before?.(config);
    service = spawn(PROGRAM, ["run", "--config", config], { stdio: ["ignore", "ignore", "pipe"] });
    log = follow(service.stderr);
    await wait("the service is ready", async () => {
      if (hasEnded(service)) throw new Error(`the service ended:\n${await wholeLog(service, log)}`);
      // Another program at this port may never answer.
      const answer = await fetch(`${url}/readyz`, { headers: authorization(), signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
      // Another service at this port may answer, while this one ends.
      return answer?.status === 200 && (await ask("config").catch(() => undefined))?.path === config;
    });
    // A picture that is there before its folder is watched is no new one.
    await wait("the folders are watched", async () => {
      const { sources } = await ask("sources");
      return sources.every(({ kind, status }) => kind !== "folder" || status === "online");
    });
    if (broker) await wait("the broker is connected", async () => (await ask("system")).delivery?.connected);
  } catch (error) {
    await stop();
    if (/address already in use/i.test(error.message)) return undefined;
    throw error;
  }
  return { folder, config, url, log, service, broker, put, publish, ask, stored, written, link, command, stop };

  /**
   * Puts a sample picture of the bundled model into the folder of a source, as a file with this name that was written `at` a time: now, and
   * in no millisecond in which another one was.
   */
  async function put(source, sample, name, at) {
    at ??= await nextMoment();
    const place = join(folder, "inbox", source);
    // The service ignores hidden files: it sees the whole picture at once.
    const hidden = join(place, `.${Date.now()}-${Math.random()}`);
    await copyFile(join(ROOT, "models/bundled/samples", `${sample}.jpg`), hidden);
    // A time is cut to microseconds after it was divided: without a part of one, it would often be in the millisecond before.
    const seconds = (at.getTime() + 0.0005) / 1000;
    await utimes(hidden, seconds, seconds);
    await rename(hidden, join(place, name));
  }

  /** Publishes a sample picture of the bundled model to a topic. The broker keeps it for sources that subscribe later. */
  async function publish(topic, sample) {
    const file = join(ROOT, "models/bundled/samples", `${sample}.jpg`);
    const options = ["-h", "127.0.0.1", "-p", String(brokerPort), "-q", "1", "-r", "-t", topic, "-f", file];
    await promisify(execFile)("mosquitto_pub", options, { timeout: PATIENCE });
  }

  /** The answer of a verb: with `query` as its parameters, or with a body of JSON. */
  async function ask(verb, query = {}, body = undefined) {
    const init = { headers: authorization() };
    if (body) Object.assign(init, { method: "POST", body: JSON.stringify(body) });
    // The service closes a connection whose request is late. What tests change is the same if it is changed twice.
    const answer = await wait(verb, () => fetch(`${url}/api/v1/${verb}?${new URLSearchParams(query)}`, init));
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${verb}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  /** Waits until scores of a label are in the history, which is written at intervals: until then Tune has nothing to judge. */
  function stored(source, label_set, label) {
    return wait("scores are stored", async () => {
      const query = new URLSearchParams({ source, label_set, label });
      const answer = await fetch(`${url}/api/v1/rejudge?${query}`, { headers: authorization() });
      return answer.ok;
    });
  }

  /**
   * Writes what was observed until now, so that readers of the history see it: they see some of it only seconds later. A request that
   * changes something has that effect, even if there is nothing that it could change.
   */
  async function written() {
    const init = { method: "POST", headers: authorization(), body: JSON.stringify({ id: "nothing", verdict: "right" }) };
    const { status } = await wait("mark", () => fetch(`${url}/api/v1/mark`, init));
    if (status !== 404) throw new Error(`mark: ${status}`);
  }

  /** A link that signs a browser in once. */
  async function link(...options) {
    const output = await command("console", "--no-open", ...options);
    const found = output.match(/https?:\/\/\S+/);
    if (!found) throw new Error(`stakeout console printed no link: ${output}`);
    return found[0];
  }

  /** The standard output of a command about this service. */
  async function command(name, ...options) {
    const run = promisify(execFile);
    const { stdout } = await run(PROGRAM, [name, "--config", config, ...options], { timeout: PATIENCE });
    return stdout;
  }

  async function stop() {
    if (service) await end(service);
    if (broker) await end(broker);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits until `isSo` returns something true, and returns it. */
export async function wait(what, isSo, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await attempt(isSo);
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A connection that the service closes, as it does when it has too many, is no answer yet. */
async function attempt(isSo) {
  try {
    return await isSo();
  } catch (error) {
    if (error instanceof TypeError && error.message === "fetch failed") return undefined;
    throw error;
  }
}

function authorization() {
  return { Authorization: `Bearer ${TOKEN}` };
}

let newest = 0;

/** A time that no picture has. */
async function nextMoment() {
  while (Date.now() <= newest) await new Promise((resolve) => setTimeout(resolve, 1));
  return new Date((newest = Date.now()));
}

/** The configuration. JSON is YAML. */
function configuration(folder, port, brokerPort, sources, { labels = LABEL_SETS, prefix = "stakeout", listen = {} }) {
  const settings = ([name, source]) => [name, Array.isArray(source) ? { folder: join(folder, "inbox", name), watch: source } : source];
  const all = Object.fromEntries(Object.entries(sources).map(settings));
  const watched = new Set(Object.values(all).flatMap((source) => source.watch));
  const set = (name) => ({
    template: "a photo of {}",
    background: ["an empty scene", "a plain background", "something else"],
    labels: labels[name],
  });
  const config = {
    model: join(ROOT, "models/bundled"),
    state_dir: join(folder, "state"),
    mqtt: { url: `mqtt://127.0.0.1:${brokerPort}`, prefix },
    listen: { address: `127.0.0.1:${port}`, token: TOKEN, edit: true, ...listen },
    history: { search: true, pictures: "changes" },
    label_sets: Object.fromEntries([...watched].map((name) => [name, set(name)])),
    sources: all,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** The label sets that a source can watch. */
const LABEL_SETS = {
  objects: { "red car": 0.75, "green tree": 0.75, "blue umbrella": 0.75, "yellow fish": 0.75 },
  toys: { "pink heart": 0.75, "purple mug": 0.75 },
  hostile: { [HOSTILE.label]: { prompts: ["red car"], threshold: 0.75 }, "green tree": 0.75 },
};

async function startBroker(folder, port) {
  if (await access(BROKER).then(() => false, () => true)) return undefined;
  const file = join(folder, "broker.conf");
  // `user root`: as root, mosquitto otherwise becomes a user that a namespace may not have. Other users ignore it.
  await writeFile(file, `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n`);
  const broker = spawn(BROKER, ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
  const log = follow(broker.stderr);
  await wait("the broker listens", async () => {
    if (hasEnded(broker)) throw new Error(`the broker ended:\n${await wholeLog(broker, log)}`);
    return log().includes("running");
  });
  return broker;
}

/** What a process has written so far. */
function follow(stream) {
  let text = "";
  stream.setEncoding("utf8").on("data", (part) => (text = (text + part).slice(-200_000)));
  return () => text;
}

/** What a process that has ended has written. */
async function wholeLog({ stderr }, log) {
  await finished(stderr);
  return log();
}

function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}

async function end(child) {
  if (hasEnded(child)) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
  await ended;
  clearTimeout(timer);
}

/** Where ports are looked for: outside of the range from which the system takes ports, so that no other connection takes one meanwhile. */
const PORTS = { first: 10_000, count: 20_000 };
/** Two files of tests at the same time begin at different ports. */
let nextPort = (process.pid * 101) % PORTS.count;

/** A free port. */
async function freePort() {
  for (let tries = 0; tries < PORTS.count; tries += 1) {
    const port = PORTS.first + nextPort;
    nextPort = (nextPort + 1) % PORTS.count;
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await Promise.race([once(server, "listening").then(() => true), once(server, "error").then(() => false)]).catch(() => false);
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("no port is free");
}
