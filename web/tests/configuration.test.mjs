// The page Configuration: the file is edited, checked, saved and returned to.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { PHONE, eventually, launch, open, painted, signIn, toast, violations, visitor } from "./browser.mjs";
import { TOKEN, start, wait } from "./service.mjs";

let service, browser, original;

before(async () => {
  service = await start({ yard: ["objects"] });
  browser = await launch();
  // JSON is YAML, and may have comments then.
  original = `# the yard, and nothing else\n${await readFile(service.config, "utf8")}`;
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

const file = () => readFile(service.config, "utf8");

/** Writes the file as someone else does, and waits until the service has read it. */
async function write(text, isValid = true) {
  await writeFile(service.config, text);
  await wait("the service has read the file", async () => {
    const { state } = await service.ask("config");
    return state.current && state.valid === isValid;
  });
}

/** A visitor of the page of the configuration. */
async function visitConfiguration(t, options = {}, ...link) {
  const visit = await visitor(browser, service, options);
  t.after(() => visit.close());
  await signIn(visit, service, ...link);
  await open(visit, service, "configuration");
  await visit.page.locator(".cm-content").waitFor();
  return visit;
}

/** Replaces a line of the editor, as a person does who types it. */
async function retype(page, words, text) {
  await page.locator(".cm-line", { hasText: words }).first().click();
  await page.keyboard.press("Home");
  await page.keyboard.press("Shift+End");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(text);
}

/** Replaces the whole text of the editor. */
async function retypeAll(page, text) {
  await page.locator(".cm-content").click();
  await page.keyboard.press("Control+a");
  // The browser would give a text that replaces others their style, which the policy of the page forbids.
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(text);
}

const status = (page, words) => page.locator("main [role=status]", { hasText: words }).first().waitFor();

test("a mistake is marked, its effects are shown when it is corrected, and the save is in force at once", async (t) => {
  await write(original);
  const visit = await visitConfiguration(t);
  const { page } = visit;
  const save = page.getByRole("button", { name: "Save", exact: true });
  assert.equal(await save.isDisabled(), true, "there is nothing to save");

  await retype(page, '"red car"', '"red car": { "treshold": 0.7 },');
  await page.locator(".cm-lintRange-error", { hasText: "treshold" }).waitFor();
  const row = page.locator(".mistakes tbody tr");
  assert.match(await row.innerText(), /Line \d+[\s\S]*treshold[\s\S]*did you mean `threshold`\?/);
  assert.equal(await save.isDisabled(), true, "an invalid text is not saved");
  await page.locator(".cm-lintRange-error").first().hover();
  await page.locator(".cm-tooltip", { hasText: "did you mean `threshold`?" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await row.getByRole("button").click();
  assert.equal(await page.evaluate(() => document.activeElement?.className), "editor", "the link leads into the editor");

  await retype(page, '"red car"', '"red car": { "threshold": 0.7 },');
  const change = page.getByRole("list", { name: "Labels" });
  await change.waitFor();
  await eventually(async () => assert.match(await change.innerText(), /objects\/red car[\s\S]*changed[\s\S]*threshold: 0\.75 → 0\.7/));
  await page.getByRole("group", { name: "Your changes" }).getByText('"red car": 0.75').waitFor();
  await page.locator(".cm-content").focus();
  await page.keyboard.press("Control+s");
  await toast(page, "Saved and in force");
  assert.equal(await file(), original.replace('"red car": 0.75,', '"red car": { "threshold": 0.7 },'), "everything else stays");
  visit.expectNone();
});

test("an earlier version is compared and returned to", async (t) => {
  await write(original);
  await service.ask("config_save", {}, { text: original.replace("0.75", "0.6"), tag: (await service.ask("config")).tag });
  const visit = await visitConfiguration(t);
  const { page } = visit;
  await page.getByRole("button", { name: "Earlier versions" }).click();
  await page.getByRole("list", { name: "Versions" }).getByRole("button").first().click();
  const lines = page.getByRole("group", { name: "The lines that differ" });
  await lines.waitFor();
  assert.equal(await lines.locator(".comparison-removed").count(), 1);
  assert.match(await lines.locator(".comparison-added").innerText(), /0\.6/);
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Return to this version" }).click();
  await status(page, "valid, not saved");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await toast(page, "Saved and in force");
  assert.equal(await file(), original);
  visit.expectNone();
});

test("a file that was changed elsewhere is not overwritten unless the person says so", async (t) => {
  await write(original);
  const visit = await visitConfiguration(t);
  const { page } = visit;
  const elsewhere = `# by someone else\n${original}`;
  await retype(page, "# the yard", "# my yard");
  await status(page, "valid, not saved");
  await write(elsewhere);
  await page.getByRole("button", { name: "Save", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "The file was changed elsewhere" });
  await dialog.waitFor();
  assert.equal(await file(), elsewhere);
  await dialog.getByText("# by someone else").waitFor();
  await dialog.getByRole("button", { name: "Save my text over it" }).click();
  await toast(page, "Saved and in force");
  assert.equal(await file(), original.replace("# the yard, and nothing else", "# my yard"));

  await retype(page, "# my yard", "# another yard");
  await status(page, "valid, not saved");
  await write(elsewhere);
  await page.locator("body").press("Control+s");
  await dialog.waitFor();
  await dialog.getByRole("button", { name: "Take the file, drop my changes" }).click();
  await page.locator(".cm-line", { hasText: "# by someone else" }).waitFor();
  assert.equal(await file(), elsewhere);
  // The browser reports an answer with 409.
  visit.forget();
});

test("a broken file is shown with its mistakes and repaired", async (t) => {
  await write(original.replace('"mqtt"', '"mqt"'), false);
  const visit = await visitConfiguration(t);
  const { page } = visit;
  await status(page, "the configuration from before is in force");
  await page.locator(".cm-lintRange-error", { hasText: "mqt" }).first().waitFor();
  await retypeAll(page, "mqtt: [");
  await page.locator(".mistakes", { hasText: "bracket" }).waitFor();
  await retypeAll(page, original);
  await status(page, "valid, not saved");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await toast(page, "Saved and in force");
  assert.equal(await file(), original);
  await status(page, "valid, in force");
  visit.expectNone();
});

test("a save that the service reads late is followed until it is in force", async (t) => {
  await write(original);
  const visit = await visitConfiguration(t);
  const { page } = visit;
  await page.route("**/api/v1/config_save", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), checked: false } });
  });
  // A comment only: the service sends no event for it.
  await retype(page, "# the yard", "# my yard");
  await status(page, "valid, not saved");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await toast(page, "Saved. The service reads it soon.");
  await toast(page, "Saved and in force");
  await status(page, "valid, in force");
  visit.expectNone();
});

