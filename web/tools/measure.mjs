// Measures how quickly the console answers with forty cameras and a week of scores: `node tools/measure.mjs [--days 7] [--every 1]
// [--sources 40] [--rounds 30] [--throttle 1] [--limit MS]`. It fills a history, starts a real service with it, gives each source a
// picture a second, and uses Live, Alerts and Tune in Chromium. It prints a table of the time from an interaction to the next paint
// (INP). With --limit it fails if the 75th percentile of a page is higher.
//
// Both programs must be built in release mode: `cargo build --release && cargo build --release --example fill-history`. STAKEOUT and
// FILL_HISTORY name others.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
process.env.STAKEOUT ??= join(ROOT, "target/release/stakeout");
const FILL_HISTORY = process.env.FILL_HISTORY ?? join(ROOT, "target/release/examples/fill-history");
// They read STAKEOUT when they are loaded.
const { launch, open, ready, signIn, visitor, WIDE } = await import("../tests/browser.mjs");
const { start } = await import("../tests/service.mjs");

const options = read({ days: 7, every: 1, sources: 40, rounds: 30, throttle: 1, limit: 0 });
const LABELS = { "red car": 0.75, "green tree": 0.75, "blue umbrella": 0.75, "yellow fish": 0.75 };
const SAMPLES = ["empty-wall", "red-car", "green-tree", "blue-umbrella", "yellow-fish", "empty-corner"];
/** Chromium reports no interaction that takes less. */
const SHORTEST_MS = 16;
const names = Array.from({ length: options.sources }, (_, number) => `camera-${String(number + 1).padStart(2, "0")}`);

/** What is done on each page. Each step is one or a few interactions. */
const PAGES = {
  live: {
    address: "live",
    async step(page, round) {
      const cards = page.locator(".live-open");
      const count = await cards.count();
      if (count > 0) await cards.nth(round % count).click();
      await settled(page);
      await page.keyboard.press("Escape");
      await page.keyboard.press("Tab");
    },
  },
  alerts: {
    address: "alerts",
    async step(page, round) {
      for (const key of ["j", "y", "j", "n", "u", "k"]) {
        await page.keyboard.press(key);
        await settled(page);
      }
      if (round % 5 !== 0) return;
      await page.keyboard.press("Enter");
      await settled(page);
      await page.keyboard.press("Escape");
    },
  },
  tune: {
    address: `tune?${new URLSearchParams({ source: names[0], label: "red car", range: "7d" })}`,
    async step(page, round) {
      const slider = page.getByRole("slider").first();
      await slider.focus();
      const key = round % 8 < 4 ? "ArrowUp" : "ArrowDown";
      for (let press = 0; press < 3; press += 1) {
        await page.keyboard.press(key);
        await settled(page);
      }
      await drag(page, slider, round % 2 === 0 ? -24 : 24);
    },
  },
};

const service = await start(Object.fromEntries(names.map((name) => [name, ["objects"]])), { labels: { objects: LABELS }, before: fill });
const browser = await launch();
const feeding = feed();
try {
  const rows = [];
  for (const [name, { address, step }] of Object.entries(PAGES)) rows.push(await measure(name, address, step));
  console.log(`${options.sources} sources, ${options.days} days of scores, a frame every ${options.every} s, processor slowed down by ${options.throttle}\n`);
  console.log("| page | first content | interactions | median | 75th percentile | 98th percentile | longest | longest frame |");
  console.log("|---|---|---|---|---|---|---|---|");
  for (const row of rows) {
    const { name, firstMs, durations, frameMs } = row;
    const at = (share) => (durations.length === 0 ? "none" : text(percentile(durations, share)));
    console.log(`| ${name} | ${text(firstMs)} | ${durations.length} | ${at(0.5)} | ${at(0.75)} | ${at(0.98)} | ${at(1)} | ${text(frameMs)} |`);
  }
  const slow = rows.filter(({ durations }) => durations.length === 0 || percentile(durations, 0.75) > options.limit);
  if (options.limit > 0 && slow.length > 0) {
    console.error(`slower than ${options.limit} ms: ${slow.map(({ name }) => name).join(", ")}`);
    process.exitCode = 1;
  }
} finally {
  feeding.stop();
  await browser.close();
  await service.stop();
}

