// A real service for the tests of the console: the program, the bundled model, folders with real pictures, and a broker if one is
// installed. Everything is in a temporary folder and at free ports of this machine, and ends with the test.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, copyFile, mkdir, mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
 * Starts a service and waits until it can score. `sources` maps the name of a source to the label sets that it watches: it is a folder
 * then; or to its settings. `options.labels` replaces the label sets, `options.prefix` is the beginning of every topic, and
 * `options.listen` is added to `listen`.
 * `options.before` receives the path of the configuration, and runs before the service starts.
 */
export async function start(sources, options = {}) {
  const folder = await mkdtemp(join(tmpdir(), "stakeout-console-"));
  const [port, brokerPort] = [await freePort(), await freePort()];
  const broker = await startBroker(folder, brokerPort);
  const config = join(folder, "stakeout.yaml");
  for (const name of Object.keys(sources)) await mkdir(join(folder, "inbox", name), { recursive: true });
  await writeFile(config, configuration(folder, port, brokerPort, sources, options));
  await options.before?.(config);
  const service = spawn(PROGRAM, ["run", "--config", config], { stdio: ["ignore", "ignore", "pipe"] });
  const log = follow(service.stderr);
  const url = `http://127.0.0.1:${port}`;
  const running = { folder, config, url, log, service, broker, put, publish, ask, stored, link, command, stop };
  await wait("the service is ready", async () => {
    if (service.exitCode !== null) throw new Error(`the service ended:\n${log()}`);
    const answer = await fetch(`${url}/readyz`, { headers: authorization() }).catch(() => undefined);
    return answer?.status === 200;
  });
  return running;

  /** Puts a sample picture of the bundled model into the folder of a source, as a file with this name that was written `at` a time. */
  async function put(source, sample, name, at = new Date()) {
    const place = join(folder, "inbox", source);
    // The service ignores hidden files: it sees the whole picture at once.
    const hidden = join(place, `.${Date.now()}-${Math.random()}`);
    await copyFile(join(ROOT, "models/bundled/samples", `${sample}.jpg`), hidden);
    await utimes(hidden, at, at);
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
    const answer = await fetch(`${url}/api/v1/${verb}?${new URLSearchParams(query)}`, init);
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
    await end(service);
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
  await writeFile(file, `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n`);
  const broker = spawn(BROKER, ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
  const log = follow(broker.stderr);
  await wait("the broker listens", () => {
    if (broker.exitCode !== null) throw new Error(`the broker ended:\n${log()}`);
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

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
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
export async function freePort() {
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
