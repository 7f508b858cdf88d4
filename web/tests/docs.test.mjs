// The documentation: every page in each size and each colour, the search, and the same from a folder without a service.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { PHONE, WIDE, launch, tooWide, violations, visitor } from "./browser.mjs";
import { CONTENTS } from "../contents.mjs";
import { buildDocs } from "../docs.mjs";
import { start } from "./service.mjs";

let service, browser, folder, assets;

before(async () => {
  assets = await buildDocs();
  folder = await mkdtemp(join(tmpdir(), "stakeout-docs-"));
  for (const [name, bytes] of assets) await writeFile(join(folder, name), bytes);
  service = await start({ yard: ["objects"] });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await service?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

const names = () => [...assets.keys()].filter((name) => name.endsWith(".html"));

/** Opens a page, and waits until everything of it is loaded. */
async function load(visit, address) {
  const answer = await visit.page.goto(address);
  assert.ok(!answer || answer.ok() || answer.status() === 304, `${address}: ${answer?.status()}`);
  await visit.page.locator("main h1").first().waitFor();
}

for (const [size, viewport] of [["a phone", PHONE], ["a wide screen", WIDE]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`every page on ${size}, ${colorScheme}`, async (t) => {
      const visit = await visitor(browser, service, { viewport, colorScheme });
      t.after(() => visit.close());
      assert.ok(names().length > CONTENTS.flatMap(([, group]) => group).length, "all pages, and the search");
      for (const name of names()) {
        await load(visit, `${service.url}/docs/${name}`);
        assert.deepEqual(await tooWide(visit.page), [], `${name} has no horizontal scrolling`);
        assert.deepEqual(await violations(visit.page), [], `${name} is accessible`);
        visit.expectNone(name);
      }
    });
  }
}

test("the documentation needs no sign-in, and is that of the sources", async () => {
  for (const [name, bytes] of assets) {
    const answer = await fetch(`${service.url}/docs/${name}`);
    assert.equal(answer.status, 200, name);
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(bytes), `${name}: run npm run build`);
  }
  const { status, headers } = await fetch(`${service.url}/docs`, { redirect: "manual" });
  assert.deepEqual([status, headers.get("location")], [307, "docs/"]);
});

test("pictures are shown, and drawings keep their colours", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  for (const name of ["index.html", "how-it-works.html", "console.html", "fleet.html"]) {
    await load(visit, `${service.url}/docs/${name}`);
    const broken = await visit.page.evaluate(async () => {
      const pictures = [...document.images];
      for (const picture of pictures) picture.loading = "eager";
      await Promise.all(pictures.map((picture) => picture.decode().catch(() => undefined)));
      return pictures.filter((picture) => picture.naturalWidth === 0).map((picture) => picture.src);
    });
    assert.deepEqual(broken, [], name);
  }
  // The policy of the answer must not take the styles from a drawing: its background would be black.
  await load(visit, `${service.url}/docs/how-it-works.html`);
  const colour = await visit.page.evaluate(async () => {
    const picture = document.images[0];
    picture.loading = "eager";
    await picture.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    return [...context.getImageData(canvas.width - 30, canvas.height - 8, 1, 1).data];
  });
  assert.deepEqual(colour, [255, 255, 255, 255]);
  visit.expectNone();
});

