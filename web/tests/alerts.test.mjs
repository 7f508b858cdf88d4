// The page Alerts: one time line, filters in the address, judging with keys, and what arrives meanwhile.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, open, ready, signIn, toast, tooWide, violations, visitor } from "./browser.mjs";
import { start, wait } from "./service.mjs";

const SAMPLES = ["red-car", "green-tree", "blue-umbrella", "yellow-fish"];
let service, browser;
let shown = 0;

before(async () => {
  service = await start({ yard: ["objects"], shelf: ["toys"] });
  browser = await launch();
  for (let number = 0; number < 6; number += 1) await raise();
  await service.put("shelf", "pink-heart", "1.jpg");
  await listed(({ source }) => source === "shelf");
  await service.written();
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** The alerts that are judged with the keyboard alone. */
const HUNDRED = 100;

/** Shows the next picture in the yard, and waits until its alert is remembered, and all else that was observed. */
async function raise() {
  const sample = SAMPLES[shown % SAMPLES.length];
  const [before] = await entries({ source: "yard", only: "alerts", limit: 1 });
  await service.put("yard", sample, `${(shown += 1)}.jpg`);
  const alert = await listed((entry) => entry.source === "yard" && entry.id !== before?.id && entry.label === sample.replace("-", " "), before);
  // Near misses of the same frame would be listed seconds later.
  await service.written();
  return alert;
}

async function entries(query = {}) {
  return (await service.ask("timeline", query)).entries;
}

/** The newest alert that fits, once there is one that is newer than `before`. */
function listed(fits, before) {
  return wait("an alert is listed", async () => {
    const all = await entries({ only: "alerts" });
    const fresh = before ? all.slice(0, all.findIndex(({ id }) => id === before.id)) : all;
    return fresh.find(fits);
  });
}

async function visit(t, address = "alerts", ...options) {
  const one = await visitor(browser, service);
  t.after(() => one.close());
  await signIn(one, service, ...options);
  await open(one, service, address);
  return one;
}

const rows = (page) => page.locator("li.entry");
const selected = (page) => page.locator("li.entry[aria-current=true]");

/** Waits until these entries are the rows. */
const shows = (page, all) => eventually(async () => {
  assert.deepEqual(await rows(page).evaluateAll((elements) => elements.map(({ id }) => id)), all.map(({ id }) => `entry-${id}`));
});

/** Waits until an entry is the selected one. */
const expectSelected = (page, { id }, what) => eventually(async () => {
  assert.deepEqual(await selected(page).evaluateAll((elements) => elements.map((element) => element.id)), [`entry-${id}`], what);
});

test("the newest alerts are on top, with label, source, score and reason", async (t) => {
  const { page, expectNone } = await visit(t);
  const all = await entries();
  await shows(page, all);
  for (const [number, entry] of all.slice(0, 3).entries()) {
    const text = await rows(page).nth(number).innerText();
    for (const part of [entry.label, entry.source, entry.reason, entry.score.toFixed(2)]) assert.ok(text.includes(part), `${part} in ${text}`);
  }
  assert.equal(await page.locator(".entry-picture img").first().evaluate((image) => image.decode().then(() => image.naturalWidth > 0)), true);
  expectNone();
});

test("filters are in the address, and the address brings them back", async (t) => {
  const { page, expectNone } = await visit(t);
  await page.getByLabel("Source", { exact: true }).selectOption("shelf");
  await page.waitForURL(/#\/alerts\?source=shelf$/);
  const all = await entries({ source: "shelf" });
  assert.ok(all.length >= 1);
  await shows(page, all);
  for (const text of await rows(page).allInnerTexts()) assert.match(text, /shelf/);
  await page.reload();
  await ready(page);
  assert.equal(await page.getByLabel("Source", { exact: true }).inputValue(), "shelf");
  await page.getByLabel("Label", { exact: true }).selectOption("objects/red car");
  await page.getByText("Nothing fits these filters").waitFor();
  await page.goBack();
  await page.waitForURL(/#\/alerts\?source=shelf$/);
  expectNone();
});

test("alerts are judged with keys, and a verdict is taken back", async (t) => {
  const { page, expectNone } = await visit(t, "alerts?only=alerts&source=yard");
  const all = await entries({ source: "yard", only: "alerts" });
  await shows(page, all);
  const verdicts = async () => (await entries({ source: "yard", only: "alerts" })).map(({ mark }) => mark);
  const stored = (expected) => wait(`the verdicts are ${expected}`, async () => (await verdicts()).slice(0, expected.length).join() === expected.join());
  await page.keyboard.press("j");
  await expectSelected(page, all[0]);
  assert.match(await selected(page).innerText(), new RegExp(all[0].label));
  await page.keyboard.press("y");
  await page.keyboard.press("n");
  await page.keyboard.press("n");
  await stored(["right", "wrong", "wrong"]);
  await expectSelected(page, all[3], "the next one is selected");
  await page.keyboard.press("u");
  await stored(["right", "wrong", ""]);
  await page.keyboard.press("k");
  await expectSelected(page, all[1]);
  await rows(page).nth(1).getByRole("button", { name: "right" }).click();
  await stored(["right", "right", ""]);
  await page.locator(".counts").getByText("objects/").first().waitFor();

  // The marks as a file.
  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download marks" }).click();
  const download = await downloading;
  assert.match(download.suggestedFilename(), /^truth.*\.csv$/);
  const stream = await download.createReadStream();
  let text = "";
  for await (const part of stream) text += part;
  assert.ok(text.startsWith("label,start,end,source,label_set\n") && text.includes(`${all[0].label},${all[0].captured_at}`), text);
  expectNone();
});

test("a verdict that cannot be stored is shown and stored later", async (t) => {
  const one = await visit(t, "alerts?only=alerts&source=shelf");
  const { page } = one;
  await rows(page).first().waitFor();
  await page.route("**/api/v1/mark", (route) => route.abort());
  await page.keyboard.press("j");
  await page.keyboard.press("y");
  await page.getByText("1 verdict is not stored.").waitFor();
  await page.getByText("not stored", { exact: true }).waitFor();
  await page.unroute("**/api/v1/mark");
  one.forget();
  await page.getByRole("button", { name: "Try again" }).click();
  await wait("the verdict is stored", async () => (await entries({ source: "shelf", only: "alerts" }))[0].mark === "right");
  await page.getByText("1 verdict is not stored.").waitFor({ state: "detached" });
  one.expectNone();
});

test("what arrives is announced, and nothing moves until it is asked for", async (t) => {
  const { page, expectNone } = await visit(t, "alerts?source=yard");
  // Only what arrives while the page is connected is announced.
  await page.getByText("2 of 2 sources online").waitFor();
  const all = await entries({ source: "yard" });
  await shows(page, all);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await expectSelected(page, all[1]);
  const before = { id: await selected(page).getAttribute("id"), box: await selected(page).boundingBox() };
  const first = await rows(page).first().getAttribute("id");
  const alerts = [await raise(), await raise()];
  const button = page.getByRole("button", { name: "2 new" });
  await button.waitFor();
  assert.equal(await rows(page).first().getAttribute("id"), first);
  assert.deepEqual(await selected(page).boundingBox(), before.box);
  await button.click();
  await page.waitForFunction((id) => document.querySelector("li.entry")?.id === id, `entry-${alerts[1].id}`);
  await expectSelected(page, all[1], "the same entry is selected");
  expectNone();
});

test("Enter opens everything about an entry, and Escape closes it", async (t) => {
  const { page, expectNone } = await visit(t, "alerts?only=alerts&source=yard");
  const all = await entries({ source: "yard", only: "alerts" });
  const [newest] = all;
  await shows(page, all);
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(/entry=/);
  const sheet = page.getByRole("dialog");
  await sheet.getByText("All labels of this frame").waitFor();
  const { labels } = await service.ask("entry", { id: newest.id });
  const text = await sheet.innerText();
  for (const label of labels) assert.ok(text.includes(label.label) && text.includes(label.score.toFixed(2)), `${label.label} in ${text}`);
  for (const part of [newest.reason, newest.id, "bundled"]) assert.ok(text.includes(part), part);
  // The address opens it, too.
  await page.reload();
  await sheet.getByText("All labels of this frame").waitFor();
  await ready(page);
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  await sheet.waitFor({ state: "detached" });
  await page.waitForURL((url) => !url.hash.includes("entry="));
  expectNone();
});

test("long lists load more, and no entry is missing or doubled", async (t) => {
  const { page, expectNone } = await visit(t);
  // The service answers in small parts.
  await page.route("**/api/v1/timeline?*", (route) => {
    const url = new URL(route.request().url());
    url.searchParams.set("limit", "3");
    return route.continue({ url: url.href });
  });
  await page.reload();
  const all = await entries();
  await page.waitForFunction(
    (count) => {
      document.querySelector(".older button")?.scrollIntoView();
      return document.querySelectorAll("li.entry").length >= count;
    },
    all.length,
  );
  await shows(page, all);
  expectNone();
});

test("who may only look cannot mark", async (t) => {
  const { page, expectNone } = await visit(t, "alerts", "--view");
  await rows(page).first().waitFor();
  assert.equal(await page.getByRole("button", { name: "✓ right" }).count(), 0);
  await page.keyboard.press("j");
  await page.keyboard.press("y");
  await toast(page, "You may look and not mark");
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(await tooWide(page), []);
  expectNone();
});

test("verdicts in quick succession are all stored", async (t) => {
  const { page, expectNone } = await visit(t, "alerts?source=yard&only=alerts");
  const all = await entries({ source: "yard", only: "alerts" });
  await shows(page, all);
  await page.keyboard.press("j");
  const verdicts = all.map((_, number) => (number % 3 === 1 ? "wrong" : "right"));
  for (const verdict of verdicts) await page.keyboard.press(verdict === "right" ? "y" : "n");
  await wait("all verdicts are stored", async () => {
    const now = await entries({ source: "yard", only: "alerts" });
    return now.map(({ mark }) => mark).join() === verdicts.join();
  });
  // All are marked, so nothing is left without a mark.
  await page.getByRole("button", { name: "unmarked only" }).click();
  await page.getByText("Nothing fits these filters").waitFor();
  expectNone();
});

test("a hundred alerts are judged with one key for each", async (t) => {
  const many = await start({ yard: ["objects"] });
  t.after(() => many.stop());
  const alerts = async () => (await many.ask("timeline", { only: "alerts", limit: 2 * HUNDRED })).entries;
  // Each picture shows another thing than the one before, and raises its label.
  const began = Date.now() - HUNDRED * 1_000;
  for (let number = 0; number < HUNDRED; number += 1) {
    await many.put("yard", SAMPLES[number % SAMPLES.length], `${String(number).padStart(3, "0")}.jpg`, new Date(began + number * 1_000));
    // Fewer than the queue of the history has room for.
    if (number % 8 < 7 && number < HUNDRED - 1) continue;
    await wait(`${number + 1} alerts`, async () => (await alerts()).length >= number + 1);
  }
  const all = await alerts();
  assert.equal(all.length, HUNDRED);

  const one = await visitor(browser, many);
  t.after(() => one.close());
  await signIn(one, many);
  await open(one, many, "alerts?only=alerts");
  const { page } = one;
  let keys = 0;
  const press = async (key) => {
    keys += 1;
    await page.keyboard.press(key);
  };
  /** Waits until an entry is selected, and the one behind it is in the list: the page loads older ones before they are needed. */
  const reached = (number) =>
    page.waitForFunction(
      ([selected, next]) => document.getElementById(selected)?.getAttribute("aria-current") === "true" && (!next || document.getElementById(next)),
      [`entry-${all[number].id}`, all[number + 1] && `entry-${all[number + 1].id}`],
    );
  await rows(page).first().waitFor();
  // This key only selects the first alert.
  await press("j");
  const verdicts = all.map((_, number) => (number % 3 === 1 ? "wrong" : "right"));
  for (const [number, verdict] of verdicts.entries()) {
    await reached(number);
    await press(verdict === "right" ? "y" : "n");
  }
  assert.equal(keys, 1 + HUNDRED);

  await wait("all verdicts are stored", async () => (await alerts()).map(({ mark }) => mark).join() === verdicts.join());
  const { counts, marks } = await many.ask("marks", { limit: 2 * HUNDRED });
  assert.equal(marks.length, HUNDRED);
  assert.equal(counts.length, SAMPLES.length);
  for (const { label_set, label, right, wrong } of counts) {
    const own = verdicts.filter((_, number) => all[number].label === label);
    const expected = { right: own.filter((verdict) => verdict === "right").length, wrong: own.filter((verdict) => verdict === "wrong").length };
    assert.deepEqual({ right, wrong }, expected, label);
    const chip = page.locator(".counts li").filter({ hasText: `${label_set}/${label}` });
    await chip.getByText(`: ${right} marks right, ${wrong} wrong`).waitFor({ state: "attached" });
  }
  one.expectNone();
});

test("Today becomes a day of the week at midnight", async (t) => {
  const [newest] = await entries({ limit: 1 });
  // Where no day has 23 or 25 hours, and at noon: the next midnight is that of the test.
  const one = await visitor(browser, service, { timezoneId: "UTC" });
  t.after(() => one.close());
  const { page } = one;
  await page.clock.install({ time: new Date(`${newest.captured_at.slice(0, 10)}T12:00:00Z`) });
  await signIn(one, service);
  await open(one, service, "alerts");
  const heading = page.locator(".day h2").first();
  await page.getByRole("heading", { level: 2, name: "Today", exact: true }).waitFor();
  await page.clock.fastForward(86_400_000);
  const day = await page.evaluate((at) => `${new Date(at).toLocaleDateString("en", { weekday: "short" })} ${new Date(at).getDate()}`, newest.captured_at);
  await eventually(async () => assert.equal(await heading.textContent(), day));
  assert.equal(await page.getByRole("heading", { level: 2, name: "Today", exact: true }).count(), 0);
  one.expectNone();
});