/** Writes the history that the service finds when it starts. */
async function fill(config) {
  const { stderr } = await promisify(execFile)(FILL_HISTORY, [config, String(options.days), String(options.every)], { maxBuffer: 1 << 20 });
  console.error(stderr.trim());
}

/** Gives each source a picture a second, until it is stopped. */
function feed() {
  let round = 0;
  let isBusy = false;
  const timer = setInterval(async () => {
    if (isBusy) return;
    isBusy = true;
    round += 1;
    const sample = (number) => SAMPLES[(number + round) % SAMPLES.length];
    await Promise.all(names.map((name, number) => service.put(name, sample(number), `${round}.jpg`))).catch(() => undefined);
    isBusy = false;
  }, 1_000);
  return { stop: () => clearInterval(timer) };
}

/** The durations of all interactions of a page. */
async function measure(name, address, step) {
  const visit = await visitor(browser, service, { viewport: WIDE, reducedMotion: "no-preference" });
  const { page } = visit;
  await page.addInitScript(observe, SHORTEST_MS);
  await signIn(visit, service);
  const session = await visit.context.newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: options.throttle });
  await open(visit, service, address);
  // From nothing: the measurement of a page begins with its own load.
  await page.reload();
  await ready(page);
  const firstMs = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0);
  for (let round = 0; round < options.rounds; round += 1) {
    await step(page, round);
    await settled(page);
  }
  await page.waitForTimeout(500);
  const { interactions, count, frameMs } = await page.evaluate(() => ({
    interactions: [...globalThis.interactions.values()],
    count: performance.interactionCount ?? 0,
    frameMs: globalThis.longestFrame,
  }));
  if (visit.faults.length > 0) console.error(`${name}: ${visit.faults.slice(0, 5).join("; ")}`);
  await visit.close();
  const unreported = Math.max(count - interactions.length, 0);
  const durations = [...interactions, ...Array(unreported).fill(SHORTEST_MS / 2)].sort((a, b) => a - b);
  return { name, firstMs, durations, frameMs };
}

/** Runs in the page: keeps the longest event of each interaction, and the longest frame. */
function observe(shortest) {
  globalThis.interactions = new Map();
  globalThis.longestFrame = 0;
  const events = (list) => {
    for (const { interactionId, duration } of list.getEntries()) {
      if (interactionId) globalThis.interactions.set(interactionId, Math.max(globalThis.interactions.get(interactionId) ?? 0, duration));
    }
  };
  new PerformanceObserver(events).observe({ type: "event", durationThreshold: shortest, buffered: true });
  const frames = (list) => {
    for (const { duration } of list.getEntries()) globalThis.longestFrame = Math.max(globalThis.longestFrame, duration);
  };
  new PerformanceObserver(frames).observe({ type: "long-animation-frame", buffered: true });
}

/** Waits until what was done is on the screen. */
async function settled(page) {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 30))));
}

/** Drags something up or down, in steps as a hand does. */
async function drag(page, handle, by) {
  const box = await handle.boundingBox();
  if (!box) return;
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  for (let part = 1; part <= 12; part += 1) await page.mouse.move(x, y + (by * part) / 12);
  await page.mouse.up();
}

function percentile(sorted, share) {
  return sorted[Math.min(Math.ceil(sorted.length * share), sorted.length) - 1] ?? sorted[0];
}

function text(milliseconds) {
  return `${Math.round(milliseconds)} ms`;
}

/** The options of the command line, with these defaults. */
function read(defaults) {
  const found = { ...defaults };
  const words = process.argv.slice(2);
  for (let at = 0; at < words.length; at += 2) {
    const name = words[at].replace(/^--/, "");
    const value = Number(words[at + 1]);
    if (!(name in defaults) || !Number.isFinite(value)) {
      console.error(`usage: node tools/measure.mjs ${Object.entries(defaults).map(([key, usual]) => `[--${key} ${usual}]`).join(" ")}`);
      process.exit(64);
    }
    found[name] = value;
  }
  return found;
}
