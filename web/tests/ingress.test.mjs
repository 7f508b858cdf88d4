// The console as a page of Home Assistant: a stand-in for Home Assistant and its supervisor, which connects from the supervisor's address.
// That address exists in a network namespace of its own only, so this file starts itself there once more.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createGunzip } from "node:zlib";
import { PAGES, PHONE, launch, visitor } from "./browser.mjs";
import { TOKEN, start, wait } from "./service.mjs";

const SUPERVISOR = "172.30.32.2";
const INGRESS = "/api/hassio_ingress/Pk3xX9_a-token";
/** Fields that the supervisor does not pass on to an app: `_init_header` in supervisor/api/ingress.py. */
const NOT_SENT = ["content-length", "content-encoding", "transfer-encoding", "connection", "x-supervisor-token", "x-hassio-key"];
/** Fields of an answer that it does not pass on: it unpacks the content. */
const NOT_RETURNED = ["transfer-encoding", "content-length", "content-encoding", "connection"];

/** What runs a program where the supervisor's address is one of this machine. */
function inNamespace(program, ...words) {
  const rights = process.getuid() === 0 ? [] : ["--user", "--map-root-user"];
  const setup = `ip link set lo up && ip address add ${SUPERVISOR}/32 dev lo && exec "$0" "$@"`;
  return ["unshare", [...rights, "--net", "sh", "-c", setup, program, ...words]];
}

if (process.env.STAKEOUT_AT_SUPERVISOR) inside();
else outside();

