// Who may look, and who may change something.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, signIn, toast, violations, visitor } from "./browser.mjs";
import { TOKEN, start, wait } from "./service.mjs";

let service, browser;

before(async () => {
  service = await start({ yard: ["objects"] });
  browser = await launch();
  await service.put("yard", "red-car", "1.jpg");
  await wait("an alert is remembered", async () => (await service.ask("alerts")).alerts.length >= 1);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

test("without a sign-in there is nothing but a page that says how", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  const { page } = visit;
  await page.goto(`${service.url}/`);
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  // "/" leads to the console.
  await page.waitForURL(/\/console\//);
  assert.ok((await page.locator("main").textContent()).includes("stakeout console"));
  assert.deepEqual(await violations(page), []);
  const statuses = await page.evaluate(async () => {
    const verbs = ["alerts", "near_misses", "sources", "events", "newest?source=yard", "pictures/1"];
    const answers = await Promise.all(verbs.map((verb) => fetch(`../api/v1/${verb}`)));
    return Object.fromEntries(verbs.map((verb, at) => [verb, answers[at].status]));
  });
  assert.deepEqual(new Set(Object.values(statuses)), new Set([401]), JSON.stringify(statuses));
  assert.ok(!(await page.content()).includes("yard"), "no name of a source");
});

test("a link signs in once", async (t) => {
  const link = await service.link();
  const first = await visitor(browser, service);
  t.after(() => first.close());
  await first.page.goto(link);
  await first.page.getByRole("heading", { name: "Live" }).waitFor();
  assert.ok(!(await first.page.evaluate(() => location.href)).includes(link.split("=").at(-1)), "the code is not in the address any more");
  const cookies = await first.context.cookies();
  assert.ok(cookies.length === 1 && cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === "Strict"), JSON.stringify(cookies));
  await open(first, service, "alerts");
  first.expectNone();

  const second = await visitor(browser, service);
  t.after(() => second.close());
  await second.page.goto(link);
  await second.page.getByRole("heading", { name: "Sign in" }).waitFor();
  await second.page.getByRole("alert").waitFor();
});

test("a link also works where the console is open already", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await visit.page.goto(`${service.url}/console/`);
  await visit.page.getByRole("heading", { name: "Sign in" }).waitFor();
  // Only the part of the address behind `#` changes: the page is not loaded again.
  await visit.page.goto(await service.link());
  await visit.page.getByRole("heading", { name: "Live" }).waitFor();
});

test("a token signs in, and a wrong one says what is wrong", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  const { page } = visit;
  await page.goto(`${service.url}/console/#/alerts`);
  await page.getByLabel("Token").fill("0123456789abcdee");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await page.getByLabel("Token").fill(TOKEN);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Alerts", level: 1 }).waitFor();
});

test("who signs out is signed out", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  await visit.page.getByRole("button", { name: "Sign out" }).click();
  await visit.page.getByRole("heading", { name: "Sign in" }).waitFor();
  const status = await visit.page.evaluate(async () => (await fetch("../api/v1/alerts")).status);
  assert.equal(status, 401);
});

test("who may only look changes nothing", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service, "--view");
  const { alerts } = await service.ask("alerts");
  const { marks: before } = await service.ask("marks");
  const answer = await visit.page.evaluate(async (id) => {
    const sent = await fetch("../api/v1/mark", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id, verdict: "right" }) });
    return sent.status;
  }, alerts[0].alert.id);
  assert.equal(answer, 403);
  assert.deepEqual((await service.ask("marks")).marks, before);
});

test("another page cannot use the sign-in", async () => {
  const { alerts } = await service.ask("alerts");
  const link = await service.link();
  const visit = await visitor(browser, service);
  await visit.page.goto(link);
  await visit.page.getByRole("heading", { name: "Live" }).waitFor();
  const [cookie] = await visit.context.cookies();
  await visit.close();
  const send = (fields) =>
    fetch(`${service.url}/api/v1/mark`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Cookie: `${cookie.name}=${cookie.value}`, ...fields },
      body: JSON.stringify({ id: alerts[0].alert.id, verdict: "right" }),
    });
  assert.equal((await send({ Origin: "http://evil.example", "Sec-Fetch-Site": "cross-site" })).status, 403);
  assert.equal((await send({ Origin: service.url, "Sec-Fetch-Site": "same-origin" })).status, 200);
});

test("a sign-out that fails says that this browser is still signed in", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  const { page } = visit;
  await signIn(visit, service);
  await page.route("**/console/session", (route) => (route.request().method() === "DELETE" ? route.abort() : route.fallback()));
  const button = page.getByRole("button", { name: "Sign out" });
  await button.click();
  await toast(page, "You are still signed in. The service does not answer.");
  await page.getByRole("heading", { name: "Live", level: 1 }).waitFor();
  await page.unroute("**/console/session");
  await button.click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});
