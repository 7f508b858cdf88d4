// The HTML reports of `replay` and `tune` in a browser: one file that works offline, with a chart that zooms.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { PHONE, WIDE, launch, painted, tooWide, violations } from "./browser.mjs";
import { start } from "./service.mjs";

let service, browser, reports;

before(async () => {
  service = await start({ yard: ["objects"] });
  browser = await launch();
  const folder = join(service.folder, "inbox", "day");
  await mkdir(folder);
  // Ten seconds apart: a red car twice, a green tree once.
  const day = ["empty-wall", "red-car", "red-car", "empty-corner", "orange-star", "green-tree", "empty-wall", "red-car", "empty-corner", "empty-wall"];
  const noon = new Date("2026-01-05T12:00:00Z").getTime();
  for (const [number, sample] of day.entries()) await service.put("day", sample, `${number}.jpg`, new Date(noon + number * 10_000));
  reports = { replay: join(service.folder, "replay.html"), tune: join(service.folder, "tune.html") };
  await service.command("replay", `--plot=${reports.replay}`, folder);
  await service.command("tune", "--report", reports.tune, folder);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** Opens a report without a network. */
async function opened(t, file, viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme, offline: true });
  t.after(() => context.close());
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => !/^(file|data):/.test(request.url()) && faults.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  return { page, faults };
}

for (const name of ["replay", "tune"]) {
  test(`the report of ${name} is readable on a phone and on a wide screen, light and dark`, async (t) => {
    const backgrounds = new Set();
    for (const [viewport, colours] of [[PHONE, "dark"], [WIDE, "light"]]) {
      const { page, faults } = await opened(t, reports[name], viewport, colours);
      await page.locator(".track .uplot canvas").first().waitFor();
      assert.equal(await page.locator(".timechart-plot > svg").count(), 0, "the chart replaces the drawing");
      assert.deepEqual(await tooWide(page), []);
      assert.deepEqual(await violations(page), []);
      assert.deepEqual(faults, []);
      backgrounds.add(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor));
    }
    assert.equal(backgrounds.size, 2, "it follows the colours of the system");
  });
}

test("a drag zooms, a button shows the whole time again, and a picture shows its moment", async (t) => {
  const { page, faults } = await opened(t, reports.replay, WIDE, "light");
  const track = page.locator(".track", { has: page.getByRole("heading", { name: "objects / red car" }) });
  const over = track.locator(".u-over");
  await over.waitFor();
  const whole = track.getByRole("button", { name: "Whole time" });
  assert.equal(await whole.isVisible(), false);
  await painted(page);
  const box = await over.boundingBox();
  await page.mouse.move(box.x + box.width * 0.2, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 5 });
  await page.mouse.up();
  await whole.waitFor();
  await whole.click();
  await whole.waitFor({ state: "hidden" });
  const pictures = track.locator(".thumbs").first().getByRole("button");
  assert.equal(await pictures.count(), 2, "the car was raised twice");
  await pictures.first().focus();
  await page.keyboard.press("Enter");
  await whole.waitFor();
  assert.match(await track.locator(".picture-score").first().textContent(), /^[01]\.\d\d$/);
  assert.deepEqual(faults, []);
});

test("the report of tune begins with now and suggested", async (t) => {
  const { page } = await opened(t, reports.tune, WIDE, "light");
  const first = page.locator(".track").first();
  assert.equal(await first.getByRole("heading").textContent(), "Now and suggested");
  const row = first.getByRole("row", { name: /red car/ });
  assert.match(await row.textContent(), /threshold 0\.75, 2 alerts/);
  await row.getByRole("link").click();
  await page.waitForURL(/#label-0$/);
});

test("without scripts the drawing is shown", async (t) => {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: WIDE });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(pathToFileURL(reports.replay).href);
  await page.getByText("objects / red car: raised 2 times").waitFor();
});
