// Looks at the live page in Chromium and reports what it saw.
//   node look.mjs '{"chromium": PATH, "url": URL, "token": TOKEN, "pictures": FOLDER, "script": MARK}'
// With "token" it logs in first. With "pictures" it saves screenshots. Without both it tries the page:
// the event log and its filter, pausing, the keyboard, widths, colour schemes, and axe's rules.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const LIMIT_MS = 90_000;
const task = JSON.parse(process.argv[2]);
const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox", "--disable-gpu"] });
const problems = [];
const foreign = [];

async function open(options, path = "/") {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") problems.push(message.text()); });
  page.on("request", (request) => { if (new URL(request.url()).origin !== new URL(task.url).origin) foreign.push(request.url()); });
  page.on("dialog", (dialog) => { problems.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(task.url + path);
  return page;
}

const live = (page) => page.waitForSelector('#connection[data-state="live"]');
const rows = (page) => page.locator("#log tbody tr");
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

async function tryLogin() {
  const page = await open({});
  const before = new URL(page.url()).pathname;
  await page.fill("#token", "not the token at all");
  await page.press("#token", "Enter");
  await page.waitForFunction(() => document.getElementById("wrong")?.textContent);
  const wrong = await page.textContent("#wrong");
  await page.fill("#token", task.token);
  await page.press("#token", "Enter");
  await live(page);
  const cookies = (await page.context().cookies()).map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite }));
  return { before, wrong, cookies, after: new URL(page.url()).pathname, url: page.url() };
}

async function tryPage() {
  const page = await open({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  await live(page);
  await rows(page).first().waitFor();
  const report = {
    title: await page.textContent("#pipeline"),
    log: await page.locator("#log tbody .c-page").allTextContents(),
    types: await page.locator("#types-table th[scope=row]").allTextContents(),
    countries: await page.locator("#countries th[scope=row]").allTextContents(),
    reasons: await page.locator("#failed .row span:first-child").allTextContents(),
    alerts: await page.locator("#alerts .row span:first-child").allTextContents(),
    received: await page.textContent("#tile-in"),
    points: await page.locator("#map circle").count(),
    land: (await page.getAttribute("#map path.land", "d")).length,
    marks: await page.evaluate((mark) => window[mark] ?? null, task.script),
    bold: await page.locator("#log b, #log script, #types-table b, #pages b, #failed img").count(),
    width: await overflow(page),
    background: await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
  };

  await page.fill("#q", task.filter);
  await page.waitForFunction(() => /match/.test(document.getElementById("log-note").textContent));
  report.filtered = await page.locator("#log tbody .c-page").allTextContents();
  await page.fill("#q", "nothing is called that");
  await page.waitForSelector("#log-empty:not([hidden])");
  report.nothing = await page.textContent("#log-empty");
  await page.fill("#q", "");

  await page.click("#pause");
  report.paused = await page.getAttribute("#connection", "data-state");
  await page.click("#pause");
  await live(page);

  await page.click("#rate ~ details summary");
  // A row for each second; the page has just begun to count.
  await page.waitForFunction(() => document.querySelectorAll("#rate-table tbody tr").length >= 4);
  report.tableRows = await page.locator("#rate-table tbody tr").count();
  await page.locator("#failed summary").first().click();
  report.example = await page.locator("#failed dl").first().textContent();
  // Snapshots that come must not close what a person has opened.
  await page.waitForTimeout(1500);
  report.stillOpen = await page.locator("#failed details").first().evaluate((details) => details.open);

  const keyboard = await open({ viewport: { width: 1280, height: 900 } });
  await live(keyboard);
  await rows(keyboard).first().waitFor();
  report.tabs = [];
  while (report.tabs.length < 20 && report.tabs.at(-1)?.what !== "type") {
    await keyboard.keyboard.press("Tab");
    report.tabs.push(await keyboard.evaluate(() => {
      const focused = document.activeElement;
      const style = getComputedStyle(focused);
      return { what: focused.id || focused.className || focused.tagName, outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
    }));
  }

  const rules = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const judge = async (each) => {
    await each.evaluate(rules);
    const { violations } = await each.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 120)).join(" | ")}`);
  };
  report.axe = { light: await judge(page) };

  const dark = await open({ viewport: { width: 360, height: 740 }, colorScheme: "dark", reducedMotion: "reduce" });
  await live(dark);
  await rows(dark).first().waitFor();
  report.phoneWidth = await overflow(dark);
  report.darkBackground = await dark.evaluate(() => getComputedStyle(document.body).backgroundColor);
  report.animation = await dark.evaluate(() => getComputedStyle(document.querySelector(".dot")).animationName);
  report.axe.dark = await judge(dark);
  report.problems = [...problems];  // what follows makes errors on purpose
  return report;
}

async function takePictures() {
  const views = [["live-light", "light", 1280, 1180], ["live-dark", "dark", 1280, 1180], ["live-phone", "light", 360, 740]];
  for (const [name, colorScheme, width, height] of views) {
    const page = await open({ viewport: { width, height }, colorScheme });
    await rows(page).first().waitFor();
    await page.waitForTimeout(2000);
    await page.screenshot({ path: `${task.pictures}/${name}.png` });
    await page.context().close();
  }
  return {};
}

const work = task.token ? tryLogin : task.pictures ? takePictures : tryPage;
const report = await work();
await browser.close();
console.log(JSON.stringify({ problems, foreign, ...report }));
