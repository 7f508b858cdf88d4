// The page Tune: the alerts of a level that is dragged, by mouse, finger and keyboard, are those of `stakeout replay --history --set`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { PHONE, eventually, launch, open, painted, ready, signIn, toast, tooWide, violations, visitor } from "./browser.mjs";
import { start, wait } from "./service.mjs";

const LABEL = { source: "yard", label_set: "objects", label: "red car" };
const ADDRESS = "tune?source=yard&set=objects&label=red%20car&range=1d";
/** The green tree has a clear level that is equal to its threshold. The blue umbrella has a threshold that no suggestion keeps. */
const LABELS = {
  objects: { "red car": 0.75, "green tree": { threshold: 0.75, clear_below: 0.75 }, "blue umbrella": 0.9995, "yellow fish": 0.75 },
  toys: { "pink heart": 0.75, "purple mug": 0.75 },
};
/** The pictures, one in ten seconds by their own times. */
const SAMPLES = ["empty-wall", "red-car", "red-car", "empty-wall", "green-tree", "blue-umbrella", "empty-wall", "red-car", "yellow-fish", "empty-wall"];
const ROUNDS = 2;
const began = Date.now() - 1_800_000;
const timeOf = (number) => new Date(began + number * 10_000);
let service, browser;

before(async () => {
  service = await start({ yard: ["objects"], shelf: ["toys"] }, { labels: LABELS });
  browser = await launch();
  const shown = Array.from({ length: ROUNDS }, () => SAMPLES).flat();
  for (const [number, sample] of shown.entries()) {
    await service.put("yard", sample, `${String(number).padStart(3, "0")}.jpg`, timeOf(number));
    // Fewer than the queue of the history has room for.
    if (number % 8 === 7) await stored(number + 1);
  }
  await stored(shown.length);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** Waits until this number of frames is stored. */
function stored(count) {
  return wait(`${count} frames are stored`, async () => {
    const found = await service.ask("rejudge", LABEL).catch(() => ({ scores: 0 }));
    return found.scores === count;
  });
}

/** When `replay --history` raises the label with these settings, the newest first. */
async function replayed(settings = {}, label = LABEL.label) {
  const set = Object.entries(settings).flatMap(([key, value]) => ["--set", `objects/${label}.${key}=${value}`]);
  const lines = (await service.command("replay", "--history", "--since", "1d", ...set)).trim().split("\n");
  const alerts = lines.filter(Boolean).map((line) => JSON.parse(line));
  const raised = alerts.filter((alert) => alert.source === "yard" && alert.label === label && alert.state === "raised");
  return raised.map((alert) => alert.frame.captured_at).reverse();
}

async function visit(t, { address = ADDRESS, options = [], ...rest } = {}) {
  const one = await visitor(browser, service, rest);
  t.after(() => one.close());
  await signIn(one, service, ...options);
  await open(one, service, address);
  return one;
}

const pill = (page, name = "alert at") => page.getByRole("slider", { name });
const valueOf = async (page, name) => Number(await pill(page, name).getAttribute("aria-valuenow"));

/** The times of the pictures, once the page shows the answer to the present settings. */
async function shown(page) {
  await ready(page);
  const times = await page.locator(".tried:not(:has(.tag-plain)) time").evaluateAll((all) => all.map((time) => time.dateTime));
  return times.map((time) => new Date(time).toISOString());
}

/** Checks that the page shows the alerts of `replay` with the levels of its pills. */
async function expectReplayed(page, more = {}, label = LABEL.label) {
  await ready(page);
  const settings = { threshold: await valueOf(page), clear_below: await valueOf(page, "clear below"), ...more };
  assert.deepEqual(await shown(page), await replayed(settings, label), JSON.stringify(settings));
}

async function dragTo(page, score, name = "alert at") {
  // Nothing of the page moves any more.
  await ready(page);
  const [box, plot] = [await pill(page, name).boundingBox(), await page.locator(".u-over").boundingBox()];
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x, y + 10, { steps: 3 });
  await page.mouse.move(x, plot.y + (1 - score) * plot.height, { steps: 12 });
  await page.mouse.up();
  await painted(page);
}

test("at first the alerts are those of the service", async (t) => {
  const { page, expectNone } = await visit(t);
  await pill(page).waitFor();
  assert.equal(await valueOf(page), 0.75);
  const alerts = await replayed();
  assert.ok(alerts.length >= 2, "the car was seen");
  assert.deepEqual(await shown(page), alerts);
  assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "yard / red car");
  assert.equal(await page.getByRole("button", { name: "Save", exact: true }).isDisabled(), true, "nothing is tried");
  expectNone();
});

