// The page Live with forty sources, and the first steps of a service without any.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PHONE, launch, open, ready, signIn, tooWide, violations, visitor } from "./browser.mjs";
import { start, wait } from "./service.mjs";

const sample = (name) => fileURLToPath(new URL(`../../models/bundled/samples/${name}.jpg`, import.meta.url));
const CAMERAS = Array.from({ length: 38 }, (_, number) => `cam-${String(number + 1).padStart(2, "0")}`);
let service, browser;

before(async () => {
  const absent = { http: "http://127.0.0.1:9/a.jpg", every: "1m", watch: ["toys"] };
  service = await start({ yard: ["objects"], gate: absent, ...Object.fromEntries(CAMERAS.map((name) => [name, ["toys"]])) });
  browser = await launch();
  await service.put("yard", "red-car", "1.jpg");
  for (const name of CAMERAS) await service.put(name, "empty-wall", "1.jpg");
  await wait("a frame of each, the alert, and the problem", async () => {
    const { sources } = await service.ask("sources");
    return sources.every(({ source, frame, problem }) => (source === "gate" ? problem : frame)) && sources[0].labels[0].raised;
  });
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

async function visit(t, address = "live", options = {}, running = service) {
  const one = await visitor(browser, running, options);
  t.after(() => one.close());
  await signIn(one, running);
  if (address) await open(one, running, address);
  return one;
}

const card = (page, name) => page.locator("li.live-card").filter({ has: page.getByRole("heading", { name, exact: true }) });
const picture = (page, name) => card(page, name).locator("img");

/** Waits until the picture of a card is drawn. */
async function drawn(page, name) {
  const image = picture(page, name);
  await image.waitFor();
  await page.waitForFunction((element) => element.complete && element.naturalWidth > 0, await image.elementHandle());
  return image.getAttribute("src");
}

test("a card shows the picture, the raised label, and a problem with what to do", async (t) => {
  const { page, expectNone } = await visit(t);
  assert.match(await drawn(page, "yard"), /^blob:/);
  const yard = await card(page, "yard").innerText();
  assert.match(yard, /red car 0\.\d\d/);
  assert.match(yard, /400×300/);
  const { sources } = await service.ask("sources", { sources: "yard" });
  const shown = await card(page, "yard").locator(".live-labels .live-label").allInnerTexts();
  assert.equal(shown[0], "red car", "raised labels first");
  assert.deepEqual([...shown].sort(), sources[0].labels.map(({ label }) => label).sort());
  const gate = await card(page, "gate").innerText();
  assert.match(gate, /offline/);
  assert.match(gate, /refused/i);
  assert.match(gate, /Check that the camera is on/);
  await page.getByText("39 of 40 sources online").waitFor();
  await ready(page);
  assert.deepEqual(await violations(page), []);
  expectNone();
});

/** Records the requests of a page: their names, how many are open, and how many pictures and scores were at once. Runs in the page. */
function record() {
  const { fetch, EventSource } = globalThis;
  globalThis.EventSource = class extends EventSource {
    constructor(address) {
      super(address);
      globalThis.events = this;
    }
  };
  const requests = (globalThis.requests = { names: [], open: 0, most: 0 });
  let limited = 0;
  globalThis.fetch = async (address, init) => {
    const name = new URL(String(address), document.baseURI).pathname.split("/").at(-1);
    const isLimited = ["newest", "scores"].includes(name);
    requests.names.push(name);
    requests.open += 1;
    if (isLimited) limited += 1;
    requests.most = Math.max(requests.most, limited);
    try {
      const response = await fetch(address, init);
      const { status, statusText, headers } = response;
      return new Response(status === 204 ? null : await response.arrayBuffer(), { status, statusText, headers });
    } finally {
      requests.open -= 1;
      if (isLimited) limited -= 1;
    }
  };
}

/** Live in a page whose requests are recorded. The test moves its clock, if it wants to. */
async function recorded(t, { clock = false } = {}) {
  const one = await visitor(browser, service);
  t.after(() => one.close());
  await signIn(one, service);
  await one.page.addInitScript(record);
  if (clock) await one.page.clock.install();
  await one.page.reload();
  // The first events have arrived.
  await one.page.getByText("39 of 40 sources online").waitFor();
  return one;
}

test("a new frame changes its card alone, and nothing is polled", async (t) => {
  const { page, expectNone } = await recorded(t, { clock: true });
  await drawn(page, "yard");
  // The service sends a beat every 15 seconds of its own clock.
  const pass = async (seconds) => {
    await page.evaluate(() => globalThis.events.dispatchEvent(new MessageEvent("beat", { data: "{}" })));
    await page.clock.runFor(seconds * 1000);
    await page.waitForFunction(() => globalThis.requests.open === 0);
  };
  // What the first events have caused, and what that has caused.
  for (let round = 0; round < 3; round += 1) await pass(10);
  await page.evaluate(() => void (globalThis.requests.names.length = 0));
  for (let round = 0; round < 8; round += 1) await pass(15);
  assert.deepEqual(await page.evaluate(() => globalThis.requests.names), [], "two minutes without an event");
  await page.clock.resume();
  const before = await drawn(page, "yard");
  await service.put("yard", "green-tree", "2.jpg");
  await card(page, "yard").getByText(/green tree 0\.\d\d/).waitFor();
  await page.waitForFunction(([element, src]) => element.src !== src, [await picture(page, "yard").elementHandle(), before]);
  const names = await page.evaluate(() => globalThis.requests.names);
  assert.deepEqual(names.filter((name) => name !== "newest"), [], "events brought the rest");
  expectNone();
});

test("two pages with forty cards ask for a few pictures at once, and keep their events", async (t) => {
  const visits = [await recorded(t), await recorded(t)];
  const streams = visits.map(({ page }) => {
    const opened = [];
    page.on("request", (request) => request.url().includes("/api/v1/events") && opened.push(request.url()));
    return opened;
  });
  await Promise.all(visits.map(async ({ page }) => {
    for (const name of ["yard", ...CAMERAS]) {
      await card(page, name).scrollIntoViewIfNeeded();
      await drawn(page, name);
    }
  }));
  for (const [number, { page, expectNone }] of visits.entries()) {
    const { most, names } = await page.evaluate(() => globalThis.requests);
    assert.ok(most <= 4, `${most} at once`);
    assert.ok(names.filter((name) => name === "newest").length >= 39, `${names}`);
    assert.deepEqual(streams[number], [], "the stream of events was not opened again");
    expectNone();
  }
});

test("scores that could not be read are asked for again", async (t) => {
  const { page, forget, expectNone } = await recorded(t, { clock: true });
  await drawn(page, "yard");
  expectNone();
  const asked = [];
  await page.route("**/api/v1/scores?*", (route) => {
    const source = new URL(route.request().url()).searchParams.get("source");
    asked.push(source);
    if (asked.length > 1) return route.fallback();
    const json = { title: "Service Unavailable", detail: "the service is busy", status: 503 };
    return route.fulfill({ status: 503, contentType: "application/problem+json", json });
  });
  const refused = page.waitForResponse((response) => response.status() === 503);
  await page.reload();
  await refused;
  await page.clock.runFor(10_000);
  await wait("the same scores are asked for again", async () => asked.filter((source) => source === asked[0]).length === 2);
  assert.match(forget().join("\n"), /^console: .*503/);
  await page.waitForFunction(() => globalThis.requests.open === 0);
  expectNone();
});

test("pictures of cards outside the screen are not fetched", async (t) => {
  const one = await visitor(browser, service);
  t.after(() => one.close());
  const fetched = new Set();
  one.page.on("request", (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname.endsWith("/newest")) fetched.add(searchParams.get("source"));
  });
  await signIn(one, service);
  await open(one, service, "live");
  await drawn(one.page, "yard");
  const last = CAMERAS.at(-1);
  assert.equal(await card(one.page, last).count(), 1, "its card is on the page");
  assert.ok(!fetched.has(last) && fetched.size < 25, `${[...fetched]}`);
  await card(one.page, last).scrollIntoViewIfNeeded();
  await drawn(one.page, last);
  assert.ok(fetched.has(last));
  one.expectNone();
});

test("a source opens with all its labels and the ways to the other pages", async (t) => {
  const { page, expectNone } = await visit(t);
  await page.getByRole("link", { name: "cam-02", exact: true }).focus();
  await page.keyboard.press("Enter");
  const sheet = page.getByRole("dialog", { name: "cam-02" });
  await sheet.getByText("pink heart").first().waitFor();
  await sheet.getByText(/the score is below it/).first().waitFor();
  for (const [name, address] of [["Alerts", "#/alerts?source=cam-02"], ["Tune", "#/tune?source=cam-02"], ["Search", "#/search?source=cam-02"]]) {
    assert.equal(await sheet.getByRole("link", { name, exact: true }).getAttribute("href"), address);
  }
  for (const [name, address] of [
    ["toys/pink heart", "#/tune?source=cam-02&set=toys&label=pink+heart"],
    ["Alerts of toys/pink heart", "#/alerts?source=cam-02&label=toys%2Fpink+heart"],
  ]) {
    assert.equal(await sheet.getByRole("link", { name, exact: true }).getAttribute("href"), address);
  }
  await ready(page);
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  await sheet.waitFor({ state: "detached" });
  await page.waitForURL((url) => url.hash === "#/live");

  await page.getByRole("button", { name: "Problems", exact: true }).click();
  await page.waitForFunction(() => document.querySelectorAll("li.live-card").length === 1);
  assert.equal(await page.locator("li.live-card h2").innerText(), "gate");
  await page.waitForURL((url) => url.hash === "#/live?show=problems");
  expectNone();
});

test("a phone shows one column", async (t) => {
  const { page, expectNone } = await visit(t, "live", { viewport: PHONE, colorScheme: "dark" });
  await drawn(page, "yard");
  assert.deepEqual(await tooWide(page), []);
  expectNone();
});

/** A camera that gives its picture to `me` with the password `hunter2`. */
async function camera(t) {
  const jpeg = await readFile(sample("red-car"));
  const login = `Basic ${Buffer.from("me:hunter2").toString("base64")}`;
  const server = createServer((request, response) => {
    if (request.headers.authorization !== login) {
      response.writeHead(401, { "WWW-Authenticate": 'Basic realm="cam"' }).end();
      return;
    }
    response.writeHead(200, { "Content-Type": "image/jpeg" }).end(jpeg);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}/a.jpg`;
}

test("the first steps: a camera is tried, words are scored on its picture, and both are saved", async (t) => {
  const [empty, address] = [await start({}), await camera(t)];
  t.after(() => empty.stop());
  // It begins with Live, which has no sources and leads to the first steps.
  const { page, expectNone } = await visit(t, "", {}, empty);
  await page.waitForURL(/#\/start$/);
  await page.getByLabel("Its address").fill(address);
  await page.getByLabel("User, if it needs one").fill("me");
  await page.getByLabel("Password").fill("swordfish");
  const look = page.getByRole("button", { name: "See its picture" });
  await look.click();
  await page.getByText("Correct username and password.").waitFor();
  assert.equal(await page.getByLabel("What to watch for, one thing in a line").count(), 0, "not yet");
  await page.getByLabel("Password").fill("hunter2");
  await page.keyboard.press("Enter");
  await page.getByAltText("The picture of the camera").waitFor();
  await page.getByText("400×300").waitFor();
  await page.getByLabel("What to watch for, one thing in a line").fill("a red car\na green tree");
  const scores = page.getByRole("list", { name: "Scores on this picture" });
  await scores.getByText("a green tree").waitFor();
  const [car, tree] = (await scores.locator(".score").allInnerTexts()).map(Number);
  assert.ok(car > tree, `${car} ${tree}`);
  await ready(page);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual((await empty.ask("sources")).sources, [], "nothing is saved yet");

  await page.getByLabel("A name for the camera").fill("drive");
  await page.getByRole("button", { name: "Save and watch" }).click();
  await page.waitForURL(/#\/live\?source=drive$/);
  await drawn(page, "drive");
  const { sources } = await empty.ask("sources");
  assert.deepEqual(sources.map(({ source, kind }) => [source, kind]), [["drive", "http"]]);
  assert.deepEqual(sources[0].labels.map(({ label, threshold }) => [label, Number(threshold.toFixed(2))]), [["a red car", 0.6], ["a green tree", 0.6]]);
  expectNone();
});

test("the first steps show the lines to paste where the service may not write", async (t) => {
  const [empty, address] = [await start({}, { listen: { edit: false } }), await camera(t)];
  t.after(() => empty.stop());
  const { page, expectNone } = await visit(t, "start", {}, empty);
  await page.getByLabel("Its address").fill(address);
  await page.getByLabel("User, if it needs one").fill("me");
  await page.getByLabel("Password").fill("hunter2");
  await page.keyboard.press("Enter");
  await page.getByAltText("The picture of the camera").waitFor();
  await page.getByLabel("What to watch for, one thing in a line").fill("a red car");
  await page.getByLabel("A name for the camera").fill("drive");
  await page.getByRole("button", { name: "Save and watch" }).click();
  await page.getByText(/Set listen: \{ edit: true \}/).waitFor();
  await page.getByText(/write these lines in place of lines? \d+/).waitFor();
  const lines = page.locator("pre.code");
  assert.match(await lines.innerText(), /drive[^]*a red car/);
  await ready(page);
  assert.deepEqual(await violations(page), []);
  await page.getByLabel("A name for the camera").fill("yard");
  await lines.waitFor({ state: "detached" });
  assert.deepEqual((await empty.ask("sources")).sources, []);
  expectNone();
});
