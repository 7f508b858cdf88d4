// The decisions of the editor, without a browser: where the cursor is, what can be typed there, and what differs between two texts.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const FOLDER = new URL("../src/pages/configuration/", import.meta.url);
let place, schema, comparison;

async function load(name) {
  const entryPoints = [fileURLToPath(new URL(`${name}.ts`, FOLDER))];
  const { outputFiles } = await esbuild.build({ entryPoints, bundle: true, format: "esm", write: false, logLevel: "silent" });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}

before(async () => {
  [place, schema, comparison] = await Promise.all(["place", "schema", "diff"].map(load));
});

/** The place of the `|` in a text, in short: `path > kind [key]`. */
function at(marked) {
  const found = place.placeAt(marked.replace("|", ""), marked.indexOf("|"));
  return found && `${found.path.join(".")} > ${found.kind}${found.key === undefined ? "" : ` ${found.key}`}`;
}

test("the place of the cursor is known in blocks, in brackets and in broken YAML", () => {
  for (const [text, expected] of [
    ["|", " > key"],
    ["mq|", " > key"],
    ["mqtt:\n  u|", "mqtt > key"],
    ["mqtt:\n  url: m|", "mqtt > value url"],
    ["mqtt:\n\n  # a comment: here\n  |", "mqtt > key"],
    ["sandbox: |", " > value sandbox"],
    ["label_sets:\n  porch:\n    labels:\n      dog:\n        h|", "label_sets.porch.labels.dog > key"],
    ["label_sets:\n  porch:\n    labels:\n      dog: { threshold: 0.5, h|", "label_sets.porch.labels.dog > key"],
    ["label_sets:\n  porch:\n    labels: { dog: { threshold: |", "label_sets.porch.labels.dog > value threshold"],
    ["sources:\n  door: { folder: a, watch: [po|", "sources.door > value watch"],
    ["sources:\n  door:\n    watch:\n      - po|", "sources.door > value watch"],
    ["sources:\n  door:\n    watch:\n    - po|", "sources.door > value watch"],
    ["sources:\n  door:\n    folder: a\n  back:\n    |", "sources.back > key"],
    ["sources:\n  \"a: b\":\n    f|", "sources.a: b > key"],
    ["{\n  \"mqtt\": {\n    \"url\": \"x\",\n    \"us|", "mqtt > key"],
    ["sources:\n  door: { rtsp: rtsp://h/s, w|", "sources.door > key"],
    ["a: [\nmqtt:\n  u|", "mqtt > key"],
    ["mqtt:\n  url: x # a com|", undefined],
    ["# a|", undefined],
  ]) {
    assert.equal(at(text), expected, text);
  }
});

test("a key is found with the keys around it", () => {
  const text = "sources:\n  Front Door:\n    watch: { porch: { dog: { hold: 2 of 3 } } } # hold: no\n";
  const key = (word, from = 0) => place.keyAt(text, text.indexOf(word, from) + 1)?.path.join("/");
  assert.equal(key("sources"), "sources");
  assert.equal(key("Front Door"), "sources/Front Door");
  assert.equal(key("watch"), "sources/Front Door/watch");
  assert.equal(key("hold"), "sources/Front Door/watch/porch/dog/hold");
  assert.equal(key("hold: no"), undefined, "in a comment");
  assert.equal(key("2 of 3"), undefined, "no key");
  assert.deepEqual(place.namesBelow("a: 1\nlabel_sets:\n  # x\n  porch:\n    labels: []\n  \"b c\": {}\nsources:\n  d:\n", "label_sets"), ["porch", "b c"]);
});

const SCHEMA = {
  type: "object",
  properties: {
    sandbox: { anyOf: [{ enum: ["on", "off"] }], description: "Where pictures are decoded.", default: "on" },
    label_sets: { additionalProperties: { properties: { background: {}, labels: {} }, required: ["labels"] } },
    sources: {
      additionalProperties: {
        anyOf: [
          { title: "folder", properties: { folder: { description: "The folder." }, after: {}, watch: {} }, required: ["folder"] },
          { title: "rtsp", properties: { rtsp: {}, transport: { anyOf: [{ enum: ["tcp", "udp"] }] }, watch: {} }, required: ["rtsp"] },
        ],
      },
    },
  },
};

/** What can be typed at the `|` of a text. */
function labels(marked) {
  const text = marked.replace("|", "");
  const found = place.placeAt(text, marked.indexOf("|"));
  return schema.suggestions(SCHEMA, found, text).map(({ label, detail }) => (detail === undefined ? label : `${label} (${detail})`));
}

test("keys, words and defaults are suggested where they fit", () => {
  for (const [text, expected] of [
    ["|", ["sandbox (on)", "label_sets", "sources"]],
    ["sandbox: |", ["on (default)", "off"]],
    ["sandbox: on\n|", ["label_sets", "sources"]],
    ["label_sets:\n  porch:\n    |", ["background", "labels (required)"]],
    ["sources:\n  a:\n    |", ["folder (required)", "after", "watch", "rtsp (required)", "transport"]],
    ["sources:\n  a:\n    rtsp: x\n    |", ["transport", "watch"]],
    ["sources:\n  a: { rtsp: x, |", ["transport", "watch"]],
    ["sources:\n  a: { rtsp: x, transport: |", ["tcp", "udp"]],
    ["label_sets:\n  porch:\nsources:\n  a: { folder: b, watch: [|", ["porch (label set)"]],
    ["nowhere:\n  |", []],
  ]) {
    assert.deepEqual(labels(text), expected, text);
  }
  assert.deepEqual(schema.describe(SCHEMA, ["sandbox"]), {
    key: "sandbox",
    text: "Where pictures are decoded.",
    fallback: "on",
    words: ["on", "off"],
  });
  assert.equal(schema.describe(SCHEMA, ["sources", "a", "folder"])?.text, "The folder.");
  assert.equal(schema.describe(SCHEMA, ["sources", "a"]), undefined);
  assert.equal(schema.describe(SCHEMA, []), undefined);
});

test("a comparison has the lines that differ, and some around them", () => {
  const short = (before, after) => comparison.diff(before, after).map(({ kind, text, line }) => `${{ same: " ", removed: "-", added: "+", gap: "~" }[kind]}${line ?? ""}${text}`);
  assert.deepEqual(short("a\nb\n", "a\nb\n"), []);
  assert.deepEqual(short("a\nb\nc\n", "a\nx\nc\n"), [" 1a", "-b", "+2x", " 3c"]);
  assert.deepEqual(short("", "a\n"), ["+1a"]);
  assert.deepEqual(short("a\n", ""), ["-a"]);
  assert.deepEqual(short("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n"), ["~", " 33", " 44", "-5", "+5x", " 66", " 77", "~"]);
  assert.deepEqual(short("a\nb\nc\nd\n", "b\nx\nc\nd\ne\n"), ["-a", " 1b", "+2x", " 3c", " 4d", "+5e"]);
  const long = Array.from({ length: 4_000 }, (_, number) => `${number}`);
  const changed = long.map((line) => `${line}!`);
  const lines = comparison.diff(long.join("\n"), changed.join("\n"));
  assert.equal(lines.length, 8_000, "long texts are compared as a whole");
});