test("a label without scores says so, and the service is not asked what it would refuse", async (t) => {
  const { page, expectNone } = await visit(t, { address: "tune?source=shelf&set=toys&label=pink%20heart&range=1d" });
  await page.getByText("No scores of pink heart on shelf are stored for the last day.").first().waitFor();
  for (const [range, words] of [["30 d", "last 30 days"], ["1 h", "last hour"]]) {
    await page.getByRole("button", { name: range, exact: true }).click();
    await page.getByText(`No scores of pink heart on shelf are stored for the ${words}.`).first().waitFor();
  }
  await ready(page);
  assert.equal(await page.getByRole("slider").count(), 0);
  assert.equal(await page.getByRole("button", { name: "Save", exact: true }).isDisabled(), true);
  assert.deepEqual(await violations(page), []);
  // The browser reports each refused request.
  expectNone();
});

test("a level that is dragged has the alerts of replay", async (t) => {
  const { page, expectNone } = await visit(t);
  await pill(page).waitFor();
  for (const score of [0.2, 0.05, 0.9]) {
    await dragTo(page, score);
    assert.ok(Math.abs((await valueOf(page)) - score) <= 0.03, `${await valueOf(page)} is near ${score}`);
    await expectReplayed(page);
  }
  await dragTo(page, 0.3);
  await dragTo(page, 0.1, "clear below");
  assert.ok((await valueOf(page, "clear below")) < (await valueOf(page)));
  await expectReplayed(page);
  await page.getByRole("button", { name: "Revert" }).click();
  await ready(page);
  assert.equal(await valueOf(page), 0.75);
  assert.deepEqual(await shown(page), await replayed());
  expectNone();
});

test("a level that is moved with the keyboard has the alerts of replay", async (t) => {
  const { page, expectNone } = await visit(t);
  await pill(page).waitFor();
  await pill(page).focus();
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const steps = [
    [["ArrowDown"], 0.74],
    [["Shift+ArrowDown", "Shift+ArrowDown"], 0.54],
    [["ArrowUp", "ArrowRight", "ArrowLeft"], 0.55],
    [["Home"], 0.01],
    [["End"], 1],
    [["PageDown", "Shift+ArrowDown"], 0.8],
  ];
  for (const [keys, expected] of steps) {
    await press(...keys);
    await painted(page);
    assert.equal(await valueOf(page), expected, keys.join(" "));
    assert.equal(await pill(page).getAttribute("aria-valuetext"), `alert at ${expected.toFixed(2)}`);
    await expectReplayed(page);
  }
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("role")), "slider", "the focus stays");
  expectNone();
});

test("hold, for, cooldown and active are tried, too", async (t) => {
  const { page, expectNone, forget } = await visit(t);
  await pill(page).waitFor();
  for (const [name, value] of [["hold", "2 of 2"], ["cooldown", "1h"], ["for", "5s"], ["active", "00:00-00:01 UTC"]]) {
    const field = page.getByLabel(name, { exact: true });
    const before = await field.inputValue();
    await field.fill(value);
    await field.press("Enter");
    await ready(page);
    await expectReplayed(page, { [name]: value });
    await page.getByRole("button", { name: "Revert" }).click();
    await ready(page);
    await eventually(async () => assert.equal(await field.inputValue(), before));
    await painted(page);
  }
  const hold = page.getByLabel("hold", { exact: true });
  await hold.fill("3");
  await hold.press("Enter");
  await page.getByText("did you mean `3 of 3`?").waitFor();
  // The browser reports the refused request.
  forget();
  await hold.fill("1 of 1");
  await hold.press("Enter");
  await page.getByText("did you mean `3 of 3`?").waitFor({ state: "detached" });
  expectNone();
});

