// A stand-in for the service, for looking at pages while they are written: it builds the sources at each load of the page, and answers
// /api/v1/VERB with tools/canned/VERB.json. `node tools/stand-in.mjs [PORT]`. A canned answer may be a list `{"cases": [{"when":
// {"source": "yard"}, "answer": {...}}, ...]}`: the first case whose parameters fit answers. A POST is answered the same way and
// printed. `/docs/` is the documentation. `/api/v1/events` sends the messages of tools/canned/events.json, one a second, again and again. Pictures are drawn.

import { createReadStream } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, kind } from "../build.mjs";
import { buildDocs } from "../docs.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const CANNED = join(HERE, "canned");
const SAMPLES = join(HERE, "../../models/bundled/samples");
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

let { assets } = await build();
let docs;

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error.message ?? error);
    send(response, 500, "application/problem+json", JSON.stringify({ title: "Failed", status: 500, detail: String(error.message) }));
  });
});
const port = Number(process.argv[2] ?? 8099);
server.listen(port, "127.0.0.1", () => console.error(`http://127.0.0.1:${port}/console/`));

async function answer(request, response) {
  const address = new URL(request.url, "http://stand-in");
  const path = address.pathname;
  if (path === "/" || path === "/console") return response.writeHead(302, { Location: "/console/" }).end();
  if (path.startsWith("/api/v1/pictures/")) return picture(path, response);
  if (path === "/api/v1/newest") {
    response.setHeader("Stakeout-Captured-At", new Date().toISOString());
    response.setHeader("Stakeout-Changed", "0.3000 0.3000 0.2500 0.4000");
    return picture(address.search, response);
  }
  if (path === "/api/v1/events") return events(response);
  if (path === "/console/session") return response.writeHead(204).end();
  if (path.startsWith("/api/v1/")) return verb(path.slice("/api/v1/".length), address, request, response);
  if (path.startsWith("/docs/")) return documentation(path.slice("/docs/".length) || "index.html", response);
  const name = path === "/console/" ? "index.html" : path.slice("/console/".length);
  if (name === "index.html") ({ assets } = await build());
  const bytes = assets.get(name);
  if (!bytes) return send(response, 404, "text/plain", "not found\n");
  response.setHeader("Content-Security-Policy", CSP);
  send(response, 200, kind(name), bytes);
}

/** The documentation is built again with each page that is loaded. */
async function documentation(name, response) {
  if (name.endsWith(".html")) docs = await buildDocs();
  const bytes = docs?.get(name);
  if (!bytes) return send(response, 404, "text/plain", "not found\n");
  send(response, 200, kind(name), bytes);
}

async function verb(name, address, request, response) {
  let fields = Object.fromEntries(address.searchParams);
  if (request.method === "POST") {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    console.error(`POST ${name} ${text.slice(0, 500)}`);
    fields = text.startsWith("{") ? JSON.parse(text) : {};
  }
  const file = join(CANNED, `${name.replace(/[^\w-]/g, "_")}.json`);
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) {
    const detail = `the stand-in has no tools/canned/${name}.json`;
    return send(response, 404, "application/problem+json", JSON.stringify({ title: "Not Found", status: 404, detail }));
  }
  const canned = JSON.parse(text);
  const fits = (one) => Object.entries(one.when ?? {}).every(([key, value]) => String(fields[key]) === String(value));
  const chosen = canned.cases ? (canned.cases.find(fits)?.answer ?? {}) : canned;
  send(response, chosen.status && chosen.title ? chosen.status : 200, "application/json", JSON.stringify(chosen));
}

async function events(response) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.write(": \n\n");
  const text = await readFile(join(CANNED, "events.json"), "utf8").catch(() => "[]");
  const messages = JSON.parse(text);
  let next = 0;
  const timer = setInterval(() => {
    if (messages.length === 0) return response.write(": \n\n");
    const { event, data } = messages[next++ % messages.length];
    const now = { ...data, time: new Date().toISOString() };
    response.write(`event: ${event}\ndata: ${JSON.stringify(now)}\n\n`);
  }, 1000);
  response.on("close", () => clearInterval(timer));
}

/** One of the sample pictures of the bundled model: the same for the same name. */
async function picture(path, response) {
  const files = (await readdir(SAMPLES)).filter((name) => /\.(png|jpe?g)$/.test(name)).sort();
  const sum = [...path].reduce((total, letter) => (total * 31 + letter.charCodeAt(0)) >>> 0, 7);
  const file = files[sum % files.length];
  response.writeHead(200, { "Content-Type": file.endsWith("png") ? "image/png" : "image/jpeg", "Cache-Control": "max-age=60" });
  createReadStream(join(SAMPLES, file)).pipe(response);
}

function send(response, status, type, body) {
  response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff" });
  response.end(body);
}
