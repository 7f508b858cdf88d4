// Builds the documentation: `node docs.mjs [FOLDER]` writes what the program embeds, by default to dist-docs/: a page for each page of
// docs/, what they show and link to, and the text that the search needs. It works without a network, below any path, and from a folder.
//
// Names have no hash of the content: a change of one page would otherwise change all pages that link to it.

import { existsSync } from "node:fs";
import { readFile, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, normalize } from "node:path/posix";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { CONTENTS, NAMES } from "./contents.mjs";
import { HERE, TARGET, report, sorted, writeAssets } from "./embed.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** Where files are that are no part of the site. */
const REPOSITORY = "https://github.com/stakeout/stakeout";
/** Files that pages link to become a part of the site if their names end like this. */
const SHOWN = /\.(svg|png|jpg|yaml|conf|json)$/;

/** The scripts and the style of the pages, and what esbuild knows about them. */
export async function scripts() {
  const result = await esbuild.build({
    absWorkingDir: HERE,
    entryPoints: ["src/docs/docs.ts", "src/docs/search.ts", "src/docs/docs.css"],
    outdir: "docs",
    bundle: true,
    // No module: a browser loads modules over HTTP only, and these pages are also opened from a folder.
    format: "iife",
    target: TARGET,
    minify: true,
    legalComments: "none",
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  const files = new Map(result.outputFiles.map((file) => [file.path.split("/").at(-1), Buffer.from(file.contents)]));
  return { files, metafile: result.metafile };
}

/** A map from the name of each file of the site to its bytes. */
export async function buildDocs() {
  const { default: MarkdownIt } = await import("markdown-it");
  const paths = CONTENTS.flatMap(([, group]) => group);
  await checkComplete(paths);
  const site = { names: new Map(paths.map((path) => [path, nameOf(path)])), files: new Map() };
  const pages = [];
  for (const path of paths) pages.push(await readPage(path, site, new MarkdownIt({ html: false, linkify: false })));
  const assets = new Map((await scripts()).files);
  assets.set("icon.svg", await readFile(join(HERE, "src/icon.svg")));
  pages.forEach((page, at) => assets.set(page.name, Buffer.from(pageOf(page, pages, at))));
  assets.set("search.html", Buffer.from(searchPage(pages)));
  assets.set("search-index.js", Buffer.from(searchIndex(pages)));
  for (const [name, path] of site.files) assets.set(name, await readFile(join(ROOT, path)));
  return sorted(assets);
}

/** Every page of docs/ is in the list of contents, and exists. */
async function checkComplete(paths) {
  const found = ["docs", "docs/measurements"].map(async (folder) => {
    const names = await readdir(join(ROOT, folder));
    return names.filter((name) => name.endsWith(".md")).map((name) => `${folder}/${name}`);
  });
  const missing = (await Promise.all(found)).flat().filter((path) => !paths.includes(path));
  if (missing.length > 0) throw new Error(`web/contents.mjs has no place for ${missing.join(", ")}`);
  for (const path of paths) if (!existsSync(join(ROOT, path))) throw new Error(`web/contents.mjs names ${path}, which does not exist`);
}

/** All pages are in one folder: `docs/measurements/engine.md` is `measurements-engine.html`. */
function nameOf(path) {
  return NAMES[path] ?? `${path.replace(/^docs\//, "").replace(/\.md$/, "").replaceAll("/", "-")}.html`;
}

// --- Pages -----------------------------------------------------------------------------------------------------------------------

/** A page: its path, its name, its title, its HTML, its headings of the second level, and its sections as text. */
async function readPage(path, site, markdown) {
  const sizes = new Map();
  const text = await readFile(join(ROOT, path), "utf8");
  const tokens = markdown.parse(text, {});
  const sections = sectionsOf(tokens);
  for (const token of tokens) {
    for (const child of token.children ?? []) {
      if (child.type === "link_open") rewrite(child, "href", path, site);
      if (child.type === "image") {
        rewrite(child, "src", path, site);
        const source = site.files.get(child.attrGet("src"));
        if (source && !sizes.has(source)) sizes.set(source, await pictureSize(join(ROOT, source)));
        for (const [key, value] of Object.entries(sizes.get(source) ?? {})) child.attrSet(key, value);
        child.attrSet("loading", "lazy");
      }
    }
  }
  const [{ title }] = sections;
  if (!title) throw new Error(`${path} has no title`);
  const html = markdown.renderer.render(scrolling(tokens), markdown.options, {});
  return { path, name: site.names.get(path), title, html, headings: sections.filter(({ level }) => level === 2), sections };
}

/** Gives each heading its id, as GitHub does, and collects the text below it. */
function sectionsOf(tokens) {
  const sections = [];
  const seen = new Map();
  tokens.forEach((token, at) => {
    if (token.type === "heading_open") {
      const inline = tokens[at + 1];
      const title = plain(inline);
      const anchor = title.trim().toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
      const count = seen.get(anchor) ?? 0;
      seen.set(anchor, count + 1);
      const id = count === 0 ? anchor : `${anchor}-${count}`;
      token.attrSet("id", id);
      sections.push({ id, title, level: Number(token.tag.slice(1)), text: [] });
      linkToItself(inline, id, token.tag);
    } else if (token.type === "inline" && tokens[at - 1]?.type !== "heading_open") {
      sections.at(-1)?.text.push(plain(token));
    } else if (token.type === "fence") {
      sections.at(-1)?.text.push(token.content);
    }
  });
  return sections.map((section) => ({ ...section, text: section.text.join("\n").replace(/\s+/g, " ").trim() }));
}

/** The words of a line, without marks. */
function plain(inline) {
  return inline.children.map((child) => (child.type === "softbreak" ? " " : child.content)).join("");
}

/** A heading below the title is a link to itself, to be copied. */
function linkToItself(inline, id, tag) {
  if (tag === "h1" || inline.children.some((child) => child.type === "link_open")) return;
  const { children } = inline;
  const Token = children[0].constructor;
  const open = new Token("link_open", "a", 1);
  open.attrSet("href", `#${id}`);
  open.attrSet("class", "anchor");
  inline.children = [open, ...children, new Token("link_close", "a", -1)];
}

/** Tables and blocks of code scroll, so that a phone shows the page: with the keyboard, too. */
function scrolling(tokens) {
  const result = [];
  const Token = tokens[0].constructor;
  const wrap = (content) => Object.assign(new Token("html_block", "", 0), { content });
  for (const [at, token] of tokens.entries()) {
    // An empty cell above a column is no header.
    if (token.type === "th_open" && tokens[at + 1].content === "") token.tag = tokens[at + 2].tag = "td";
    if (token.type === "table_open") result.push(wrap('<div class="scrolls" tabindex="0" role="group" aria-label="Table">\n'));
    if (token.type === "fence" || token.type === "code_block") {
      // What the pages contain is in the language that the fence names.
      result.push(wrap(`<pre tabindex="0"><code>${escape(token.content)}</code></pre>\n`));
      continue;
    }
    result.push(token);
    if (token.type === "table_close") result.push(wrap("</div>\n"));
  }
  return result;
}

/** Rewrites an address of a page in the repository to one of the site, or to the repository on the web. */
function rewrite(token, attribute, from, site) {
  const address = decodeURI(token.attrGet(attribute));
  if (/^[a-z]+:/.test(address)) return attribute === "href" && token.attrSet("rel", "noreferrer");
  if (address.startsWith("#")) return;
  const [file, part] = address.split("#");
  const path = normalize(join(dirname(from), file)).replace(/\/$/, "");
  const hash = part ? `#${part}` : "";
  if (!existsSync(join(ROOT, path))) throw new Error(`${from} refers to ${address}, which does not exist`);
  if (site.names.has(path)) return token.attrSet(attribute, site.names.get(path) + hash);
  if (SHOWN.test(path)) {
    const name = basename(path);
    const other = site.files.get(name);
    if (other && other !== path) throw new Error(`${other} and ${path} have the same name`);
    site.files.set(name, path);
    return token.attrSet(attribute, name);
  }
  token.attrSet(attribute, `${REPOSITORY}/blob/main/${path}${hash}`);
  token.attrSet("rel", "noreferrer");
}

/** Width and height, so that nothing moves while a picture is loaded. */
async function pictureSize(file) {
  if (file.endsWith(".png")) {
    const head = (await readFile(file)).subarray(16, 24);
    return { width: String(head.readUInt32BE(0)), height: String(head.readUInt32BE(4)) };
  }
  if (file.endsWith(".svg")) {
    const found = /<svg [^>]*\bwidth="(\d+)"\s+height="(\d+)"/.exec(await readFile(file, "utf8"));
    return found ? { width: found[1], height: found[2] } : {};
  }
  return (await stat(file)).isFile() ? {} : undefined;
}

// --- HTML ------------------------------------------------------------------------------------------------------------------------

function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function pageOf(page, pages, at) {
  const neighbour = (other, rel, words) => (other ? `<a rel="${rel}" href="${other.name}"><span>${words}</span> ${escape(other.title)}</a>` : "");
  const around = `${neighbour(pages[at - 1], "prev", "Before:")}${neighbour(pages[at + 1], "next", "Next:")}`;
  const parts = page.headings.map(({ id, title }) => `<li><a href="#${id}">${escape(title)}</a></li>`).join("");
  const toc = page.headings.length > 1 ? `<nav class="toc" aria-label="On this page"><h2>On this page</h2><ul>${parts}</ul></nav>\n` : "";
  const main = `<article>\n${page.html}</article>\n<nav class="around" aria-label="Neighbours">${around}</nav>`;
  return whole({ title: page.title, main, toc, pages, current: page.name });
}

function searchPage(pages) {
  const main = `<h1>Search</h1>
<p id="found" role="status"></p>
<ol id="results"></ol>
<noscript><p>The search needs JavaScript. The contents list all pages.</p></noscript>`;
  return whole({ title: "Search", main, toc: "", pages, current: "search.html", scripts: ["search-index.js", "search.js"] });
}

function whole({ title, main, toc, pages, current, scripts = [] }) {
  const groups = CONTENTS.map(([name, paths]) => {
    const items = paths.map((path) => pages.find((page) => page.path === path));
    const links = items.map((page) => `<li><a href="${page.name}"${page.name === current ? ' aria-current="page"' : ""}>${escape(page.title)}</a></li>`);
    return `<h2>${name}</h2>\n<ul>\n${links.join("\n")}\n</ul>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${escape(title)}${current === "index.html" ? "" : " - stakeout"}</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="docs.css">
<script src="docs.js"></script>
${scripts.map((name) => `<script src="${name}" defer></script>\n`).join("")}</head>
<body>
<a class="skip" href="#main">Skip to the page</a>
<header class="header">
<a class="header-name" href="index.html">stakeout</a>
<form role="search" action="search.html"><input id="search" type="search" name="q" placeholder="Search" aria-label="Search the documentation" autocomplete="off"></form>
<a class="to-contents" href="#contents">Contents</a>
<a id="console" href="../console/" hidden>Console</a>
<button id="theme" type="button" hidden><span class="theme-sign" aria-hidden="true"></span></button>
</header>
<div class="columns">
<main id="main" tabindex="-1">
${main}
</main>
<nav id="contents" aria-label="Contents">
${groups.join("\n")}
</nav>
${toc}</div>
</body>
</html>
`;
}

/** What the search finds: the sections of all pages. A script, because pages that are opened from a folder may load nothing else. */
function searchIndex(pages) {
  const sections = pages.flatMap((page) =>
    page.sections.map(({ id, title, level, text }) => ({ address: level === 1 ? page.name : `${page.name}#${id}`, page: page.title, title, text })),
  );
  return `globalThis.stakeoutSections = ${JSON.stringify(sections)};\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const assets = await buildDocs();
  const folder = process.argv[2] ?? join(HERE, "dist-docs");
  report(assets, await writeAssets(assets, folder), folder);
}
