// A browser for the tests of the console: Debian's Chromium, and pages that notice what no page may do.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { PATIENCE } from "./service.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** The pages of the header. */
export const PAGES = ["live", "alerts", "tune", "search", "configuration", "system"];
/** A phone and a wide screen. */
export const PHONE = { width: 360, height: 740 };
export const WIDE = { width: 1440, height: 900 };

/** The headings of the pages. That of Tune is the label that is tuned. */
const HEADINGS = { live: "Live", alerts: "Alerts", tune: /^Tune$| \/ /, search: "Search", configuration: "Configuration", system: "System", start: "First steps" };

/** Starts the browser. As root Chromium has no sandbox. */
export function launch() {
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: CHROMIUM, args });
}

/**
 * A visitor: a browser of its own, with no cookies. `page` is its page. `faults` collects errors of the console, exceptions, requests to
 * other machines, and text that was run; `expectNone` checks that there are none.
 */
export async function visitor(browser, service, { viewport = WIDE, colorScheme = "light", reducedMotion = "reduce", ...rest } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion, ...rest });
  context.setDefaultTimeout(PATIENCE);
  if (process.env.CONSOLE === "sources") await serveSources(context, service);
  const page = await context.newPage();
  await page.addInitScript(listen);
  const faults = [];
  const origin = new URL(service.url).origin;
  await page.exposeFunction("planted", () => void faults.push("planted text was run"));
  page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()} (${message.location().url})`));
  page.on("pageerror", (error) => faults.push(`exception: ${error.stack ?? error}`));
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (!["blob:", "data:"].includes(url.protocol) && url.origin !== origin) faults.push(`a request to ${request.url()}`);
  });
  return {
    page,
    context,
    faults,
    expectNone(what) {
      assert.deepEqual(faults, [], what);
    },
    /** Errors that a test provokes are no faults. */
    forget: () => faults.splice(0),
    close: () => context.close(),
  };
}

/**
 * With CONSOLE=sources the pages are those of src/ instead of those in the program, with the header fields of the program: a change of a
 * page needs no build of the program.
 */
async function serveSources(context, service) {
  const { build, kind } = await import("../build.mjs");
  const { assets } = await build();
  const { headers } = await fetch(`${service.url}/console/`);
  await context.route(`${service.url}/console/**`, (route) => {
    const name = new URL(route.request().url()).pathname.split("/").at(-1) || "index.html";
    if (!assets.has(name)) return route.fallback();
    const policy = headers.get("content-security-policy");
    return route.fulfill({ body: assets.get(name), contentType: kind(name), headers: { "content-security-policy": policy } });
  });
}

/** Signs the visitor in with a link that is valid once, and waits for the first page. */
export async function signIn(visit, service, ...options) {
  await visit.page.goto(await service.link(...options));
  await ready(visit.page);
}

/** Opens a page of the console, for a visitor who is signed in. */
export async function open(visit, service, address) {
  await visit.page.goto(`${service.url}/console/#/${address}`);
  await opened(visit.page, address.split("?")[0]);
}

/** Waits until this page is there. The page before it stays until then. */
export async function opened(page, name) {
  await page.getByRole("heading", { level: 1, name: HEADINGS[name], exact: true }).waitFor();
  await ready(page);
}

/** Waits until the page is drawn, and no request is open that it waits for. */
export async function ready(page) {
  await page.locator("main h1").first().waitFor();
  await painted(page);
  await page.waitForFunction(() => document.querySelectorAll("[aria-busy=true]").length === 0);
  await page.evaluate(() => document.fonts.ready);
  await painted(page);
}

/**
 * Waits for the next frames of the page: events of a pointer arrive with one, what they change is drawn with the next, and then the page
 * listens to what is drawn.
 */
export function painted(page) {
  return page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))));
}

/** Waits until the assertions of `check` hold: some of a page is drawn later than what it depends on. */
export async function eventually(check) {
  for (const end = Date.now() + PATIENCE; ; ) {
    try {
      return await check();
    } catch (error) {
      if (!(error instanceof assert.AssertionError) || Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until the page says this in a toast, or has said it since it was loaded: a toast is there for some seconds only. */
export function toast(page, words) {
  return page.waitForFunction((words) => globalThis.toasts.some((text) => text.includes(words)), words);
}

/** Keeps the texts of toasts. Runs in the page. */
function listen() {
  const toasts = (globalThis.toasts = []);
  const look = () => document.querySelectorAll(".toast > span").forEach(({ textContent }) => toasts.push(textContent));
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
}

/** What axe-core finds on the page. */
export async function violations(page) {
  await page.evaluate(await readFile(AXE, "utf8"));
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    // Two elements of each kind are enough to find the others.
    const shown = ({ id, help, nodes }) => nodes.slice(0, 2).map((node) => `${id}: ${help} (${nodes.length}): ${node.target.join(" ")}: ${node.html.slice(0, 200)}: ${node.failureSummary}`);
    return violations.flatMap(shown);
  });
  return found;
}

/** Elements that make the page wider than the screen. Parts that scroll inside are no fault. */
export async function tooWide(page) {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const wide = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > clientWidth + 1);
    return [`${scrollWidth} px on ${clientWidth} px`, ...wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 160))];
  });
}