for (const place of ["the service", "a folder"]) {
  test(`words are found, from ${place}`, async (t) => {
    const visit = await visitor(browser, service);
    t.after(() => visit.close());
    const { page } = visit;
    const base = place === "a folder" ? `file://${folder}` : `${service.url}/docs`;
    await load(visit, `${base}/index.html`);
    assert.equal(await page.locator("#console").isVisible(), place === "the service");
    // `/` goes to the search.
    await page.keyboard.press("/");
    await page.keyboard.type("cooldown");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Search", level: 1 }).waitFor();
    const results = page.locator("#results li");
    await results.first().waitFor();
    assert.match(await page.locator("#found").textContent(), /^\d+ sections? for "cooldown"$/);
    assert.ok((await page.locator("#results mark").first().textContent()).toLowerCase().startsWith("cooldown"));
    // Results follow what is typed, and the address keeps it.
    await page.getByRole("searchbox").fill("no such word at all qqqq");
    await page.getByRole("searchbox").fill("qqqqzzzz");
    await page.getByText(/Nothing was found for "qqqqzzzz"/).waitFor();
    if (place === "the service") await page.waitForURL(/q=qqqqzzzz/);
    await page.getByRole("searchbox").fill("zone for hours");
    await results.getByRole("link", { name: "Hours and days" }).first().click();
    await page.waitForURL(/rules\.html#hours-and-days$/);
    assert.ok(await page.locator("#hours-and-days").isVisible());
    visit.faults.splice(0, visit.faults.length, ...visit.faults.filter((fault) => place !== "a folder" || !fault.startsWith("a request to file:")));
    visit.expectNone(place);
  });
}

test("the colours are those that the console remembers", async (t) => {
  const visit = await visitor(browser, service, { colorScheme: "light" });
  t.after(() => visit.close());
  await load(visit, `${service.url}/docs/`);
  const background = () => visit.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await visit.page.evaluate(() => localStorage.setItem("stakeout.theme", "dark"));
  await visit.page.reload();
  await visit.page.getByRole("button", { name: "Colours: dark. Change to as the system" }).waitFor();
  assert.notEqual(await background(), light);
  await visit.page.getByRole("button", { name: /^Colours/ }).click();
  await visit.page.getByRole("button", { name: "Colours: as the system. Change to light" }).waitFor();
  assert.equal(await background(), light);
});

test("everything is reached with the keyboard, and without JavaScript", async (t) => {
  const visit = await visitor(browser, service, { viewport: PHONE, javaScriptEnabled: false });
  t.after(() => visit.close());
  await visit.page.goto(`${service.url}/docs/rules.html`);
  await visit.page.getByRole("link", { name: "Contents" }).click();
  await visit.page.locator("#contents").getByRole("link", { name: "Which threshold?" }).click();
  await visit.page.waitForURL(/tuning\.html$/);
  await visit.page.getByRole("searchbox").fill("rise");
  await visit.page.getByRole("searchbox").press("Enter");
  await visit.page.waitForURL(/search\.html\?q=rise$/);
});

test("excerpts", async () => {
  const entry = fileURLToPath(new URL("../src/docs/find.ts", import.meta.url));
  const built = await esbuild.build({ entryPoints: [entry], bundle: true, format: "esm", write: false });
  const { Index, excerpt } = await import(`data:text/javascript;base64,${Buffer.from(built.outputFiles[0].text).toString("base64")}`);
  const shown = (text, terms) => excerpt(text, terms).map((piece) => (piece.isTerm ? `[${piece.text}]` : piece.text)).join("");
  const long = `${"before ".repeat(60)}the cooldown of a label ${"after ".repeat(60)}`;
  for (const [text, terms, expected] of [
    ["", ["a"], ""],
    ["a label has a cooldown", ["cooldown"], "a label has a [cooldown]"],
    ["Cooldown, cooldowns", ["cooldown"], "[Cooldown], [cooldown]s"],
    ["nothing of it", ["cooldown"], "nothing of it"],
    ["what (a) is", ["(a)"], "what [(a)] is"],
  ]) {
    assert.equal(shown(text, terms), expected);
  }
  const part = shown(long, ["cooldown"]);
  assert.ok(part.startsWith("... before ") && part.endsWith(" after ...") && part.includes("[cooldown]") && part.length < 260, part);

  const section = (address, title, text, page = "Page") => ({ address, page, title, text });
  const index = new Index([
    section("a", "Thresholds", "how a level is found"),
    section("b", "Cooldown", "the least time between two raises"),
    section("c", "Labels", "a threshold, and a cooldown for each label"),
  ]);
  const found = (words) => index.find(words).map((match) => match.section.address);
  assert.deepEqual(found("cooldown"), ["b", "c"], "titles come first");
  assert.deepEqual(found("threshold cooldown"), ["c"], "all words");
  assert.deepEqual(found("raises unheard"), ["b"], "or any of them");
  assert.deepEqual(found("cooldwn"), ["b", "c"], "with a typing mistake");
  assert.deepEqual(found("nothing"), []);
});
