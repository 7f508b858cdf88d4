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
  const [{ alert }] = alerts;
  assert.equal(alert.label, HOSTILE.label);
  assert.ok(alert.frame.origin.endsWith(HOSTILE.file) && alert.snapshot.startsWith(HOSTILE.prefix), JSON.stringify(alert));
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

test("planted names are shown as they are, and do nothing", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  const shown = new Set();
  for (const name of PAGES) {
    await open(visit, service, name);
    const found = await visit.page.evaluate(() => ({
      text: document.body.innerText,
      planted: document.querySelectorAll("img[src='x'], [onclick], [onerror], main script, b[onclick]").length,
    }));
    assert.equal(found.planted, 0, `${name}: no element was made of a name`);
    if (found.text.includes(HOSTILE.label)) shown.add(name);
    visit.expectNone(name);
  }
  assert.ok(shown.has("live") && shown.has("alerts"), `the label is shown as it is: ${[...shown]}`);
});

test("the details of an alert show the name of its file as it is", async (t) => {
  const visit = await visitor(browser, service);
  t.after(() => visit.close());
  await signIn(visit, service);
  await open(visit, service, "alerts");
  await visit.page.getByText(HOSTILE.label).first().waitFor();
  await visit.page.keyboard.press("j");
  await visit.page.keyboard.press("Enter");
  await visit.page.getByText(HOSTILE.file).first().waitFor();
  visit.expectNone();
});
