// Calls every method of the vendors' JavaScript trackers once, in Node and in Chromium:
//   node methods.mjs COLLECTOR SITE CHROMIUM
// Prints the browser's requests to the collector: [[method, path, status]…].
import { Analytics } from "@segment/analytics-node";
import { chromium } from "playwright-core";

const [host, site, executablePath] = process.argv.slice(2);
const node = new Analytics({ writeKey: "YOUR_WRITE_KEY", host });
const visitor = { anonymousId: "node-visitor" };
node.page({ ...visitor, name: "Home" });
node.track({ ...visitor, event: "Clicked" });
node.identify({ ...visitor, userId: "user-1", traits: { plan: "gold" } });
node.screen({ ...visitor, name: "Start" });
node.group({ ...visitor, userId: "user-1", groupId: "group-1", traits: { name: "Acme" } });
node.alias({ previousId: "node-visitor", userId: "user-1" });
await node.closeAndFlush({ timeout: 60_000 });

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const page = await (await browser.newContext()).newPage();
const answers = [], waiting = new Set();
let events = 0;  // of those that were answered; Snowplow's tracker may send several at once
const ours = (request) => request.url().startsWith(host) && request.method() !== "OPTIONS" &&
  !request.url().includes("/settings");
page.on("request", (request) => ours(request) && waiting.add(request));
page.on("response", (response) => {
  const request = response.request();
  if (!ours(request)) return;
  answers.push([request.method(), new URL(request.url()).pathname, response.status()]);
  events += request.postDataJSON()?.data?.length ?? 1;
  waiting.delete(request);
});
// Until so many events were answered, and no request is under way.
async function settled(count) {
  const deadline = Date.now() + 60_000;
  while (events < count || waiting.size) {
    if (Date.now() > deadline) throw new Error(`not answered: ${JSON.stringify(answers)}`);
    await new Promise((next) => setTimeout(next, 100));
  }
}

await page.goto(`${site}/segment`);
await page.evaluate(`(async () => {
  await analytics.track("Clicked");
  await analytics.identify("user-1", { plan: "gold" });
  await analytics.screen("Start");
  await analytics.group("group-1", { name: "Acme" });
  await analytics.alias("user-1");
})()`);
await settled(6);

await page.goto(`${site}/snowplow`);
await page.evaluate(`(() => {
  const tracker = { appId: "YOUR_WRITE_KEY", eventMethod: "get" };
  snowplowBrowserTracking.newTracker("get", "${host}", tracker);
  const schema = "iglu:example.shop/added/jsonschema/1-0-0";
  for (const name of ["sp", "get"]) {
    snowplowBrowserTracking.trackPageView({}, [name]);
    snowplowBrowserTracking.trackStructEvent({ category: "b", action: "clicked" }, [name]);
    snowplowBrowserTracking.trackSelfDescribingEvent(
      { event: { schema, data: { sku: "mug" } } }, [name]);
  }
})()`);
await settled(6 + 3 + 4);
await browser.close();
console.log(JSON.stringify(answers));
