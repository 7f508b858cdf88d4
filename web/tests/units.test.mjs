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

test("sparklines keep the highest score of ten seconds", async () => {
  const { withScore, values, joined, histories, key, BUCKETS } = await load("pages/live/model.ts");
  const line = (...scores) => scores.reduce((history, [second, value]) => withScore(history, second * 1000, value), undefined);
  const shown = (history, second) => values(history, second * 1000).map((value) => value ?? "-").join(" ").replace(/^(- )+/, "");
  for (const [history, second, expected] of [
    [line([0, 0.1]), 0, "0.1"],
    [line([0, 0.1], [3, 0.7], [9, 0.2]), 9, "0.7"],
    [line([0, 0.1], [12, 0.2]), 12, "0.1 0.2"],
    [line([0, 0.1], [35, 0.2]), 35, "0.1 - - 0.2"],
    [line([0, 0.1], [35, 0.2], [12, 0.9]), 35, "0.1 0.9 - 0.2"],
    [line([0, 0.1], [10_000, 0.2]), 10_000, "0.2"],
    [line([10_000, 0.2], [0, 0.1]), 10_000, "0.2"],
    [line([0, 0.1]), 45, "0.1 - - -"],
  ]) {
    assert.equal(shown(history, second), expected);
    assert.equal(values(history, second * 1000).length, BUCKETS);
  }
  assert.deepEqual(values(undefined, 0), []);
  const label = { label_set: "porch", label: "person" };
  const stored = histories({ labels: [{ ...label, points: [[0, 0.1, 0.8, 0.2], [20_000, 0.1, 0.3, 0.2]] }] });
  const all = joined(stored, new Map([[key(label), line([25, 0.5], [30, 0.4])]]));
  assert.equal(shown(all.get(key(label)), 30), "0.8 - 0.5 0.4");
});

test("events change a source", async () => {
  const { afterScores, afterAlert, afterState, sorted, isShown } = await load("pages/live/model.ts");
  const label = (name, score, more = {}) => ({ label_set: "porch", label: name, score, threshold: 0.6, clear_below: 0.6, raised: false, ...more });
  const before = {
    source: "door", kind: "rtsp", status: "online", details: [], regions: [],
    frame: { captured_at: "t0", scored_at: "t0", width: 4, height: 3 },
    labels: [label("person", 0.1), label("parcel", 0.2), label("both", null, { when: "person and parcel" })],
  };
  const event = (time, person) => ({ time, source: "door", label_set: "porch", region: null, scores: { person, parcel: 0.2, both: 1, background: 0.7 } });
  const next = afterScores(before, event("t1", 0.9));
  assert.deepEqual(next.labels.map(({ score }) => score), [0.9, 0.2, null], "a rule has no score");
  assert.deepEqual(next.frame, { captured_at: "t1", scored_at: "t1", width: 4, height: 3 });
  assert.equal(afterScores(next, event("t2", 0.9)).frame.scored_at, "t1", "the same scores are a picture that looks the same");
  const raised = afterAlert(next, { state: "raised", label_set: "porch", label: "parcel", time: "t3" });
  assert.deepEqual(sorted(raised.labels).map((one) => one.label), ["parcel", "person", "both"]);
  assert.equal(raised.labels[1].raised_since, "t3");
  assert.equal(afterAlert(raised, { state: "cleared", label_set: "porch", label: "parcel", time: "t4" }).labels[1].raised, false);
  const offline = afterState(raised, { source: "door", status: "offline", problem: { cause: "refused", since: "t5" } });
  assert.deepEqual([offline.status, offline.problem.remedy], ["offline", ""]);
  const shown = (source) => ["", "raised", "problems"].filter((filter) => isShown(source, filter));
  assert.deepEqual([shown(before), shown(raised), shown(offline)], [[""], ["", "raised"], ["", "raised", "problems"]]);
});

test("what the first steps save", async () => {
  const { words, freeName, changes } = await load("pages/start/camera.ts");
  assert.deepEqual(words(" a dog \n\n a cat, a dog ,"), ["a dog", "a cat"]);
  for (const [taken, expected] of [[[], "camera"], [["Camera"], "camera-2"], [["camera", "camera-2"], "camera-3"]]) {
    assert.equal(freeName(taken), expected);
  }
  const camera = { address: " rtsp://h/a ", username: "me", password: "p${env:X}" };
  assert.deepEqual(changes("door", "rtsp", camera, ["a dog"], ["an empty yard"], 0.7), [
    { kind: "add_label_set", label_set: "door", settings: { background: ["an empty yard"], labels: { "a dog": 0.7 } } },
    { kind: "add_source", source: "door", settings: { rtsp: "rtsp://h/a", username: "me", password: "p$${env:X}", watch: ["door"] } },
  ]);
  const plain = changes("door", "http", { address: "http://h/a", username: "", password: "" }, ["a dog"], [], 0.7);
  assert.deepEqual(plain[0].settings, { labels: { "a dog": 0.7 } });
  assert.deepEqual(plain[1].settings, { http: "http://h/a", watch: ["door"] });
});

