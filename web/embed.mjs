// What the builds of the console and of the documentation share: the browsers that they are for, content types, and the list of files that
// the program embeds.

import { createHash } from "node:crypto";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

export const HERE = fileURLToPath(new URL(".", import.meta.url));
export const TARGET = ["chrome123", "firefox121", "safari17.5"];
const KINDS = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  png: "image/png",
  jpg: "image/jpeg",
  json: "application/json",
};

/** The content type of a file: text, unless its name says more. */
export function kind(name) {
  return KINDS[name.split(".").at(-1)] ?? "text/plain; charset=utf-8";
}

/** A hash of some bytes, of this many characters. */
export function hash(bytes, length) {
  return createHash("sha256").update(bytes).digest("hex").slice(0, length);
}

/** A map, sorted by its keys. */
export function sorted(map) {
  return new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Writes compressed assets and their list, and removes what a former build left there. Returns their size in bytes. */
export async function writeAssets(assets, folder) {
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) await rm(join(folder, name));
  let list = "// Written by `npm run build` in web/. Do not edit.\n&[\n";
  let size = 0;
  for (const [name, bytes] of assets) {
    const compressed = gzipSync(bytes, { level: 9 });
    size += compressed.length;
    await writeFile(join(folder, `${name}.gz`), compressed);
    const tag = hash(bytes, 16);
    list += `    Asset { name: "${name}", kind: "${kind(name)}", tag: "${tag}", compressed: include_bytes!("${name}.gz") },\n`;
  }
  await writeFile(join(folder, "assets.rs"), `${list}]\n`);
  return size;
}

/** Says what a build has written. */
export function report(assets, size, folder) {
  console.error(`${assets.size} files, ${(size / 1024).toFixed(1)} KiB compressed, in ${folder}`);
}
