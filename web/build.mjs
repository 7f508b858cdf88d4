// Builds the console. `node build.mjs [FOLDER]` writes what the program embeds, by default to dist/: a compressed file for each asset
// and assets.rs, the list of them; report.js and report.css for the HTML reports of `replay` and `tune`; and packages.json, the packages
// inside with their licences. `build()` makes the assets in memory, for the stand-in.

import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { scripts } from "./docs.mjs";
import { HERE, TARGET, hash, kind, report, sorted, writeAssets } from "./embed.mjs";

export { kind };

/** `assets`: a map from the name of each file to its bytes. Names other than `index.html` contain the hash of the content. */
export async function build() {
  const result = await esbuild.build({
    absWorkingDir: HERE,
    entryPoints: ["src/main.tsx", "src/style.css"],
    outdir: "assets",
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    target: TARGET,
    jsx: "automatic",
    jsxImportSource: "preact",
    minify: true,
    legalComments: "none",
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  const assets = new Map();
  for (const file of result.outputFiles) assets.set(file.path.split("/").at(-1), Buffer.from(file.contents));
  const icon = await readFile(join(HERE, "src/icon.svg"));
  const iconName = `icon-${hash(icon, 8).toUpperCase()}.svg`;
  assets.set(iconName, icon);
  const page = await readFile(join(HERE, "index.html"), "utf8");
  const names = {
    SCRIPT: entry(result.metafile, "src/main.tsx"),
    STYLE: entry(result.metafile, "src/style.css"),
    ICON: iconName,
  };
  const filled = page.replace(/%([A-Z]+)%/g, (_, key) => names[key]);
  assets.set("index.html", Buffer.from(filled));
  return { assets: sorted(assets), metafile: result.metafile };
}

/** The script and the style of the reports: one file each, because a report is one file. */
async function buildReport() {
  const result = await esbuild.build({
    absWorkingDir: HERE,
    entryPoints: ["src/report.ts", "src/report.css"],
    outdir: "report",
    bundle: true,
    format: "iife",
    target: TARGET,
    minify: true,
    legalComments: "none",
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  const reports = new Map(result.outputFiles.map((file) => [file.path.split("/").at(-1), file.text]));
  return { reports, metafile: result.metafile };
}

/** The packages that are part of the outputs, with their licences: they are passed on with the program. */
async function packages(...metafiles) {
  const inputs = metafiles.flatMap((metafile) => Object.keys(metafile.inputs));
  const names = new Set(inputs.flatMap((path) => /(?:^|.*\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []));
  const lock = JSON.parse(await readFile(join(HERE, "package-lock.json"), "utf8")).packages;
  const found = [...names].sort().map(async (name) => {
    const folder = join(HERE, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const { integrity } = lock[`node_modules/${name}`];
    return { name, version, license, integrity, text: await readFile(join(folder, file), "utf8") };
  });
  return Promise.all(found);
}

/** The name of the output that was made from this entry. */
function entry(metafile, source) {
  const found = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === source);
  return found[0].split("/").at(-1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { assets, metafile } = await build();
  const { reports, metafile: reportMetafile } = await buildReport();
  const documentation = await scripts();
  const folder = process.argv[2] ?? join(HERE, "dist");
  const size = await writeAssets(assets, folder);
  for (const [name, text] of reports) await writeFile(join(folder, name), text);
  const licences = await packages(metafile, reportMetafile, documentation.metafile);
  await writeFile(join(folder, "packages.json"), `${JSON.stringify(licences, null, 1)}\n`);
  report(assets, size, folder);
}
