// The page System: the facts, what needs a person, the checks, and the support bundle.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { launch, open, signIn, visitor } from "./browser.mjs";
import { TOKEN, start, wait } from "./service.mjs";

let service, browser;

before(async () => {
  service = await start({ yard: ["objects"] });
  browser = await launch();
  await service.put("yard", "red-car", "1.jpg");
  await wait("a frame is scored", async () => (await service.ask("system")).model.scored >= 1);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** A visitor on the page. */
async function onPage(t, ...options) {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service, ...options);
  await open(visit, service, "system");
  await visit.page.getByText("Nothing needs you.").or(visit.page.getByText("What needs you")).waitFor();
  return visit;
}

test("the facts are those of the service", async (t) => {
  const { page, expectNone } = await onPage(t);
  const facts = await service.ask("system");
  const value = (name) => page.locator("dl > div").filter({ has: page.getByText(name, { exact: true }) }).first().locator("dd");
  assert.equal(await value("Version").innerText(), facts.version);
  assert.equal(await value("Name").innerText(), facts.model.name);
  assert.match(await value("Device").innerText(), new RegExp(`^${facts.model.loaded.device}: `));
  assert.match(await value("Outbox").innerText(), /^on disk/);
  assert.match(await value("Sources").innerText(), /^1 source online/);
  assert.match(await value("State folder").innerText(), /state$/);
  expectNone();
});

test("the facts are asked for every ten seconds, and not more often", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  const { page } = visit;
  // The times by the clock of the page, which the test moves.
  await page.addInitScript(() => {
    const { fetch } = globalThis;
    globalThis.asked = [];
    globalThis.fetch = (address, init) => {
      if (String(address).endsWith("/api/v1/system")) globalThis.asked.push(Date.now());
      return fetch(address, init);
    };
  });
  await page.clock.install();
  await open(visit, service, "system");
  await page.reload();
  await page.getByText("Version").waitFor();
  await page.clock.runFor(35_000);
  const asked = await page.evaluate(() => globalThis.asked);
  assert.ok(asked.length >= 4, `asked at ${asked}`);
  asked.slice(1).forEach((at, number) => assert.ok(at - asked[number] >= 10_000, `asked at ${asked}`));
});

test("the checks run when someone asks for them", async (t) => {
  const { page, expectNone } = await onPage(t);
  await page.getByRole("button", { name: "Run the checks" }).click();
  const results = page.getByRole("list", { name: "Results of the checks" });
  await results.waitFor();
  const source = results.getByRole("listitem").filter({ hasText: "source yard" });
  assert.match(await source.innerText(), /^ok/);
  const states = await results.locator(".tag").allInnerTexts();
  const order = ["problem", "warning", "ok"];
  assert.deepEqual(states, [...states].sort((a, b) => order.indexOf(a) - order.indexOf(b)), "what is wrong is first");
  expectNone();
});

test("a support bundle is downloaded, and has no token", async (t) => {
  const { page, expectNone } = await onPage(t);
  await page.getByRole("button", { name: "Download a support bundle" }).click();
  const dialog = page.getByRole("dialog");
  for (const name of ["README.txt", "configuration.yaml", "log.txt"]) await dialog.getByText(name, { exact: true }).waitFor();
  const downloading = page.waitForEvent("download");
  await dialog.getByRole("button", { name: "Download" }).click();
  const download = await downloading;
  assert.match(download.suggestedFilename(), /^stakeout-support-\d{8}-\d{6}\.tar\.gz$/);
  const text = gunzipSync(await readFile(await download.path())).toString();
  assert.ok(text.includes("A support bundle of stakeout") && text.includes("stakeout_ready 1"), "its files are in it");
  assert.ok(!text.includes(TOKEN), "the token of the service is not");
  await dialog.waitFor({ state: "detached" });
  expectNone();
});

test("who may only look runs no checks and makes no bundle", async (t) => {
  const { page, expectNone } = await onPage(t, "--view");
  assert.ok(await page.getByRole("button", { name: "Run the checks" }).isDisabled());
  assert.ok(await page.getByRole("button", { name: "Download a support bundle" }).isDisabled());
  await page.getByText("You may look and not run the checks").waitFor();
  expectNone();
});

test("a broker that is away is amber, with what to do", async (t) => {
  if (!service.broker) return t.skip("no broker is installed");
  const { page, expectNone } = await onPage(t);
  service.broker.kill("SIGTERM");
  const attention = page.getByRole("region", { name: "What needs you" });
  await attention.getByText("it is not connected").waitFor();
  await attention.getByText("Check that the broker runs").waitFor();
  await page.getByText("broker not connected").first().waitFor();
  await page.getByRole("heading", { name: "Newest warnings and errors" }).waitFor();
  expectNone();
});
