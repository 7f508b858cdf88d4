// Makes the screenshots of the console for README and docs, with a real service, real pictures and a week of history:
// `npm run screenshots -- [FOLDER]`, by default all pages of both sizes and colours into a temporary folder. `--docs` writes the
// pictures of the documentation into docs/images/.

import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PAGES, PHONE, WIDE, launch, open, signIn, visitor } from "../tests/browser.mjs";
import { start, wait } from "../tests/service.mjs";

const DOCS = fileURLToPath(new URL("../../docs/images/", import.meta.url));
/** Each picture: its name, the address, the screen and the colours. */
const PICTURES = {
  "console-live": ["live", { width: 1280, height: 800 }, "dark"],
  "console-tune": ["tune?source=yard&label=red%20car&range=7d", { width: 1280, height: 800 }, "light"],
};
const HOUR = 3_600_000;
/** Hundreds of pictures are scored, by a program that may not be optimised. */
const PATIENCE = 900_000;
/** What is in view now. */
const SEEN = { "front-door": "blue-umbrella", yard: "red-car", garage: "empty-corner", inbox: "yellow-fish", barn: "green-tree" };
const EMPTY = ["empty-wall", "empty-corner", "orange-star", "black-key"];

const isForDocs = process.argv.includes("--docs");
const folder = isForDocs ? DOCS : (process.argv.slice(2).find((word) => !word.startsWith("-")) ?? (await mkdtemp(join(tmpdir(), "console-"))));
await mkdir(folder, { recursive: true });

const objects = { "red car": 0.75, "blue umbrella": 0.75, "green tree": 0.75, "yellow fish": 0.75 };
const service = await start(
  {
    "front-door": ["porch"],
    yard: ["yard"],
    garage: ["garage"],
    gate: { rtsp: "rtsp://127.0.0.1:9/stream2", watch: ["yard"] },
    inbox: ["inbox"],
    barn: ["barn"],
  },
  {
    labels: {
      porch: pick("blue umbrella", "red car"),
      yard: pick("red car", "green tree"),
      garage: pick("red car", "blue umbrella"),
      inbox: pick("yellow fish", "blue umbrella"),
      barn: pick("green tree", "yellow fish"),
    },
  },
);
const browser = await launch();
try {
  await fill();
  const pictures = isForDocs ? PICTURES : everyPage();
  for (const [name, [address, viewport, colorScheme]] of Object.entries(pictures)) {
    const visit = await visitor(browser, service, { viewport, colorScheme });
    await signIn(visit, service);
    await open(visit, service, address);
    // While no one looks, small pictures of a source are made rarely: these are made while its page is open.
    if (address === "live") for (const [source, sample] of Object.entries(SEEN)) await service.put(source, sample, `seen-${name}.jpg`);
    await visit.page.waitForFunction(() => !/Judging|Searching the stored/.test(document.body.innerText));
    // The stream of events stays open, so the network is never idle.
    await visit.page.waitForFunction(() => {
      for (const image of document.images) image.loading = "eager";
      return [...document.images].every((image) => image.complete);
    });
    await visit.page.waitForTimeout(5_000);
    await visit.page.screenshot({ path: join(folder, `${name}.png`), fullPage: !isForDocs });
    if (visit.faults.length > 0) console.error(`${name}: ${visit.faults.join("; ")}`);
    await visit.close();
  }
  console.error(`screenshots: ${folder}`);
} finally {
  await browser.close();
  await service.stop();
}

function pick(...names) {
  return Object.fromEntries(names.map((name) => [name, objects[name]]));
}

/** A week of pictures, with marks, and then what is in view now. */
async function fill() {
  const now = Date.now();
  let number = 0;
  for (let ago = 7 * 24; ago > 0; ago -= 2) {
    const at = new Date(now - ago * HOUR);
    // A car twice a day, sometimes far away; a star, a blue car or a heart by night.
    const view = ago % 14 === 4 ? "red-car" : ago % 30 === 8 ? "red-car-far-away" : ago % 26 === 12 ? "blue-car" : EMPTY[(ago * 7) % EMPTY.length];
    await service.put("yard", view, `${number++}.jpg`, at);
  }
  for (let ago = 60; ago >= 0; ago -= 3) {
    const at = new Date(Date.now() - ago * 1_000);
    for (const [source, sample] of Object.entries(SEEN)) {
      await service.put(source, ago < 6 ? sample : EMPTY[(ago + source.length) % EMPTY.length], `${number++}.jpg`, at);
    }
  }
  const raised = ["front-door", "yard", "inbox", "barn"];
  await wait("every picture is scored", async () => {
    const { sources } = await service.ask("sources");
    return raised.every((name) => sources.find(({ source }) => source === name)?.labels.some((label) => label.raised));
  }, PATIENCE);
  const { alerts } = await wait("the week is remembered", async () => {
    const answer = await service.ask("alerts", { source: "yard", limit: 40 });
    return answer.alerts.length > 8 && answer;
  });
  for (const [index, { alert }] of alerts.filter(({ alert }) => alert.state === "raised").entries()) {
    if (index % 3 !== 1) await service.ask("mark", {}, { id: alert.id, verdict: index % 4 === 0 ? "wrong" : "right" });
  }
}

function everyPage() {
  const pictures = {};
  for (const [size, viewport] of [["wide", WIDE], ["phone", PHONE]]) {
    for (const colours of ["light", "dark"]) {
      for (const page of PAGES) {
        const address = page === "tune" ? PICTURES["console-tune"][0] : page === "search" ? "search?q=a%20red%20car" : page;
        pictures[`${page}-${size}-${colours}`] = [address, viewport, colours];
      }
    }
  }
  return pictures;
}
