// The console without a mouse.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PAGES, eventually, launch, open, opened, signIn, violations, visitor } from "./browser.mjs";
import { start, wait } from "./service.mjs";

let service, browser;

before(async () => {
  service = await start({ yard: ["objects"] });
  browser = await launch();
  await service.put("yard", "red-car", "1.jpg");
  await wait("an alert is remembered", async () => (await service.ask("alerts")).alerts.length >= 1);
  await service.stored("yard", "objects", "red car");
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** What has the focus, and whether a person sees that. */
const focused = (page) =>
  page.evaluate(() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    // The frame of a card belongs to a part of its link.
    const styles = [undefined, "::after"].map((part) => getComputedStyle(element, part));
    const box = element.getBoundingClientRect();
    return {
      text: (element.textContent ?? "").trim(),
      tag: element.localName,
      id: element.id,
      isSeen: styles.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1) && box.width > 0 && box.bottom > 0,
    };
  });

/** No page of these tests has more stops of the tab key. */
const MOST_STOPS = 200;

/** What each page has once the service has answered. */
const CONTROLS = {
  live: ".live-card a",
  alerts: "li.entry button",
  tune: "[role=slider]",
  search: "[type=search]",
  configuration: ".cm-content",
  system: ".system-grid button",
};

/** The controls of the page that never had the focus. A page may draw them again while it loads. */
const notReached = (page) =>
  page.evaluate(() => {
    const reached = (globalThis.reached ??= new WeakSet());
    if (document.activeElement) reached.add(document.activeElement);
    const all = document.querySelectorAll("main a[href], main button, main input, main select, main textarea, main [role=slider]");
    const shown = [...all].filter((element) => !element.disabled && element.tabIndex >= 0 && element.checkVisibility());
    return shown.filter((element) => !reached.has(element)).map((element) => element.outerHTML.slice(0, 120));
  });

test("the tab key reaches the pages of the header, and Enter opens them", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  const { page } = visit;
  const reached = [];
  for (let step = 0; step < 12 && reached.at(-1)?.text !== "System"; step += 1) {
    await page.keyboard.press("Tab");
    const now = await focused(page);
    assert.ok(now.isSeen, `the focus is visible on ${now.tag} ${now.text}`);
    reached.push(now);
  }
  const names = reached.map(({ text }) => text.toLowerCase());
  assert.equal(reached[0].text, "Skip to the page");
  assert.deepEqual(names.filter((name) => PAGES.includes(name)), PAGES);
  await page.keyboard.press("Enter");
  await page.waitForURL(/#\/system$/);
  await opened(page, "system");
  await eventually(async () => assert.equal((await focused(page)).id, "main", "the focus is on the new page"));
  visit.expectNone();
});

test("the first link moves the focus behind the header", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  await visit.page.keyboard.press("Tab");
  await visit.page.keyboard.press("Enter");
  await eventually(async () => assert.equal((await focused(visit.page)).id, "main"));
  assert.equal(await visit.page.evaluate(() => location.hash), "#/live", "the address stays");
});

test("everything that can be pressed is reached, and is seen when it is", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  for (const name of PAGES) {
    await open(visit, service, name);
    const { page } = visit;
    await page.locator(CONTROLS[name]).first().waitFor();
    let missing = await notReached(page);
    // Some stops are no control: parts that scroll.
    for (let step = 0; step < MOST_STOPS && missing.length > 0; step += 1) {
      await page.keyboard.press("Tab");
      const now = await focused(page);
      if (["a", "button", "input", "select", "textarea"].includes(now.tag)) {
        assert.ok(now.isSeen, `${name}: the focus is visible on ${now.tag} ${now.text}`);
      }
      missing = await notReached(page);
    }
    assert.deepEqual(missing, [], `${name}: every control is reached with the tab key`);
    visit.expectNone(name);
  }
});

test("Ctrl+K goes to pages, sources, labels and a search", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  const { page } = visit;
  for (const [words, name, address] of [
    ["syst", "system", /#\/system$/],
    ["yard alerts", "alerts", /#\/alerts\?source=yard$/],
    ["yard red", "tune", /#\/tune\?source=yard&set=objects&label=red\+car/],
    ["a dog at the gate", "search", /#\/search\?q=a\+dog\+at\+the\+gate$/],
  ]) {
    await page.keyboard.press("Control+k");
    const input = page.getByRole("combobox", { name: /^Page, source/ });
    await input.waitFor();
    await page.getByRole("option", { name: /^yard Live/ }).waitFor();
    assert.deepEqual(await violations(page), []);
    await input.pressSequentially(words);
    await page.keyboard.press("Enter");
    await page.waitForURL(address);
    await input.waitFor({ state: "hidden" });
    await opened(page, name);
  }
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog", { name: "Go to" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog", { name: "Go to" }).waitFor({ state: "hidden" });
  visit.expectNone();
});
