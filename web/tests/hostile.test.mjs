// HTML in labels, and in the names of sources, files and topics, is text on every page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, ready, signIn, visitor } from "./browser.mjs";
import { HOSTILE, start, wait } from "./service.mjs";

/** The source that a topic with HTML becomes. */
const CAMERA = `cam ${HOSTILE.level}`;
/** The sources that have frames: without a broker, there is none from a topic. */
let seenSources;
let service, browser;

before(async () => {
  const sources = {
    [HOSTILE.source]: ["hostile"],
    [HOSTILE.absent]: { http: "http://127.0.0.1:9/a.jpg", every: "1m", watch: ["hostile"] },
    cameras: { mqtt: "cameras/+", name: "cam {1}", retained: true, watch: ["hostile"] },
  };
  service = await start(sources, { prefix: HOSTILE.prefix });
  browser = await launch();
  seenSources = [HOSTILE.source, ...(service.broker ? [CAMERA] : [])];
  await service.put(HOSTILE.source, "red-car", HOSTILE.file);
  if (service.broker) await service.publish(`cameras/${HOSTILE.level}`, "red-car");
  const alerts = await wait("alerts with planted names are remembered", async () => {
    const { alerts } = await service.ask("alerts");
    const found = seenSources.map((source) => alerts.find(({ alert }) => alert.source === source)?.alert);
    return found.every(Boolean) && found;
  });
  for (const { label, snapshot } of alerts) assert.ok(label === HOSTILE.label && snapshot.startsWith(HOSTILE.prefix), `${label}, ${snapshot}`);
  assert.ok(alerts[0].frame.origin.endsWith(HOSTILE.file), alerts[0].frame.origin);
  for (const source of seenSources) await service.stored(source, "hostile", HOSTILE.label);
  await wait("the frames can be searched", async () => (await service.ask("search", { text: "a red car" })).sources === seenSources.length);
  await wait("a source has a problem", async () => {
    const { sources } = await service.ask("sources");
    return sources.find(({ source }) => source === HOSTILE.absent).problem;
  });
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

async function visit(t) {
  const one = await visitor(browser, service);
  t.after(() => one.close());
  await signIn(one, service);
  return one;
}

/** Waits until this text can be seen; an option of a closed list cannot. */
const seen = (page, text) => page.getByText(text).filter({ visible: true }).first().waitFor();

/** Checks that nothing was made of the names, and nothing was run. */
async function expectNothing({ page, expectNone }, what) {
  const planted = await page.locator("img[src='x'], [onclick], [onerror], main script, main u, main s, main i, main b").count();
  assert.equal(planted, 0, `${what}: no element was made of a name`);
  expectNone(what);
}

test("planted names are shown as they are, and do nothing", async (t) => {
  const one = await visit(t);
  const tune = (source) => `tune?${new URLSearchParams({ source, set: "hostile", label: HOSTILE.label })}`;
  for (const [address, texts] of [
    ["live", [...seenSources, HOSTILE.absent, HOSTILE.label]],
    [`live?${new URLSearchParams({ source: HOSTILE.source })}`, [`hostile/${HOSTILE.label}`]],
    ["alerts", [...seenSources, HOSTILE.label]],
    ...seenSources.map((source) => [tune(source), [`${source} / ${HOSTILE.label}`]]),
    ["search?q=a+red+car", seenSources],
    ["system", [`source ${HOSTILE.absent}`]],
  ]) {
    await open(one, service, address);
    for (const text of texts) await seen(one.page, text);
    await ready(one.page);
    await expectNothing(one, address);
  }
});

test("the editor shows planted names as they are", async (t) => {
  const one = await visit(t);
  await open(one, service, "configuration");
  // The file has them as JSON, in lines of several elements.
  const lines = one.page.locator(".cm-line");
  for (const text of [HOSTILE.prefix, HOSTILE.label, HOSTILE.source, HOSTILE.absent]) {
    await lines.filter({ hasText: JSON.stringify(text) }).first().waitFor();
  }
  await expectNothing(one, "configuration");
});

test("the palette shows planted names as they are", async (t) => {
  const one = await visit(t);
  await one.page.keyboard.press("Control+k");
  const places = one.page.getByRole("option");
  await one.page.getByRole("combobox", { name: /^Page, source/ }).fill(HOSTILE.source);
  for (const text of [HOSTILE.source, `${HOSTILE.source} / ${HOSTILE.label}`]) await places.filter({ hasText: text }).first().waitFor();
  assert.equal(await one.page.locator("dialog").locator("u, s, i, b, img, script, [onclick]").count(), 0);
  await expectNothing(one, "palette");
});

test("the details of an alert show the name of its file as it is", async (t) => {
  const one = await visit(t);
  await open(one, service, `alerts?${new URLSearchParams({ source: HOSTILE.source, only: "alerts" })}`);
  await one.page.locator("li.entry").first().waitFor();
  await one.page.keyboard.press("j");
  await one.page.keyboard.press("Enter");
  await seen(one.page, HOSTILE.file);
  await ready(one.page);
  await expectNothing(one, "the details");
});
