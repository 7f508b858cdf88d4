// HTML in labels, names of files and topics is text on every page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PAGES, launch, open, signIn, visitor } from "./browser.mjs";
import { HOSTILE, start, wait } from "./service.mjs";

let service, browser;

before(async () => {
  service = await start({ yard: ["hostile"] }, { prefix: HOSTILE.prefix });
  browser = await launch();
  await service.put("yard", "red-car", HOSTILE.file);
  const { alerts } = await wait("an alert with planted names is remembered", async () => {
    const answer = await service.ask("alerts");
    return answer.alerts.length > 0 && answer;
  });
  await service.stored("yard", "hostile", HOSTILE.label);
  const [{ alert }] = alerts;
  assert.equal(alert.label, HOSTILE.label);
  assert.ok(alert.frame.origin.endsWith(HOSTILE.file) && alert.snapshot.startsWith(HOSTILE.prefix), JSON.stringify(alert));
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** Waits until this text can be seen; an option of a closed list cannot. */
const seen = (page, text) => page.getByText(text).filter({ visible: true }).first().waitFor();

test("planted names are shown as they are, and do nothing", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  for (const name of PAGES) {
    await open(visit, service, name);
    if (name === "live" || name === "alerts") await seen(visit.page, HOSTILE.label);
    const planted = await visit.page.locator("img[src='x'], [onclick], [onerror], main script").count();
    assert.equal(planted, 0, `${name}: no element was made of a name`);
    visit.expectNone(name);
  }
});

test("the details of an alert show the name of its file as it is", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  await open(visit, service, "alerts");
  await seen(visit.page, HOSTILE.label);
  await visit.page.keyboard.press("j");
  await visit.page.keyboard.press("Enter");
  await seen(visit.page, HOSTILE.file);
  visit.expectNone();
});