function outside() {
  test("the console in a network where the supervisor's address exists", async (t) => {
    const tried = spawnSync(...inNamespace("true"), { encoding: "utf8" });
    if (tried.status !== 0) return t.skip(`this machine allows no network namespace: ${tried.stderr ?? tried.error}`);
    const env = { ...process.env, STAKEOUT_AT_SUPERVISOR: "1" };
    // Otherwise the tests there would report to the runner of this file.
    delete env.NODE_TEST_CONTEXT;
    const [program, words] = inNamespace(process.execPath, fileURLToPath(import.meta.url));
    const child = spawn(program, words, { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (part) => (output += part));
    const [code] = await once(child, "close");
    assert.equal(code, 0, output);
    assert.match(output, /pass [1-9]/, "tests have run there");
  });
}

function inside() {
  let service, browser, home, url;

  before(async () => {
    home = createServer(answer).listen(0, "127.0.0.1");
    await once(home, "listening");
    url = `http://127.0.0.1:${home.address().port}`;
    service = await start({ yard: ["objects"] }, { listen: { ingress: true } });
    browser = await launch();
    await service.put("yard", "red-car", "1.jpg");
    await wait("an alert is remembered", async () => (await service.ask("alerts")).alerts.length >= 1);
    await service.stored("yard", "objects", "red car");
  });

  after(async () => {
    await browser?.close();
    home?.closeAllConnections();
    home?.close();
    await service?.stop();
  });

  /** Home Assistant: a page with the app in a frame, and what leads to the app. Everything else of it is another site for the app. */
  function answer(received, response) {
    if (received.url === "/stakeout") {
      response.writeHead(200, { "content-type": "text/html" });
      return response.end(`<!doctype html><title>Home Assistant</title><iframe title="stakeout" src="${INGRESS}/console/" width="100%" height="700"></iframe>`);
    }
    // Browsers ask for it on their own; Home Assistant has one.
    if (received.url === "/favicon.ico") return response.writeHead(204).end();
    if (received.url.startsWith(`${INGRESS}/`)) return forward(received, response, SUPERVISOR);
    response.writeHead(404).end("another page of Home Assistant\n");
  }

  /** What Home Assistant and its supervisor do with a request: the prefix is removed and named in a field. */
  function forward(received, response, from) {
    const { port } = new URL(service.url);
    const kept = Object.entries(received.headers).filter(([name]) => !NOT_SENT.includes(name));
    const headers = {
      ...Object.fromEntries(kept),
      host: `127.0.0.1:${port}`,
      "x-ingress-path": INGRESS,
      "x-forwarded-for": "192.0.2.20, 172.30.32.1",
      "x-forwarded-host": received.headers.host,
      "x-forwarded-proto": "http",
    };
    const body = [];
    received.on("data", (part) => body.push(part));
    received.on("end", () => {
      const path = received.url.slice(INGRESS.length);
      const sent = request({ host: "127.0.0.1", port, localAddress: from, method: received.method, path, headers });
      sent.on("error", () => response.destroy());
      response.on("close", () => sent.destroy());
      sent.on("response", (answered) => {
        const returned = Object.entries(answered.headers).filter(([name]) => !NOT_RETURNED.includes(name));
        response.writeHead(answered.statusCode, Object.fromEntries(returned));
        const isPacked = answered.headers["content-encoding"] === "gzip";
        (isPacked ? answered.pipe(createGunzip()) : answered).pipe(response);
      });
      const whole = Buffer.concat(body);
      if (whole.length > 0) sent.setHeader("content-length", whole.length);
      sent.end(whole);
    });
  }

  /** A visitor of Home Assistant, and the frame of the app. */
  async function shown(t, options) {
    const visit = await visitor(browser, { ...service, url }, options);
    t.after(() => visit.close());
    await visit.page.goto(`${url}/stakeout`);
    return { visit, frame: visit.page.frameLocator("iframe") };
  }

  test("the page is shown in Home Assistant, without a sign-in", async (t) => {
    const { visit, frame } = await shown(t);
    await frame.getByRole("heading", { name: "Live", level: 1 }).waitFor();
    await frame.getByText(/1 of 1 source online/).waitFor();
    await frame.getByText("You may look and change.").waitFor();
    visit.expectNone("it loads everything through Home Assistant");
    assert.deepEqual(await visit.context.cookies(), [], "no session is needed");
  });

  test("every page and its requests stay below the path of the app", async (t) => {
    const { visit, frame } = await shown(t, { viewport: PHONE });
    const outside = [];
    visit.page.on("response", (answered) => {
      const { protocol, pathname } = new URL(answered.url());
      if (protocol !== "blob:" && !pathname.startsWith(`${INGRESS}/`)) outside.push(answered.url());
    });
    await frame.getByRole("heading", { name: "Live", level: 1 }).waitFor();
    for (const name of PAGES) {
      await frame.locator(`nav a[href="#/${name}"]`).click();
      await frame.locator(`nav a[href="#/${name}"][aria-current=page]`).waitFor();
      await frame.locator("main h1").first().waitFor();
    }
    assert.deepEqual(outside, []);
    visit.expectNone("all pages");
  });

  test("events arrive as they happen, and a mark is stored", async (t) => {
    const { visit, frame } = await shown(t);
    await frame.locator(`nav a[href="#/alerts"]`).click();
    await frame.getByRole("heading", { name: "Alerts", level: 1 }).waitFor();
    const { marks: before } = await service.ask("marks");
    await frame.locator("button.verdict-right").first().click();
    await wait("the mark is stored", async () => (await service.ask("marks")).marks.length === before.length + 1);
    await service.put("yard", "green-tree", "2.jpg");
    await frame.getByRole("button", { name: /\d+ new/ }).waitFor();
    visit.expectNone("events and marks");
  });

  test("the documentation opens in the same frame", async (t) => {
    const { visit, frame } = await shown(t);
    await frame.getByRole("link", { name: "Documentation" }).click();
    await frame.getByRole("heading", { name: "stakeout", level: 1 }).waitFor();
    await frame.getByRole("searchbox").fill("home assistant");
    await frame.getByRole("searchbox").press("Enter");
    await frame.getByRole("heading", { name: "Search", level: 1 }).waitFor();
    await frame.getByRole("link", { name: /Home Assistant/ }).first().waitFor();
    visit.expectNone("the documentation");
  });

  test("only the supervisor is believed", async () => {
    const asked = (from, headers) =>
      new Promise((resolve, reject) => {
        const { port } = new URL(service.url);
        const sent = request({ host: "127.0.0.1", port, localAddress: from, path: "/api/v1/sources", headers }, (answered) => {
          answered.resume().on("end", () => resolve(answered.statusCode));
        });
        sent.on("error", reject).end();
      });
    const path = { "x-ingress-path": INGRESS };
    assert.equal(await asked(SUPERVISOR, path), 200);
    assert.equal(await asked("127.0.0.1", path), 401, "another program");
    assert.equal(await asked("127.0.0.9", { ...path, "x-forwarded-for": SUPERVISOR }), 401, "one that pretends");
    assert.equal(await asked(SUPERVISOR, {}), 401, "what is no page of the app");
    assert.equal(await asked(SUPERVISOR, { authorization: `Bearer ${TOKEN}` }), 200, "a token is one everywhere");
  });

  test("no other site shows the page in a frame", async (t) => {
    const visit = await visitor(browser, { ...service, url });
    t.after(() => visit.close());
    const other = createServer((_, response) => {
      response.writeHead(200, { "content-type": "text/html" });
      response.end(`<!doctype html><iframe src="${url}${INGRESS}/console/"></iframe>`);
    }).listen(0, "127.0.0.2");
    await once(other, "listening");
    t.after(() => other.close());
    await visit.page.goto(`http://127.0.0.2:${other.address().port}/`);
    await wait("the browser refuses it", () => visit.faults.some((fault) => fault.includes("frame-ancestors")));
  });
}
