// Functions without a page: what they answer, as tables of cases.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

let loaded = 0;

/** Modules of the sources, as one: they share what they import, and each call has modules of its own. */
async function load(...names) {
  const built = await esbuild.build({
    stdin: { contents: names.map((name) => `export * from "./${name}";`).join("\n"), resolveDir: fileURLToPath(new URL("../src", import.meta.url)) },
    bundle: true,
    format: "esm",
    jsx: "automatic",
    jsxImportSource: "preact",
    footer: { js: `// ${(loaded += 1)}` },
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
  // Days are those of the calendar: some have 23 or 25 hours.
  const daysAgo = (days) => new Date(2026, 10, 27 - days, 12, 30, 15);
  for (const [at, expected] of [
    [ago(0), "now"],
    [ago(0.4), "now"],
    [ago(42), "42 s ago"],
    [ago(59), "59 s ago"],
    [ago(60), "12:29"],
    [ago(3 * 3600), "09:30"],
    [ago(-5), "12:30"],
    [daysAgo(1), "Thu 26 12:30"],
    [daysAgo(40), "18 Oct 12:30"],
    [daysAgo(400), "23 Oct 2025 12:30"],
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
  const problem = { cause: "refused", since: "t5", remedy: "turn it on" };
  const offline = afterState(raised, { source: "door", status: "offline", problem });
  assert.deepEqual([offline.status, offline.problem], ["offline", problem]);
  assert.deepEqual(afterState(offline, { source: "door", status: "online" }).problem, undefined);
  const shown = (source) => ["", "raised", "problems"].filter((filter) => isShown(source, filter));
  assert.deepEqual([shown(before), shown(raised), shown(offline)], [[""], ["", "raised"], ["", "raised", "problems"]]);
  assert.deepEqual(shown(afterState(before, { source: "door", status: "disabled" })), [""], "switched off is no problem");
});

test("what is set is of a source or of a label", async () => {
  const { isEnabled, isSwitchedOff, ownOf, snoozedUntil } = await load("pages/live/model.ts");
  const snooze = { source: "door", setting: "snooze", value: "until 07:00", until: "t9", by: "mqtt", at: "t0", sentence: "snoozed" };
  const threshold = { source: "door", label_set: "porch", label: "person", setting: "threshold", value: "0.7", by: "console", at: "t0", sentence: "0.7" };
  const label = { label_set: "porch", label: "person", set: [snooze, threshold], held_by: { gate: "enabled" } };
  const source = { source: "door", status: "online", set: [snooze], labels: [label] };
  assert.deepEqual([snoozedUntil(source), ownOf(label), isSwitchedOff(label)], ["t9", [threshold], true]);
  assert.deepEqual([snoozedUntil({ ...source, set: undefined }), ownOf({ ...label, set: undefined })], [undefined, []]);
  assert.deepEqual([isEnabled(source), isEnabled({ ...source, status: "disabled" })], [true, false]);
});

test("scores of an event are rounded, and those of an answer are not", async () => {
  const { afterScores } = await load("pages/live/model.ts");
  const label = (score) => ({ label_set: "porch", label: "person", score, threshold: 0.6, clear_below: 0.6, raised: false });
  const scoredAt = (known, arrived) => {
    const source = { source: "door", labels: [label(known)], frame: { captured_at: "t0", scored_at: "t0", width: 4, height: 3 } };
    return afterScores(source, { time: "t1", source: "door", label_set: "porch", region: null, scores: { person: arrived } }).frame.scored_at;
  };
  for (const [known, arrived, expected] of [
    [0.12345678, 0.123457, "t0"],
    [0.1234565, 0.123457, "t0"],
    [0.1234565, 0.123456, "t0"],
    [0.12345678, 0.123456, "t1"],
    [0.12345678, 0.123458, "t1"],
    [0.00000012, 0, "t0"],
    [null, 0.123457, "t1"],
  ]) {
    assert.equal(scoredAt(known, arrived), expected, `${known} and ${arrived}`);
  }
});

test("a list of alerts with its newest part on top", async () => {
  globalThis.document ??= { baseURI: "http://localhost/console/" };
  const { refreshed } = await load("pages/alerts/list.ts");
  // An entry `a9` was captured in minute 9.
  const entry = (name) => ({ id: name, captured_at: `2026-11-27T12:0${name.slice(1)}:00Z` });
  const part = (names, more) => ({ entries: names.split(" ").filter(Boolean).map(entry), more });
  for (const [what, list, newest, expected] of [
    ["new ones are on top", part("a5 a4 a3", true), part("a7 a6 a5", true), ["a7 a6 a5 a4 a3", true]],
    ["nothing is new", part("a5 a4 a3", false), part("a5 a4", true), ["a5 a4 a3", false]],
    ["the end of the list is known", part("a5 a4 a3", false), part("a6 a5", true), ["a6 a5 a4 a3", false]],
    ["entries in between are missing", part("a3 a2", true), part("a9 a8 a7", true), ["a9 a8 a7", true]],
    ["nothing is older", part("a5 a4 a3", true), part("a6 a5", false), ["a6 a5", false]],
    ["one was deleted", part("a5 a4 a3 a2", true), part("a6 a5 a3", true), ["a6 a5 a3 a2", true]],
    ["the list was empty", part("", false), part("a6", true), ["a6", true]],
    ["everything was deleted", part("a5", true), part("", false), ["", false]],
  ]) {
    const { entries, more } = refreshed(list, newest);
    assert.deepEqual([entries.map(({ id }) => id).join(" "), more], expected, what);
  }
});

/** Gives globals other values until the test ends. */
function replaceGlobals(t, values) {
  for (const [name, value] of Object.entries(values)) {
    const known = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (known ? Object.defineProperty(globalThis, name, known) : delete globalThis[name]));
  }
}

/** Waits until everything that is ready has run. */
const idle = async () => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** The modules that store verdicts, with a service that answers with this status. `settled` returns what was sent since the last time. */
async function loadMarks(t) {
  const [listeners, sent, service] = [[], [], { status: 200 }];
  replaceGlobals(t, {
    window: { addEventListener: (kind, listener) => listeners.push([kind, listener]) },
    document: { baseURI: "http://localhost/console/" },
    fetch: async (address, { body }) => {
      const { verdict, ...subject } = JSON.parse(body);
      sent.push(`${new URL(address).pathname} ${Object.values(subject).join(" ")} ${verdict}`);
      const { status } = service;
      return Response.json(status === 200 ? {} : { title: "a title", status, detail: "no" }, { status });
    },
  });
  const modules = await load("marks.ts", "judging.ts");
  const settled = async () => {
    while (modules.unstored().waiting > 0) await new Promise((resolve) => setImmediate(resolve));
    return sent.splice(0).map((line) => line.replace("/api/v1/mark ", ""));
  };
  /** Whether the browser asks before the page is left. */
  const asks = () => {
    let isAsked = false;
    listeners.find(([kind]) => kind === "beforeunload")[1]({ preventDefault: () => (isAsked = true) });
    return isAsked;
  };
  return { ...modules, sent, settled, asks, service };
}

test("marks of alerts are shown at once, stored in the background, and taken back", async (t) => {
  const { hasFailed, mark, retry, undo, unstored, verdictOf, sent, settled, asks, service } = await loadMarks(t);
  const entry = (id, mark) => ({ id, mark });
  const [a, b, c, d, e] = [entry("a"), entry("b", "wrong"), entry("c"), entry("d"), entry("e")];

  assert.deepEqual([verdictOf(a), verdictOf(b), undo()], [null, "wrong", undefined]);
  mark(a, "right");
  assert.deepEqual([verdictOf(a), unstored().waiting], ["right", 1], "it is shown before it is stored");
  assert.deepEqual(await settled(), ["a right"]);
  mark(a, "right");
  mark(b, "wrong");
  assert.deepEqual(await settled(), [], "a verdict that is stored is not sent again");

  // Of one entry, the newest verdict counts; no more than three requests are open.
  for (const one of [c, d, e]) mark(one, "right");
  mark(c, "wrong");
  mark(b, null);
  assert.equal(sent.length, 3);
  assert.deepEqual((await settled()).sort(), ["b undo", "c right", "c wrong", "d right", "e right"]);
  assert.deepEqual([a, b, c, d, e].map(verdictOf), ["right", null, "wrong", "right", "right"]);

  assert.deepEqual([undo(), undo(), undo()], ["b", "c", "e"]);
  assert.deepEqual((await settled()).sort(), ["b wrong", "c right", "e undo"]);
  assert.deepEqual([b, c, e].map(verdictOf), ["wrong", "right", null]);

  // A verdict that is not stored stays on the page until it is tried again.
  service.status = 500;
  mark(e, "wrong");
  await settled();
  assert.deepEqual([verdictOf(e), hasFailed(e), unstored().failed.map(({ problem }) => problem)], ["wrong", true, ["no"]]);
  assert.equal(asks(), true, "the browser asks before the page is left");
  service.status = 200;
  retry();
  assert.deepEqual([await settled(), hasFailed(e), unstored().failed, asks()], [["e wrong"], false, [], false]);

  // Nothing to undo is what was wanted, and an entry that is gone has no verdict.
  service.status = 409;
  mark(e, null);
  await settled();
  assert.deepEqual([verdictOf(e), hasFailed(e)], [null, false]);
  service.status = 404;
  mark(d, "wrong");
  await settled();
  assert.deepEqual([verdictOf(d), hasFailed(d)], [null, false]);
});

test("marks of moments, and a verdict that was never stored", async (t) => {
  const { hasFailed, keyOf, mark, retry, undo, unstored, verdictOf, settled, asks, service } = await loadMarks(t);
  const moment = (at, mark) => ({ source: "yard", label: "objects/red car", at, mark });
  const [a, b] = [moment("08:15", "right"), moment("08:16")];
  mark(b, "wrong");
  assert.deepEqual([verdictOf(a), verdictOf(b), await settled()], ["right", "wrong", ["yard objects/red car 08:16 wrong"]]);
  assert.equal(verdictOf({ id: "08:16", mark: null }), null, "an alert is no moment");

  // What was never stored is taken back without a request: there is nothing to undo.
  service.status = 500;
  mark(a, "wrong");
  await settled();
  assert.deepEqual([verdictOf(a), hasFailed(a), unstored().failed.length, asks()], ["wrong", true, 1, true]);
  assert.equal(undo(), keyOf(a));
  assert.deepEqual([verdictOf(a), hasFailed(a), asks(), await settled()], ["right", false, false, []]);
  service.status = 200;
  retry();
  assert.deepEqual(await settled(), []);
  assert.equal(undo(), keyOf(b));
  assert.deepEqual([verdictOf(b), await settled(), undo()], [null, ["yard objects/red car 08:16 undo"], undefined]);

  // The verdict on another moment of the alert stays, and is shown.
  service.status = 409;
  mark(a, null);
  assert.equal(verdictOf(a), null);
  assert.deepEqual([await settled(), verdictOf(a), undo()], [["yard objects/red car 08:15 undo"], "right", undefined]);

  // What the service has deleted cannot be taken back either.
  service.status = 404;
  mark({ id: "gone" }, "right");
  assert.deepEqual([await settled(), undo(), unstored()], [["gone right"], undefined, { waiting: 0, failed: [] }]);
});

test("keys judge what is selected, and only buttons take a verdict back", async (t) => {
  const { judgingKeys, keyOf, press, verdictOf, settled } = await loadMarks(t);
  const alerts = [{ id: "a", mark: "right" }, { source: "yard", label: "objects/red car", at: "08:15", mark: "wrong" }, { id: "c" }, { id: "d" }];
  let place = -1;
  const key = (name, { repeat = false, mayMark = true } = {}) => {
    const move = (to) => void (place = Math.min(to, alerts.length - 1));
    const found = (undone) => alerts.findIndex((alert) => keyOf(alert) === undone);
    const onUndone = (undone) => {
      if (found(undone) >= 0) move(found(undone));
      return found(undone) >= 0;
    };
    const keys = judgingKeys({ current: alerts[place], mayMark, onFirst: () => move(0), onNext: () => move(place + 1), onUndone });
    keys[name]({ repeat });
  };
  const held = { repeat: true };
  for (const [what, name, options, expectedPlace, expected, expectedSent] of [
    ["a key that is held does not even select", "y", held, -1, "right wrong - -", ""],
    ["the first key only selects", "y", {}, 0, "right wrong - -", ""],
    ["held since then, it judges nothing", "y", held, 0, "right wrong - -", ""],
    ["right stays right", "y", {}, 1, "right wrong - -", ""],
    ["wrong stays wrong", "n", {}, 2, "right wrong - -", ""],
    ["who may only look marks nothing", "y", { mayMark: false }, 2, "right wrong - -", ""],
    ["one without a mark", "y", {}, 3, "right wrong right -", "c right"],
    ["a held key goes no further", "y", held, 3, "right wrong right -", ""],
    ["nor does it take back", "u", held, 3, "right wrong right -", ""],
    ["the newest verdict is taken back", "u", {}, 2, "right wrong - -", "c undo"],
    ["what was right before is not", "u", {}, 2, "right wrong - -", ""],
  ]) {
    key(name, options);
    const sent = await settled();
    assert.deepEqual([place, alerts.map((alert) => verdictOf(alert) ?? "-").join(" "), sent.join()], [expectedPlace, expected, expectedSent], what);
  }
  press(alerts[0], "right", true);
  press(alerts[1], "right", true);
  press(alerts[2], "right", false);
  assert.deepEqual(await settled(), ["a undo", "yard objects/red car 08:15 right"]);
  assert.deepEqual(alerts.map(verdictOf), [null, "right", null, null]);
});

test("a request without an answer ends after its time limit", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let hangs = "the answer";
  /** Rejects when the request is given up. */
  const never = (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const signals = [];
  replaceGlobals(t, {
    document: { baseURI: "http://localhost/console/" },
    fetch: async (_, { signal }) => {
      signals.push(signal);
      if (hangs === "the answer") return never(signal);
      const body = () => (hangs === "nothing" ? Promise.resolve("a body") : never(signal));
      return { ok: true, status: 200, headers: new Headers(), json: body, blob: body };
    },
  });
  const { fetchPicture, get, post, send, upload } = await load("api.ts");
  const picture = new Blob(["a picture"]);
  const requests = [
    ["a question", 60, (signal) => get("sources", {}, signal)],
    ["a picture", 60, (signal) => fetchPicture("/api/v1/pictures/7", signal)],
    ["a request with a body", 110, (signal) => post("mark", { id: "a", verdict: "right" }, signal)],
    ["a file", 110, (signal) => upload("search_picture", {}, picture, signal)],
    ["a sign-in", 110, () => send("POST", "session", { token: "a" })],
    ["a sign-out", 60, () => send("DELETE", "session")],
  ];
  for (hangs of ["the answer", "the body"]) {
    // Nothing reads the body of an answer to a sign-in.
    for (const [what, seconds, ask] of hangs === "the body" ? requests.slice(0, 4) : requests) {
      let error;
      const ended = ask().catch((thrown) => (error = thrown));
      await idle();
      t.mock.timers.tick(seconds * 1000 - 1);
      await idle();
      assert.equal(error, undefined, `${what}, ${hangs}`);
      t.mock.timers.tick(1);
      await ended;
      assert.deepEqual([error.name, error.status, error.problem], ["ApiError", 0, `the service does not answer within ${seconds} s`], `${what}, ${hangs}`);
    }
  }

  // A page that gives a request up, before it or while it is open, gets no error of the service.
  hangs = "the answer";
  const control = new AbortController();
  const givenUp = get("sources", {}, control.signal);
  control.abort();
  await assert.rejects(givenUp, { name: "AbortError" });
  const late = get("sources", {}, control.signal);
  assert.equal(signals.at(-1).aborted, true);
  t.mock.timers.tick(60_000);
  await Promise.race([late.catch(() => {}), idle()]);

  // The limit ends with the answer.
  hangs = "nothing";
  assert.equal(await get("sources"), "a body");
  t.mock.timers.tick(120_000);
  assert.equal(signals.at(-1).aborted, false);
});

test("the page asks a service that fails again every five seconds, however many frames are scored", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  let now = 1_000_000;
  t.mock.method(performance, "now", () => now);
  const [asked, answers, events] = [[], { newest: 503, scores: 503 }, {}];
  let store;
  t.after(() => store?.end());
  const source = { source: "yard", kind: "folder", status: "online", details: [], regions: [], labels: [], frame: { captured_at: "t0", scored_at: "t0", width: 4, height: 3 } };
  replaceGlobals(t, {
    window: globalThis,
    document: { baseURI: "http://localhost/console/", hidden: false, addEventListener() {}, removeEventListener() {} },
    requestAnimationFrame: (draw) => draw(),
    EventSource: class {
      addEventListener(kind, listener) {
        events[kind] = (data) => listener({ data: JSON.stringify(data) });
      }
    },
    fetch: async (address) => {
      const verb = new URL(address).pathname.split("/").at(-1);
      if (verb === "sources") return Response.json({ sources: [source] });
      asked.push(verb);
      return answers[verb] === 200 ? new Response("{}") : Response.json({ detail: "no" }, { status: answers[verb] });
    },
  });
  const { LiveStore } = await load("pages/live/store.ts");
  store = new LiveStore(() => {}, assert.fail);
  store.start();
  await idle();
  store.watch("yard", () => {});
  await idle();
  let frame = 0;
  /** Lets seconds pass, each with a frame, and returns what was asked. */
  const pass = async (seconds) => {
    for (let second = 0; second < seconds; second += 1) {
      now += 1_000;
      t.mock.timers.tick(1_000);
      await idle();
      events.scores({ time: `t${(frame += 1)}`, source: "yard", label_set: "objects", region: null, scores: {} });
      await idle();
    }
    return asked.splice(0).sort().join(" ");
  };
  assert.equal(await pass(4), "newest scores", "once, when the card came into view");
  assert.equal(await pass(5), "newest scores", "again after five seconds");
  // One that fails does not hold up the other one.
  answers.newest = 200;
  assert.equal(await pass(5), "newest newest newest newest newest scores");
});

test("a label that is made of a search", async () => {
  globalThis.document ??= { baseURI: "http://localhost/console/" };
  const { changesOf, yamlOf } = await load("pages/search/find.ts");
  const draft = { set: "yard", label: "fox", words: "a fox ${env:X}" };
  const settings = { prompts: ["a fox $${env:X}"], threshold: 0.6 };
  assert.deepEqual(changesOf(draft), [{ kind: "add_label", label_set: "yard", label: "fox", settings }]);
  assert.deepEqual(changesOf({ ...draft, background: "${a}", source: "gate" }), [
    { kind: "add_label_set", label_set: "yard", settings: { background: ["$${a}"], labels: { fox: settings } } },
    { kind: "watch", source: "gate", label_set: "yard" },
  ]);
  assert.equal(
    yamlOf({ ...draft, background: "${a}" }),
    'label_sets:\n  yard:\n    background: ["$${a}"]\n    labels:\n      fox:\n        prompts: ["a fox $${env:X}"]\n        threshold: 0.6\n',
  );
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
  const { NOTHING, clearOf, forConfiguration, linesOf, probeOf, thresholdOf, withChanges } = await load("pages/tune/types.ts");
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
    ["a clear level is never above the threshold", withChanges(settings, { threshold: 0.55 }, { clear_below: 0.9 }), { threshold: 0.55 }],
    ["nor above the one in force", withChanges(typed, NOTHING, { clear_below: 0.9 }), { clear_below: 0.8 }],
    ["a lower threshold takes it along", withChanges(typed, { clear_below: 0.7 }, { threshold: 0.65 }), { threshold: 0.65, clear_below: 0.65 }],
    ["a clear rise", withChanges(rises, NOTHING, { clear_rise: 0.2 }), { clear_rise: 0.2 }],
    ["a clear rise is never above the rise", withChanges(rises, NOTHING, { clear_rise: 0.5 }), { clear_rise: 0.3 }],
    ["nor above one that is tried", withChanges(rises, { rise: 0.2 }, { clear_rise: 0.25 }), { rise: 0.2, clear_rise: 0.2 }],
    ["a lower rise takes it along", withChanges(rises, { clear_rise: 0.25 }, { rise: 0.2 }), { rise: 0.2, clear_rise: 0.2 }],
    ["half of the rise follows", withChanges(rises, NOTHING, { rise: 0.2, clear_rise: 0.1 }), { rise: 0.2 }],
    ["as typed", forConfiguration(settings, { threshold: 0.5 }, false), { threshold: 0.5 }],
    ["a clear level that is named, and equal", forConfiguration(settings, { threshold: 0.5 }, true), { threshold: 0.5, clear_below: 0.5 }],
    ["the same upwards", forConfiguration(settings, { threshold: 0.9 }, true), { threshold: 0.9, clear_below: 0.9 }],
    ["a clear rise that is named", forConfiguration(rises, { rise: 0.2 }, true), { rise: 0.2, clear_rise: 0.1 }],
    ["both are tried", forConfiguration(settings, { threshold: 0.5, clear_below: 0.4 }, true), { threshold: 0.5, clear_below: 0.4 }],
    ["the threshold is not tried", forConfiguration(settings, { hold: "1 of 1" }, true), { hold: "1 of 1" }],
    ["with a clear level that would be above", forConfiguration(typed, { threshold: 0.5 }, false), { threshold: 0.5, clear_below: 0.5 }],
    ["one that stays below", forConfiguration(typed, { threshold: 0.7 }, true), { threshold: 0.7 }],
    ["one span", forConfiguration(settings, { active: ["22:00-06:00"] }, false), { active: "22:00-06:00" }],
    ["whether it is named is asked", probeOf(settings, { threshold: 0.5 }), { threshold: 0.4 }],
    ["for a rise as well", probeOf(rises, { rise: 0.5 }), { rise: 0.075 }],
    ["not if it differs", probeOf(typed, { threshold: 0.5 }), undefined],
    ["not if it is tried", probeOf(settings, { threshold: 0.5, clear_below: 0.4 }), undefined],
    ["not without a threshold", probeOf(settings, { hold: "1 of 1" }), undefined],
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

test("what settings do, in words", async () => {
  globalThis.document ??= { baseURI: "http://localhost/console/" };
  const { summary } = await load("pages/tune/Answer.tsx");
  const verdicts = (right, wrong, unmarked) => ({ right, wrong, unmarked });
  const answer = { now: { alerts: 9, ...verdicts(4, 3, 2) }, then: { alerts: 1, ...verdicts(1, 0, 0) }, new: verdicts(0, 0, 0), lost: verdicts(0, 0, 0) };
  for (const [lost, added, expected] of [
    // Alerts of the service that become one are not lost.
    [verdicts(0, 0, 0), verdicts(0, 0, 0), "the same events in fewer alerts"],
    [verdicts(1, 1, 0), verdicts(0, 0, 0), "1 of 4 right ones lost; 1 other lost (1 wrong)"],
    [verdicts(1, 1, 2), verdicts(0, 0, 0), "1 of 4 right ones lost; 3 others lost (1 wrong)"],
    [verdicts(0, 0, 1), verdicts(0, 0, 0), "1 lost"],
    [verdicts(2, 0, 0), verdicts(1, 2, 1), "4 new (1 right, 2 wrong); 2 of 4 right ones lost"],
  ]) {
    assert.equal(summary({ ...answer, lost, new: added }, true), `1 alert instead of 9; 1 right, 0 wrong, 0 unmarked; ${expected}`);
  }
  assert.equal(summary(answer, false), "1 alert; 1 right, 0 wrong, 0 unmarked");
  for (const [now, expected] of [[1, "the same alerts"], [2, "the same events in fewer alerts"], [0, "the same events in more alerts"]]) {
    const changed = summary({ ...answer, now: { alerts: now, ...verdicts(0, 0, now) } }, true);
    assert.equal(changed, `1 alert instead of ${now}; 1 right, 0 wrong, 0 unmarked; ${expected}`);
  }
});

test("the address names the label that is tuned", async () => {
  globalThis.document ??= { baseURI: "http://localhost/console/" };
  const { choose } = await load("pages/tune/subject.ts");
  const label = (label_set, label, more = {}) => ({ label_set, label, ...more });
  const choices = [
    { source: "gate", labels: [] },
    { source: "yard", labels: [label("a", "dog"), label("b", "dog"), label("b", "both", { when: "dog" })] },
    { source: "shelf", labels: [label("c", "cup")] },
  ];
  for (const [query, expected] of [
    [{}, "yard a/dog"],
    [{ source: "shelf" }, "shelf c/cup"],
    [{ source: "yard", label: "dog", set: "b" }, "yard b/dog"],
    [{ source: "yard", label: "dog", label_set: "b" }, "yard a/dog"],
    [{ source: "yard", label: "both" }, "yard b/both (rule)"],
    [{ source: "yard", label: "dog", set: "c" }, "yard a/dog"],
    [{ source: "gate" }, "yard a/dog"],
  ]) {
    const { source, label_set, label, isRule } = choose(choices, query);
    assert.equal(`${source} ${label_set}/${label}${isRule ? " (rule)" : ""}`, expected, JSON.stringify(query));
  }
  assert.equal(choose([], {}), undefined);
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

test("texts of the service as sentences", async () => {
  const { sentence } = await load("format.ts");
  for (const [text, expected] of [
    ["there is no source `Dor`", "There is no source Dor."],
    ["the file cannot be written: it is read-only", "The file cannot be written: it is read-only."],
    ["it's gone", "It's gone."],
    ["re-encoding failed", "Re-encoding failed."],
    ["stopped", "Stopped."],
    ["a", "A."],
    ["`yard` has delivered no frame", "yard has delivered no frame."],
    ["state_dir cannot be written", "state_dir cannot be written."],
    ["listen.edit is off", "listen.edit is off."],
    ["stakeout.yaml has changed", "stakeout.yaml has changed."],
    ["clearBelow is no key", "clearBelow is no key."],
    ["threshold: write a number from 0 to 1", "threshold: write a number from 0 to 1."],
    ["/etc/stakeout.yaml is damaged", "/etc/stakeout.yaml is damaged."],
    ["mqtt://h:1883 refuses the connection", "mqtt://h:1883 refuses the connection."],
    ["http://h/a.jpg: 404", "http://h/a.jpg: 404."],
    ["give it this key:", "Give it this key:"],
    ["is it on?", "Is it on?"],
    ["`config_versions` lists them; the oldest ones are deleted.", "config_versions lists them; the oldest ones are deleted."],
    ["Set `listen: { edit: true }`.", "Set listen: { edit: true }."],
    ["", ""],
  ]) {
    assert.equal(sentence(text), expected, text);
  }
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

test("a queue runs a few tasks at once, in order, and leaves out what is not wanted any more", async () => {
  const { Queue } = await load("pages/live/queue.ts");
  const [queue, begun, ends, unwanted] = [new Queue(2), [], {}, new Set(["c"])];
  const task = (name) => () => {
    begun.push(name);
    return new Promise((resolve, reject) => (ends[name] = { resolve, reject }));
  };
  const results = ["a", "b", "c", "d", "e"].map((name) => queue.run(task(name), () => !unwanted.has(name)));
  assert.deepEqual(begun, ["a", "b"]);
  unwanted.add("d");
  ends.a.resolve("A");
  assert.equal(await results[0], "A");
  assert.deepEqual([await results[2], await results[3]], [undefined, undefined]);
  assert.deepEqual(begun, ["a", "b", "e"]);
  ends.b.reject(new Error("lost"));
  await assert.rejects(results[1], /lost/);
  ends.e.resolve("E");
  assert.equal(await results[4], "E");
  const after = queue.run(task("f"), () => true);
  ends.f.resolve("F");
  assert.equal(await after, "F", "a failure takes no place");
});

test("requests that failed are sent again if they may succeed", async () => {
  const { isPassing } = await load("pages/live/queue.ts");
  for (const [status, expected] of [
    [undefined, true],
    [0, true],
    [400, false],
    [401, false],
    [404, false],
    [409, false],
    [429, true],
    [500, true],
    [503, true],
  ]) {
    assert.equal(isPassing(status), expected, `${status}`);
  }
});