test("alerts are marked with keys, new ones as well, and verdicts are taken back", async (t) => {
  const { page, expectNone } = await visit(t);
  await pill(page).waitFor();
  await dragTo(page, 0.02);
  await ready(page);
  const [first, second] = await shown(page);
  const status = page.locator(".tune-answer [role=status]");
  const marked = async () => (await service.ask("marks")).marks.filter(({ label }) => label === LABEL.label).map(({ captured_at, mark }) => `${captured_at} ${mark}`);
  await page.locator("body").press("j");
  await page.locator("body").press("y");
  await wait("the first is right", async () => (await marked()).includes(`${first} right`));
  await page.locator("body").press("n");
  await wait("the second is wrong", async () => (await marked()).includes(`${second} wrong`));
  await wait("the sentence counts", async () => (await status.textContent()).includes("1 right, 1 wrong"));
  await page.locator("body").press("u");
  await page.locator("body").press("u");
  await wait("nothing is marked", async () => (await marked()).length === 0);
  await wait("the sentence counts", async () => (await status.textContent()).includes("0 right, 0 wrong"));
  expectNone();
});

/** The marks of the label, the newest moments first. */
async function marksOf(label = LABEL.label) {
  const { marks } = await service.ask("marks");
  return marks.filter((one) => one.label === label).map(({ captured_at, mark }) => `${captured_at} ${mark}`);
}

test("a key that is held judges one alert, and what is right stays right", async (t) => {
  const { entries } = await service.ask("timeline", { source: "yard", label: "objects/red car", only: "alerts" });
  assert.ok(entries.length >= 3, `${entries.length} alerts`);
  const [first, second] = entries;
  await service.ask("mark", {}, { id: first.id, verdict: "right" });
  const { page, expectNone } = await visit(t);
  await pill(page).waitFor();
  await ready(page);
  assert.equal((await shown(page))[0], first.captured_at);
  await page.locator("body").press("j");
  for (let repeats = 0; repeats < 10; repeats += 1) await page.keyboard.down("y");
  await page.keyboard.up("y");
  await page.locator("body").press("n");
  await wait("the second is wrong", async () => (await marksOf()).includes(`${second.captured_at} wrong`));
  assert.deepEqual(await marksOf(), [`${first.captured_at} right`, `${second.captured_at} wrong`]);
  // Both verdicts are taken back: the newest with the key, the other one with its button.
  await page.locator("body").press("u");
  await page.locator(".tried").first().getByRole("button", { name: "right" }).click();
  await wait("nothing is marked", async () => (await marksOf()).length === 0);
  expectNone();
});

test("a verdict that cannot be stored is shown and stored later", async (t) => {
  const { page, forget, expectNone } = await visit(t);
  await pill(page).waitFor();
  await ready(page);
  await page.route("**/api/v1/mark", (route) => route.abort());
  await page.locator("body").press("j");
  await page.locator("body").press("y");
  await page.getByText("1 verdict is not stored.").waitFor();
  await page.locator(".tried").first().getByText("not stored", { exact: true }).waitFor();
  await page.unroute("**/api/v1/mark");
  // The browser reports the failed request.
  forget();
  await page.getByRole("button", { name: "Try again" }).click();
  await wait("the verdict is stored", async () => (await marksOf()).length === 1);
  await page.getByText("1 verdict is not stored.").waitFor({ state: "detached" });
  await page.locator("body").press("u");
  await wait("nothing is marked", async () => (await marksOf()).length === 0);
  expectNone();
});

