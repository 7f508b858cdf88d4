// Makes a picture of the page that Home Assistant has for a device, in light and dark: `node tools/home-assistant.mjs URL TOKEN DEVICE FOLDER`.
// URL is a Home Assistant that is set up, TOKEN an access token of it. `tools/test_home_assistant.py --pictures FOLDER` calls it.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PATIENCE = 120_000;
const [url, token, device, folder] = process.argv.slice(2);

await mkdir(folder, { recursive: true });
const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
try {
  for (const colorScheme of ["light", "dark"]) await picture(colorScheme);
} finally {
  await browser.close();
}

async function picture(colorScheme) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme, reducedMotion: "reduce", locale: "en-GB" });
  context.setDefaultTimeout(PATIENCE);
  // As its own page for the login stores them.
  const tokens = { access_token: token, token_type: "Bearer", refresh_token: "", expires_in: 1800, expires: Date.now() + 1_500_000, hassUrl: url, clientId: `${url}/` };
  await context.addInitScript((value) => localStorage.setItem("hassTokens", value), JSON.stringify(tokens));
  const page = await context.newPage();
  await page.goto(`${url}/config/devices/dashboard`);
  const found = await page.waitForFunction((name) => {
    const { devices = {} } = document.querySelector("home-assistant")?.hass ?? {};
    return Object.values(devices).find((one) => (one.name_by_user ?? one.name) === name)?.id;
  }, device);
  await page.goto(`${url}/config/devices/device/${await found.jsonValue()}`);
  await page.getByText("Device info").first().waitFor();
  // The picture of the newest alert is loaded last.
  await page.waitForLoadState("networkidle");
  await page.screenshot({ path: join(folder, `home-assistant-${colorScheme}.png`), animations: "disabled" });
  await context.close();
}
