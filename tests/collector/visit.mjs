// Visits pages in Chromium and reports the identifiers of all events that their trackers made.
//   node visit.mjs '{"chromium": PATH, "visits": [VISIT…], "clicks": N, "pauseMs": N}'
// A VISIT is {"name", "landing", "referrer", "next", "click", "ids"}: a page to land on, the page to go
// to halfway, JavaScript that clicks once, and JavaScript that tells the identifiers where requests do
// not show them (a beacon's body is hidden).
import { chromium } from "playwright-core";

const AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) " +
  "Chrome/141.0.0.0 Safari/537.36";
const LIMIT_MS = 150_000;
const task = JSON.parse(process.argv[2]);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function identifiers(request) {
  let body;
  try { body = JSON.parse(request.postData() ?? ""); } catch { return []; }
  const events = body.batch ?? body.data ?? [body];
  return events.map((event) => event.messageId ?? event.eid).filter(Boolean);
}

async function visit(browser, { landing, referrer, next, click, ids }) {
  const context = await browser.newContext({ userAgent: AGENT, locale: "de-DE", ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const made = new Set(), accepted = new Set(), statuses = {}, problems = [];
  page.on("request", (request) => identifiers(request).forEach((id) => made.add(id)));
  page.on("response", async (response) => {
    const request = response.request();
    if (request.method() !== "POST") return;
    statuses[response.status()] = (statuses[response.status()] ?? 0) + 1;
    if (response.ok()) identifiers(request).forEach((id) => accepted.add(id));
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  const collect = async () => (await page.evaluate(ids ?? "[]")).forEach((id) => {
    made.add(id);
    accepted.add(id);
  });
  await page.goto(landing, referrer ? { referer: referrer } : {});
  for (let n = 0; n < task.clicks; n++) {
    if (n === Math.floor(task.clicks / 2)) {
      await collect();
      await page.goto(next, { referer: landing });
    }
    await pause(task.pauseMs);
    await page.evaluate(click);
  }
  await collect();
  const deadline = Date.now() + LIMIT_MS;
  const missing = () => [...made].filter((id) => !accepted.has(id));
  do await pause(500); while (missing().length && Date.now() < deadline);
  const cookies = (await context.cookies()).map(({ name, httpOnly, secure, sameSite }) =>
    ({ name, httpOnly, secure, sameSite }));
  await context.close();
  return { made: [...made], missing: missing(), statuses, problems, cookies };
}

const browser = await chromium.launch({
  executablePath: task.chromium,
  args: ["--no-sandbox", "--disable-gpu"],
});
const entries = await Promise.all(task.visits.map(async (each) =>
  [each.name, await visit(browser, each)]));
await browser.close();
console.log(JSON.stringify(Object.fromEntries(entries)));