test("settings that are tried", async () => {
  const { NOTHING, clearOf, forConfiguration, linesOf, thresholdOf, withChanges } = await load("pages/tune/types.ts");
  const settings = { threshold: 0.8, clear_below: 0.8, rises: false, has_baseline: false, hold: "2 of 3", for: "0s", cooldown: "5m", active: [] };
  const typed = { ...settings, clear_below: 0.6 };
  const rises = { ...settings, threshold: 0.3, clear_below: 0.15, rises: true };
  for (const [name, found, expected] of [
    ["a threshold", withChanges(settings, NOTHING, { threshold: 0.55 }), { threshold: 0.55 }],
    ["back to the one in force", withChanges(settings, { threshold: 0.55 }, { threshold: 0.8 }), {}],
    ["a clear level that would follow", withChanges(settings, { threshold: 0.55 }, { clear_below: 0.55 }), { threshold: 0.55 }],
    ["a clear level", withChanges(settings, { threshold: 0.55 }, { clear_below: 0.3 }), { threshold: 0.55, clear_below: 0.3 }],
    ["a threshold below it", withChanges(settings, { clear_below: 0.5 }, { threshold: 0.4 }), { threshold: 0.4 }],
    ["always is in force", withChanges(settings, NOTHING, { active: ["always"] }), {}],
    ["hours", withChanges(settings, NOTHING, { active: ["22:00-06:00"] }), { active: ["22:00-06:00"] }],
    ["the threshold", thresholdOf(settings, { threshold: 0.5 }), 0.5],
    ["the clear level follows", clearOf(settings, { threshold: 0.5 }), 0.5],
    ["one that was typed stays", clearOf(typed, { threshold: 0.7 }), 0.6],
    ["but never above", clearOf(typed, { threshold: 0.5 }), 0.5],
    ["half of a rise", clearOf(rises, { rise: 0.2 }), 0.1],
    ["as typed", forConfiguration(settings, { threshold: 0.5 }), { threshold: 0.5 }],
    ["with a clear level that would be above", forConfiguration(typed, { threshold: 0.5 }), { threshold: 0.5, clear_below: 0.5 }],
    ["one span", forConfiguration(settings, { active: ["22:00-06:00"] }), { active: "22:00-06:00" }],
    [
      "lines",
      linesOf({ source: undefined, label_set: "yard", label: "a: b" }, { threshold: 0.5, hold: "2 of 3", active: "22:00-06:00" }),
      'label_sets:\n  yard:\n    labels:\n      "a: b":\n        threshold: 0.5\n        hold: 2 of 3\n        active: "22:00-06:00"',
    ],
    [
      "lines of a source",
      linesOf({ source: "gate", label_set: "yard", label: "dog" }, { prompts: ["a dog", "two dogs"] }),
      'sources:\n  gate:\n    watch:\n      yard:\n        dog:\n          prompts: ["a dog", "two dogs"]',
    ],
  ]) {
    assert.deepEqual(found, expected, name);
  }
});

test("what is drawn of a trial", async () => {
  const { apart, drawn, levels, spans, topOf } = await load("pages/tune/drawn.ts");
  assert.deepEqual(apart([[1, 5], [10, 20], [30, 40]], [[5, 6], [21, 29]]), [[10, 20], [30, 40]]);
  assert.deepEqual(apart([[1, 5]], []), [[1, 5]]);
  const answer = { now: { spans: [[1000, 2000], [5000, 6000]] }, then: { spans: [[1500, 2500], [8000, 9000]] } };
  assert.deepEqual(spans(answer), [
    { from: 5, to: 6, kind: "gone" },
    { from: 1.5, to: 2.5, kind: "raised" },
    { from: 8, to: 9, kind: "new" },
  ]);
  for (const [highest, expected] of [[0.9, 1], [0.5, 1], [0.3, 0.4], [0.02, 0.03], [0, 0.001]]) assert.equal(topOf(highest), expected, highest);
  const scores = { labels: [{ label_set: "a", label: "b", points: [[1000, 0.1, 0.3, 0.2], [9000, 0.2, 0.9, 0.4]] }], gaps: [[1000, 9000]] };
  const { times, series, band, top } = drawn(scores, { label_set: "a", label: "b" }, { points: [[1000, 0, 0.5, 0.5], [2000, 0, 0.6, 0.6]], gaps: [] }, undefined);
  assert.deepEqual(times, [1, 1.001, 2, 9]);
  assert.deepEqual(series.map(({ values }) => values), [[0.3, null, undefined, 0.9], [0.5, undefined, 0.6, undefined]]);
  assert.deepEqual([band.lowest, top], [[0.1, null, undefined, 0.2], 1]);
  const settings = { threshold: 0.8, clear_below: 0.6, rises: false, hold: "1 of 1", for: "0s", cooldown: "0s", active: [] };
  const words = (tried) => levels(settings, tried, 1, () => {}).map(({ text, value }) => `${text} ${value}`);
  assert.deepEqual(words({}), ["alert at 0.8", "clear below 0.6"]);
  assert.deepEqual(words({ threshold: 0.5 }), ["alert at 0.5", "clear below 0.5", "now 0.8"]);
  assert.deepEqual(levels({ ...settings, rises: true }, {}, 1, () => {}), []);
});

test("places by a part of their names", async () => {
  globalThis.document ??= { baseURI: "http://localhost/console/" };
  const { matching } = await load("palette.tsx");
  const place = (text, kind) => ({ text, kind, href: `#${text} ${kind}` });
  const places = [place("Live", "page"), place("back yard", "Live"), place("back yard / red car", "Tune")];
  const texts = (words) => matching(places, words).map(({ text, kind }) => `${text}, ${kind}`);
  for (const [words, expected] of [
    ["", ["Live, page", "back yard, Live", "back yard / red car, Tune"]],
    ["  ", ["Live, page", "back yard, Live", "back yard / red car, Tune"]],
    ["YARD", ["back yard, Live", "back yard / red car, Tune", "YARD, Search"]],
    ["car back", ["back yard / red car, Tune", "car back, Search"]],
    ["a fox", ["a fox, Search"]],
  ]) {
    assert.deepEqual(texts(words), expected, words);
  }
  const many = Array.from({ length: 50 }, (_, number) => place(`camera ${number}`, "Live"));
  assert.equal(matching(many, "camera").length, 13, "twelve, and the search");
});
