// Functions without a page: what they answer, as tables of cases.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

/** A module of the sources. */
async function load(name) {
  const built = await esbuild.build({
    entryPoints: [fileURLToPath(new URL(`../src/${name}`, import.meta.url))],
    bundle: true,
    format: "esm",
    jsx: "automatic",
    jsxImportSource: "preact",
    write: false,
  });
  return import(`data:text/javascript;base64,${Buffer.from(built.outputFiles[0].text).toString("base64")}`);
}

test("numbers", async () => {
  const { score, count, counted, bytes, duration } = await load("format.ts");
  for (const [found, expected] of [
    [score(0.909), "0.91"],
    [score(1), "1.00"],
    [score(0), "0.00"],
    [score(null), "–"],
    [score(undefined), "–"],
    [count(604800), "604,800"],
    [counted(1, "alert"), "1 alert"],
    [counted(0, "alert"), "0 alerts"],
    [counted(2, "near miss", "near misses"), "2 near misses"],
    [bytes(0), "0 B"],
    [bytes(999), "999 B"],
    [bytes(1400), "1.4 kB"],
    [bytes(23_456_789), "23 MB"],
    [duration(0.42), "0.4 s"],
    [duration(12.3), "12 s"],
    [duration(119.4), "119 s"],
    [duration(300), "5 min"],
    [duration(7200), "2 h"],
    [duration(86_400 * 3), "3 d"],
  ]) {
    assert.equal(found, expected);
  }
});

test("times", async () => {
  const { time, clock, day } = await load("format.ts");
  const now = new Date(2026, 10, 27, 12, 30, 15);
  const ago = (seconds) => new Date(now.getTime() - seconds * 1000);
  for (const [at, expected] of [
    [ago(0), "now"],
    [ago(0.4), "now"],
    [ago(42), "42 s ago"],
    [ago(59), "59 s ago"],
    [ago(60), "12:29"],
    [ago(3 * 3600), "09:30"],
    [ago(-5), "12:30"],
    [ago(24 * 3600), "Thu 26 12:30"],
    [ago(40 * 86_400), "18 Oct 12:30"],
    [ago(400 * 86_400), "23 Oct 2025 12:30"],
  ]) {
    assert.equal(time(at, now), expected);
  }
  assert.equal(clock(now, true), "12:30:15");
  assert.equal(day(now, now), "Fri 27");
});

test("addresses", async () => {
  globalThis.location = { hash: "" };
  const { parse, link } = await load("router.ts");
  for (const [hash, expected] of [
    ["", { page: "live", query: {} }],
    ["#/", { page: "live", query: {} }],
    ["#/alerts", { page: "alerts", query: {} }],
    ["#/alerts?source=back%20yard&label=a%26b", { page: "alerts", query: { source: "back yard", label: "a&b" } }],
    ["#/search?q=a+dog%3F", { page: "search", query: { q: "a dog?" } }],
    ["#/nothing?x=1", { page: "live", query: { x: "1" } }],
    ["#/constructor", { page: "live", query: {} }],
    ["#/alerts?%", { page: "alerts", query: { "%": "" } }],
  ]) {
    assert.deepEqual(parse(hash), expected, hash);
  }
  const query = { source: "back yard", label: "a&b?#/", empty: "", missing: undefined, limit: 5 };
  const address = link("alerts", query);
  assert.deepEqual(parse(address), { page: "alerts", query: { source: "back yard", label: "a&b?#/", limit: "5" } });
  assert.equal(link("live"), "#/live");
});
