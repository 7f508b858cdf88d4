// The page Search: words, a picture, similar frames, and a label of what was found.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PHONE, eventually, launch, open, ready, signIn, toast, tooWide, violations, visitor } from "./browser.mjs";
import { TOKEN, start, wait } from "./service.mjs";

const sample = (name) => fileURLToPath(new URL(`../../models/bundled/samples/${name}.jpg`, import.meta.url));
let service, browser;

before(async () => {
  service = await start({ yard: ["objects"], shelf: ["toys"] });
  browser = await launch();
  const pictures = { yard: ["empty-wall", "red-car", "empty-corner", "green-tree"], shelf: ["pink-heart", "purple-mug"] };
  // A frame is found by its source and its time, so each has a time of its own.
  let at = Date.now() - 60_000;
  for (const [source, names] of Object.entries(pictures)) {
    for (const name of names) await service.put(source, name, `${name}.jpg`, new Date((at += 1_000)));
  }
  await wait("the embeddings of six pictures", async () => (await service.ask("search", { text: "a red car" })).embeddings >= 6);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

async function visit(t, address = "search", options = {}, running = service) {
  const one = await visitor(browser, running, options);
  t.after(() => one.close());
  await signIn(one, running);
  await open(one, running, address);
  return one;
}

const results = (page) => page.locator("li.result");

/** Waits until these matches are the results. */
const shows = (page, matches) => eventually(async () => {
  const found = await results(page).evaluateAll((rows) =>
    rows.map((row) => `${row.querySelector("strong").textContent} ${row.querySelector(".lift > span").lastChild.textContent}`),
  );
  assert.deepEqual(found, matches.map(({ source, lift }) => `${source} ${lift.toFixed(1)}`));
});

test("words find a moment, and the answer says what was searched", async (t) => {
  const { page, expectNone } = await visit(t);
  await page.getByText("Find a moment that no label names").waitFor();
  await page.getByRole("searchbox", { name: "Words" }).fill("a red car");
  await page.keyboard.press("Enter");
  await page.waitForURL(/#\/search\?q=a\+red\+car$/);
  await results(page).first().waitFor();
  const expected = await service.ask("search", { text: "a red car", top: 24 });
  await shows(page, expected.matches);
  assert.match(await results(page).first().innerText(), new RegExp(expected.matches[0].source));
  const covered = await page.getByText(/^Searched/).innerText();
  assert.match(covered, new RegExp(`Searched ${expected.embeddings} embeddings of 2 sources`));
  await ready(page);
  assert.deepEqual(await violations(page), []);

  // Filters are in the address.
  await page.getByLabel("Source", { exact: true }).selectOption("shelf");
  await page.waitForURL(/source=shelf/);
  const { matches } = await service.ask("search", { text: "a red car", source: "shelf", top: 24 });
  assert.ok(matches.length >= 1 && matches.every(({ source }) => source === "shelf"));
  await shows(page, matches);
  await page.reload();
  await results(page).first().waitFor();
  assert.equal(await page.getByRole("searchbox", { name: "Words" }).inputValue(), "a red car");
  expectNone();
});

test("the line is above the results that chance alone explains", async (t) => {
  const { matches } = await service.ask("search", { text: "a red car", top: 24 });
  assert.ok(matches.length >= 2, `${matches.length} results`);
  const one = await visit(t, "search?q=a+red+car");
  await results(one.page).first().waitFor();
  // What chance explains depends on the pictures: here the answer says it of all but the first ones.
  let likely;
  await one.page.route("**/api/v1/search?*", async (route) => {
    const response = await route.fetch();
    const found = await response.json();
    found.matches.forEach((match, number) => (match.likely = number < likely));
    await route.fulfill({ response, json: found });
  });
  for (likely of [0, 1, matches.length]) {
    await one.page.reload();
    await results(one.page).first().waitFor();
    const rows = await one.page.locator("li.result, .search-line").evaluateAll((all) => all.map((row) => (row.matches("li") ? "result" : row.textContent)));
    const expected = matches.map(() => "result");
    if (likely < matches.length) expected.splice(likely, 0, "probably nothing below");
    assert.deepEqual(rows, expected, `${likely} of ${matches.length}`);
    assert.equal(await one.page.locator("ul[aria-label='Found'] > li").count(), likely);
  }
  one.expectNone();
});

test("a picture that is chosen, dropped or pasted finds its frame", async (t) => {
  const { page, expectNone } = await visit(t);
  /** The page shows what the service answers about this picture; the frame that shows it is the most similar one. */
  const finds = async (name, send) => {
    await send();
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const answer = await fetch(`${service.url}/api/v1/search_picture?top=24`, { method: "POST", headers, body: await readFile(sample(name)) });
    const { matches } = await answer.json();
    const nearest = matches.toSorted((a, b) => b.similarity - a.similarity)[0];
    assert.equal(nearest.source, "shelf");
    assert.ok(nearest.similarity > 0.98, `${nearest.similarity}`);
    await shows(page, matches);
  };
  await finds("pink-heart", () => page.locator("input[type=file]").setInputFiles(sample("pink-heart")));
  await page.getByText("similar to pink-heart.jpg").waitFor();
  await page.getByRole("button", { name: "Do not search by this picture" }).click();
  await page.getByText("Find a moment that no label names").waitFor();

  for (const kind of ["drop", "paste"]) {
    const bytes = [...(await readFile(sample("purple-mug")))];
    const send = () => page.evaluate(
      ([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${kind}.jpg`, { type: "image/jpeg" }));
        const init = { bubbles: true, cancelable: true };
        if (kind === "paste") return void document.body.dispatchEvent(new ClipboardEvent("paste", { ...init, clipboardData: data }));
        document.body.dispatchEvent(new DragEvent("dragover", { ...init, dataTransfer: data }));
        document.body.dispatchEvent(new DragEvent("drop", { ...init, dataTransfer: data }));
      },
      [kind, bytes],
    );
    await finds("purple-mug", send);
    await page.getByText(`similar to ${kind}.jpg`).waitFor();
  }
  expectNone();
});

test("a damaged picture is refused in words", async (t) => {
  const one = await visit(t);
  await one.page.locator("input[type=file]").setInputFiles({ name: "note.jpg", mimeType: "image/jpeg", buffer: Buffer.from("<b>no picture</b>") });
  await one.page.getByRole("alert").getByText("it is not a picture").waitFor();
  one.forget();
  const huge = Buffer.alloc(17 << 20, 1);
  await one.page.locator("input[type=file]").setInputFiles({ name: "huge.jpg", mimeType: "image/jpeg", buffer: huge });
  await toast(one.page, "huge.jpg has more than 16 MB");
  one.expectNone();
});

test("similar frames are found from a result", async (t) => {
  const { page, expectNone } = await visit(t, "search?q=a+green+tree");
  await results(page).first().waitFor();
  await ready(page);
  await results(page).first().getByRole("link", { name: "Find similar" }).click();
  await page.waitForURL(/like=yard/);
  await page.getByText("similar to yard").waitFor();
  const at = new URLSearchParams((await page.evaluate(() => location.hash)).split("?")[1]).get("at");
  const { matches } = await service.ask("search", { like_source: "yard", like_at: at, top: 24 });
  assert.equal(matches[0].source, "yard");
  // The results before stay until these are there.
  await shows(page, matches);
  expectNone();
});

test("a label is made of what was found, and watched", async (t) => {
  const { page, expectNone } = await visit(t, "search?q=a+black+key&source=yard");
  await results(page).first().waitFor();
  await ready(page);
  // The page knows the sources and what they watch.
  await page.getByLabel("Source", { exact: true }).locator("option", { hasText: "shelf" }).waitFor({ state: "attached" });
  await results(page).first().getByRole("button", { name: "Make a label" }).click();
  const dialog = page.getByRole("dialog");
  assert.equal(await dialog.getByLabel("Name of the label", { exact: true }).inputValue(), "black key");
  assert.match(await dialog.locator("pre").innerText(), /black key:\s+prompts: \[a black key\]/);
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.waitFor({ state: "detached" });
  await wait("the new label is watched", async () => {
    const { sources } = await service.ask("sources", { sources: "yard" });
    return sources[0].labels.some(({ label }) => label === "black key");
  });
  expectNone();
});

test("a save that ends late leaves another dialog open, and is reported", async (t) => {
  const { page, expectNone } = await visit(t, "search?q=a+red+car");
  await results(page).first().waitFor();
  await ready(page);
  assert.ok((await results(page).count()) >= 2, "two results");
  const text = await readFile(service.config, "utf8");
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const answer = { path: service.config, text: "", masked: false, lines: { first: 1, before: "", after: "" }, problems: [], saved: true, tag: "a" };
  // The service is not asked: the configuration stays as it is.
  await page.route("**/api/v1/config_edit", async (route) => {
    await held;
    await route.fulfill({ json: answer });
  });
  const dialog = page.getByRole("dialog");
  const make = async (number, name) => {
    await results(page).nth(number).getByRole("button", { name: "Make a label" }).click();
    await dialog.getByLabel("Name of the label", { exact: true }).fill(name);
  };
  await make(0, "first one");
  const asked = page.waitForRequest("**/api/v1/config_edit");
  await dialog.getByRole("button", { name: "Save" }).click();
  await asked;
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await make(1, "second one");
  release();
  await toast(page, "first one is watched for.");
  assert.equal(await dialog.getByLabel("Name of the label", { exact: true }).inputValue(), "second one");
  assert.equal(await readFile(service.config, "utf8"), text);
  expectNone();
});

test("where nothing is stored, the page says what to do", async (t) => {
  const without = async (file) => {
    const config = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ ...config, history: { search: false } }));
  };
  const off = await start({ yard: ["objects"] }, { before: without });
  t.after(() => off.stop());
  const one = await visit(t, "search?q=a+dog", { viewport: PHONE, colorScheme: "dark" }, off);
  await one.page.getByRole("alert").getByText("history: { search: true }").waitFor();
  await one.page.getByRole("link", { name: "Open the configuration" }).waitFor();
  assert.deepEqual(await violations(one.page), []);
  assert.deepEqual(await tooWide(one.page), []);
  one.forget();
});