test("the suggestion has its reason, and one press tries it", async (t) => {
  const umbrella = { ...LABEL, label: "blue umbrella" };
  // It is marked where it is in view.
  for (let round = 0; round < ROUNDS; round += 1) {
    const at = timeOf(round * SAMPLES.length + SAMPLES.indexOf("blue-umbrella")).toISOString();
    await service.ask("mark", {}, { source: "yard", label: "objects/blue umbrella", at, verdict: "right" });
  }
  const found = await service.ask("suggest", umbrella);
  assert.ok(found.settings && found.settings.threshold < 0.9995, `there is another threshold: ${JSON.stringify(found)}`);
  const { page, expectNone } = await visit(t, { address: ADDRESS.replace("red%20car", "blue%20umbrella") });
  await pill(page).waitFor();
  const suggestion = page.getByRole("region", { name: "Suggestion" });
  await suggestion.getByText(found.reason.slice(1), { exact: false }).waitFor();
  await suggestion.getByRole("button", { name: "Apply suggestion" }).click();
  await ready(page);
  // The axis has two digits.
  assert.equal(await valueOf(page), Number(found.settings.threshold.toFixed(2)));
  assert.equal(await valueOf(page, "clear below"), Number(found.settings.clear_below.toFixed(2)));
  assert.equal((await shown(page)).length, ROUNDS, "it alerts once in each round");
  await expectReplayed(page, { ...found.settings }, umbrella.label);
  expectNone();
});

test("where nothing better is suggested, there is nothing to apply", async (t) => {
  const { page, expectNone } = await visit(t, { address: "tune?source=shelf&set=toys&label=pink%20heart&range=1d" });
  const found = await service.ask("suggest", { source: "shelf", label_set: "toys", label: "pink heart" });
  assert.equal(found.settings, null);
  const suggestion = page.getByRole("region", { name: "Suggestion" });
  await suggestion.getByText(found.reason.slice(1), { exact: false }).waitFor();
  assert.equal(await suggestion.getByRole("button", { name: "Apply suggestion" }).count(), 0);
  expectNone();
});

test("other words are a second line", async (t) => {
  const { page, expectNone } = await visit(t);
  await page.getByRole("button", { name: "Try other words on last day" }).click();
  await page.getByLabel("Other words").fill("a green tree in the snow");
  await page.getByLabel("Other words").press("Enter");
  await page.getByText("The red line has the scores of these words").waitFor();
  await page.getByRole("button", { name: "Remove red car" }).click();
  await page.getByRole("button", { name: "Try these words" }).click();
  await ready(page);
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByRole("button", { name: "Try other words on last day" }).waitFor();
  expectNone();
});

test("words that are closed before their answer are given up", async (t) => {
  const { page, expectNone } = await visit(t);
  // The answer never arrives.
  await page.route("**/api/v1/try_words", () => {});
  const isIt = (request) => request.url().endsWith("/try_words");
  const asked = page.waitForRequest(isIt);
  await page.getByRole("button", { name: "Try other words on last day" }).click();
  await page.getByLabel("Other words").fill("a green tree in the snow");
  await page.getByLabel("Other words").press("Enter");
  await asked;
  const givenUp = page.waitForEvent("requestfailed", isIt);
  await page.getByRole("button", { name: "Close" }).click();
  await givenUp;
  // Another attempt begins afresh.
  await page.unroute("**/api/v1/try_words");
  await page.getByRole("button", { name: "Try other words on last day" }).click();
  await page.getByRole("button", { name: "Try these words" }).click();
  await page.getByText("The red line has the scores of these words").waitFor();
  expectNone();
});

test("a part of the time is in the address", async (t) => {
  const { page, expectNone } = await visit(t, { address: ADDRESS.replace("range=1d", "range=1h") });
  await pill(page).waitFor();
  await ready(page);
  const plot = await page.locator(".u-over").boundingBox();
  await page.mouse.move(plot.x + plot.width * 0.3, plot.y + 40);
  await page.mouse.down();
  await page.mouse.move(plot.x + plot.width * 0.8, plot.y + 44, { steps: 6 });
  await page.mouse.up();
  await page.waitForURL(/from=\d+&to=\d+/);
  await page.reload();
  await ready(page);
  await page.getByRole("button", { name: "Show the whole time" }).click();
  await page.waitForURL((url) => !url.hash.includes("from="));
  expectNone();
});

