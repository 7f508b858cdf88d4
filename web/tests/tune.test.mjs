// The page Tune: the alerts of a level that is dragged, by mouse, finger and keyboard, are those of `stakeout replay --history --set`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { PHONE, launch, open, ready, signIn, tooWide, violations, visitor } from "./browser.mjs";
import { start, wait } from "./service.mjs";

const LABEL = { source: "yard", label_set: "objects", label: "red car" };
const ADDRESS = "tune?source=yard&set=objects&label=red%20car&range=1d";
let service, browser;

before(async () => {
  service = await start({ yard: ["objects"], shelf: ["toys"] });
  browser = await launch();
  // Pictures of the last half hour, one in ten seconds by their own times.
  const shown = ["empty-wall", "red-car", "red-car", "empty-wall", "green-tree", "blue-umbrella", "empty-wall", "red-car", "yellow-fish", "empty-wall"];
  const began = Date.now() - 1_800_000;
  for (const [number, sample] of [...shown, ...shown].entries()) {
    await service.put("yard", sample, `${String(number).padStart(3, "0")}.jpg`, new Date(began + number * 10_000));
    // Fewer than the queue of the history has room for.
    if (number % 8 === 7) await stored(number + 1);
  }
  await stored(2 * shown.length);
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
async function replayed(settings = {}) {
  const set = Object.entries(settings).flatMap(([key, value]) => ["--set", `objects/red car.${key}=${value}`]);
  const lines = (await service.command("replay", "--history", "--since", "1d", ...set)).trim().split("\n");
  const alerts = lines.filter(Boolean).map((line) => JSON.parse(line));
  const raised = alerts.filter((alert) => alert.source === "yard" && alert.label === "red car" && alert.state === "raised");
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
async function expectReplayed(page, more = {}) {
  await ready(page);
  const settings = { threshold: await valueOf(page), clear_below: await valueOf(page, "clear below"), ...more };
  assert.deepEqual(await shown(page), await replayed(settings), JSON.stringify(settings));
}

async function dragTo(page, score, name = "alert at") {
  const [box, plot] = [await pill(page, name).boundingBox(), await page.locator(".u-over").boundingBox()];
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x, y + 10, { steps: 3 });
  await page.mouse.move(x, plot.y + (1 - score) * plot.height, { steps: 12 });
  await page.mouse.up();
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
    assert.equal(await field.inputValue(), before);
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
  const marked = async () => (await service.ask("marks")).marks.map(({ captured_at, mark }) => `${captured_at} ${mark}`);
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

test("the suggestion has its reason, and one press tries it", async (t) => {
  const { page, expectNone } = await visit(t);
  const suggestion = page.getByRole("region", { name: "Suggestion" });
  const found = await service.ask("suggest", LABEL);
  await suggestion.getByText(found.reason.slice(1), { exact: false }).waitFor();
  const apply = suggestion.getByRole("button", { name: "Apply suggestion" });
  assert.equal(await apply.count(), found.settings ? 1 : 0);
  if (found.settings) {
    await apply.click();
    await ready(page);
    assert.equal(await valueOf(page), found.settings.threshold);
    await expectReplayed(page, { hold: found.settings.hold });
  }
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

test("a part of the time is in the address", async (t) => {
  const { page, expectNone } = await visit(t, { address: ADDRESS.replace("range=1d", "range=1h") });
  await pill(page).waitFor();
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
  assert.match(lines, /^label_sets:\n {2}objects:\n {4}labels:\n {6}red car:\n {8}threshold: 0\.\d+$/);
  assert.deepEqual(await violations(page), []);
  expectNone();
});

test("a save changes the configuration, which is in force then", async (t) => {
  const { page, expectNone } = await visit(t);
  await pill(page).waitFor();
  await pill(page).focus();
  await page.keyboard.press("ArrowDown");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved in stakeout.yaml").waitFor();
  const text = await readFile(service.config, "utf8");
  assert.match(text, /"red car": *\{[^}]*threshold[^}]*0\.74/);
  await wait("it is in force", async () => {
    const { labels } = await service.ask("scores", { ...LABEL, points: 1 });
    return labels[0].levels_now.set_threshold === 0.74;
  });
  expectNone();
});
