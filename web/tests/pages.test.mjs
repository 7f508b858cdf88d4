// Every page in each size and each colour: it opens without an error, fits the screen, and axe-core has nothing to say.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PAGES, PHONE, WIDE, launch, open, signIn, tooWide, violations, visitor } from "./browser.mjs";
import { start, wait } from "./service.mjs";

let service, browser;

before(async () => {
  service = await start({ yard: ["objects"], shelf: ["toys", "objects"] });
  browser = await launch();
  await service.put("yard", "empty-wall", "1.jpg");
  await service.put("yard", "red-car", "2.jpg");
  await service.put("shelf", "pink-heart", "1.jpg");
  await wait("two alerts are remembered", async () => (await service.ask("alerts")).alerts.length >= 2);
  for (const source of ["yard", "shelf"]) await service.stored(source, "objects", "red car");
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

for (const [size, viewport] of [["a phone", PHONE], ["a wide screen", WIDE]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`every page on ${size}, ${colorScheme}`, async (t) => {
      const visit = await visitor(browser, service, { viewport, colorScheme });
      t.after(() => visit.close());
      await signIn(visit, service);
      for (const name of [...PAGES, "start"]) {
        await open(visit, service, name);
        assert.equal((await visit.page.evaluate(() => location.hash)).split("?")[0], `#/${name}`);
        assert.deepEqual(await tooWide(visit.page), [], `${name} has no horizontal scrolling`);
        assert.deepEqual(await violations(visit.page), [], `${name} is accessible`);
        visit.expectNone(name);
      }
    });
  }
}

test("the switch chooses the colours, and this browser remembers it", async (t) => {
  const visit = await visitor(browser, service, { colorScheme: "light" });
  t.after(() => visit.close());
  await signIn(visit, service);
  const background = () => visit.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  // As the system, light, dark.
  const next = async (name) => {
    await visit.page.getByRole("button", { name: /^Colours/ }).click();
    await visit.page.getByRole("button", { name: `Colours: ${name}.` }).waitFor();
  };
  await next("light");
  assert.equal(await background(), light);
  await next("dark");
  const dark = await background();
  assert.notEqual(dark, light);
  await visit.page.reload();
  await visit.page.locator("main h1").first().waitFor();
  assert.equal(await background(), dark);
  visit.expectNone();
});