test("keys are completed and explained", async (t) => {
  await write(original);
  const visit = await visitConfiguration(t);
  const { page } = visit;
  // The first text appears as soon as the page knows the keys: before that, nothing that is typed is completed.
  const explained = page.locator(".cm-tooltip", { hasText: "The folder of the outbox" });
  await wait("the page knows the keys", async () => {
    await page.mouse.move(0, 0);
    await page.locator(".cm-line", { hasText: '"state_dir"' }).getByText('"state_dir"').hover();
    return explained.waitFor({ timeout: 1_000 }).then(() => true, () => false);
  });
  await page.mouse.move(0, 0);
  await explained.waitFor({ state: "detached" });
  await page.locator(".cm-line", { hasText: '"state_dir"' }).click();
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await page.keyboard.type("sandb");
  await page.locator(".cm-tooltip-autocomplete li", { hasText: "sandbox" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.locator(".cm-tooltip-autocomplete li", { hasText: "sandbox" }).click();
  await page.locator(".cm-line", { hasText: "sandbox: " }).waitFor();
  await page.locator(".cm-line", { hasText: "state_dir" }).getByText("state_dir").hover();
  await page.locator(".cm-tooltip", { hasText: "The folder of the outbox" }).waitFor();
  await page.getByRole("button", { name: "Discard" }).click();
  await status(page, "valid, in force");
  visit.expectNone();
});

test("the tab key leaves the editor, and a text that is not saved survives a look at another page", async (t) => {
  await write(original);
  const visit = await visitConfiguration(t, { viewport: PHONE });
  const { page } = visit;
  await retype(page, "# the yard", "# unsaved");
  await status(page, "valid, not saved");
  await page.keyboard.press("Tab");
  assert.notEqual(await page.evaluate(() => document.activeElement?.className), "editor");
  await open(visit, service, "system");
  await open(visit, service, "configuration");
  await page.locator(".cm-line", { hasText: "# unsaved" }).waitFor();
  await page.getByRole("button", { name: "Discard" }).click();
  await page.locator(".cm-line", { hasText: "# the yard" }).waitFor();
  visit.expectNone();
});

test("who may only look sees the text without its passwords, and cannot change it", async (t) => {
  await write(original);
  const visit = await visitConfiguration(t, {}, "--view");
  const { page } = visit;
  await page.getByText("cannot be changed here").waitFor();
  assert.equal(await page.locator(".cm-content").getAttribute("aria-readonly"), "true");
  assert.equal(await page.getByRole("button", { name: "Save", exact: true }).count(), 0);
  // The editor measures itself, and then has the lines that can be seen.
  await painted(page);
  const text = await page.locator(".cm-content").innerText();
  assert.ok(text.includes("***") && !text.includes(TOKEN), "the token is masked");
  await page.locator(".cm-content").click();
  await page.keyboard.type("x");
  assert.equal(await page.locator(".cm-content").innerText(), text);
  assert.deepEqual(await violations(page), []);
  visit.expectNone();
});