test("on a phone the chart is low, and the settings are a sheet", async (t) => {
  const { page, expectNone } = await visit(t, { viewport: PHONE, hasTouch: true });
  await pill(page).waitFor();
  assert.equal(await page.locator(".timechart-plot").evaluate((box) => box.clientHeight), 220);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("dialog", { name: "Settings" }).waitFor();
  assert.deepEqual(await tooWide(page), []);
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog", { name: "Settings" }).waitFor({ state: "detached" });
  await ready(page);
  // A finger on the pill.
  const [box, plot] = [await pill(page).boundingBox(), await page.locator(".u-over").boundingBox()];
  const touch = await page.context().newCDPSession(page);
  const at = (y) => [{ x: box.x + box.width / 2, y }];
  await touch.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: at(box.y + box.height / 2) });
  for (let step = 1; step <= 8; step += 1) {
    const y = box.y + box.height / 2 + (plot.height * 0.4 * step) / 8;
    await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(y) });
  }
  await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  await painted(page);
  assert.ok((await valueOf(page)) < 0.6, `${await valueOf(page)}`);
  await expectReplayed(page);
  expectNone();
});

test("who may only look sees the alerts, and the lines to paste", async (t) => {
  const { page, expectNone } = await visit(t, { options: ["--view"] });
  await pill(page).waitFor();
  await dragTo(page, 0.4);
  await ready(page);
  assert.equal(await page.locator(".tried-verdicts").count(), 0);
  await page.getByRole("button", { name: "Save", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Lines to paste" });
  await dialog.waitFor();
  const lines = await dialog.locator("pre").textContent();
  // Both levels: what the file names is not known to the page.
  assert.match(lines, /^label_sets:\n {2}objects:\n {4}labels:\n {6}red car:\n {8}threshold: (0\.\d+)\n {8}clear_below: \1$/);
  assert.deepEqual(await violations(page), []);
  expectNone();
});

test("a save changes the configuration, which is in force then", async (t) => {
  const { page, expectNone } = await visit(t);
  await pill(page).waitFor();
  await pill(page).focus();
  await page.keyboard.press("ArrowDown");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await toast(page, "Saved in stakeout.yaml");
  const text = await readFile(service.config, "utf8");
  assert.match(text, /"red car": *\{[^}]*threshold[^}]*0\.74/);
  assert.doesNotMatch(text, /"red car": *\{[^}]*clear_below/, "the clear level still follows the threshold");
  await wait("it is in force", async () => {
    const { labels } = await service.ask("scores", { ...LABEL, points: 1 });
    return labels[0].levels_now.set_threshold === 0.74;
  });
  expectNone();
});

test("a clear level that the file names is saved as the page shows it", async (t) => {
  const { page, expectNone } = await visit(t, { address: ADDRESS.replace("red%20car", "green%20tree") });
  await pill(page).waitFor();
  await pill(page).focus();
  // Above the clear level of the file, which would stay; and below it, which would be refused.
  for (const [key, expected] of [["ArrowUp", 0.76], ["PageDown", 0.66]]) {
    await page.keyboard.press(key);
    await ready(page);
    assert.deepEqual([await valueOf(page), await valueOf(page, "clear below")], [expected, expected]);
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await wait(`${expected} is in force`, async () => {
      const { labels } = await service.ask("scores", { ...LABEL, label: "green tree", points: 1 });
      const { set_threshold, set_clear_below } = labels[0].levels_now;
      return set_threshold === expected && set_clear_below === expected;
    });
    assert.match(await readFile(service.config, "utf8"), new RegExp(`"green tree": *\\{[^}]*"clear_below": ${expected}`));
    await pill(page).focus();
  }
  expectNone();
});
