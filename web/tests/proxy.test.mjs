// The console behind a proxy with a prefix, as `listen.base_url` says.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { after, before, test } from "node:test";
import { PAGES, launch, open, ready, signIn, visitor } from "./browser.mjs";
import { TOKEN, start, wait } from "./service.mjs";

const PREFIX = "/home/eyes";
/** For each stream of events that was opened: stops it without an end, as a network does that has gone. */
const streams = [];
let service, browser, proxy, url;

before(async () => {
  proxy = createServer(forward).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  url = `http://127.0.0.1:${proxy.address().port}${PREFIX}`;
  service = await start({ yard: ["objects"] }, { listen: { base_url: url } });
  browser = await launch();
  await service.put("yard", "red-car", "1.jpg");
  await wait("an alert is remembered", async () => (await service.ask("alerts")).alerts.length >= 1);
  await service.stored("yard", "objects", "red car");
});

after(async () => {
  await browser?.close();
  proxy?.closeAllConnections();
  proxy?.close();
  await service?.stop();
});

/** Removes the prefix, as many proxies do. Everything else of the machine is another site. */
function forward(received, response) {
  if (!received.url.startsWith(`${PREFIX}/`)) return response.writeHead(404).end("another site\n");
  const { port } = new URL(service.url);
  const options = { port, host: "127.0.0.1", method: received.method, path: received.url.slice(PREFIX.length), headers: received.headers };
  const sent = request(options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
    if (received.url.includes("/events?")) {
      streams.push(() => {
        answer.unpipe(response);
        answer.resume();
      });
    }
  });
  sent.on("error", () => response.destroy());
  response.on("close", () => sent.destroy());
  received.pipe(sent);
}

test("every page works below the prefix", async (t) => {
  const behind = { ...service, url };
  const visit = await visitor(browser, behind);
  t.after(() => visit.close());
  const { page } = visit;
  const outside = [];
  page.on("response", (answer) => {
    const { protocol, pathname } = new URL(answer.url());
    // A picture that the page itself has made is requested from no one.
    if (protocol !== "blob:" && !pathname.startsWith(`${PREFIX}/`)) outside.push(answer.url());
  });
  await page.goto(`${url}/`);
  await page.getByLabel("Token").fill(TOKEN);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Live" }).waitFor();
  for (const name of PAGES) {
    await open(visit, behind, name);
    visit.expectNone(name);
  }
  await open(visit, behind, "live");
  await page.getByText(/1 of 1 source online/).waitFor();
  assert.deepEqual(outside, [], "nothing is requested outside of the prefix");
  const [cookie] = await visit.context.cookies();
  assert.ok(cookie.path.startsWith(PREFIX), "the cookie is for the prefix only");
  await page.reload();
  await ready(page);
});

test("a link leads to the address of the proxy", async (t) => {
  const link = await service.link();
  assert.ok(link.startsWith(`${url}/`), link);
  const visit = await visitor(browser, { ...service, url });
  t.after(() => visit.close());
  await visit.page.goto(link);
  await visit.page.getByRole("heading", { name: "Live" }).waitFor();
});

test("a connection that is dead without an end is made again", async (t) => {
  const behind = { ...service, url };
  const visit = await visitor(browser, behind);
  t.after(() => visit.close());
  const { page } = visit;
  await page.clock.install();
  await signIn(visit, behind);
  const state = page.getByText(/1 of 1 source online/);
  await state.waitFor();
  const before = streams.length;
  streams.forEach((stop) => stop());
  await page.clock.fastForward(41_000);
  await wait("the events are asked for again", () => streams.length > before);
  await state.waitFor();
});
