// Draws Vega and Vega-Lite specifications in Chromium, as Kibana's Vega panels do.
//   node draw.mjs TASK.json
// TASK is {"chromium": PATH, "panels": [{"name", "spec", "width", "height", "png"}]}, where the data of
// a specification has been asked for already. Prints, for each panel, the texts that it shows, the
// number of its marks by type, and what Vega complained of.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const scripts = ["vega/build/vega.min.js", "vega-lite/build/vega-lite.min.js"].map((path) =>
  readFileSync(new URL(`node_modules/${path}`, import.meta.url), "utf8"));

const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox"] });
const drawn = {};
try {
  for (const { name, spec, width, height, png } of task.panels) {
    const page = await browser.newPage({ viewport: { width: width + 40, height: height + 40 } });
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.setContent('<body style="margin:20px;background:white"><div id="panel"></div></body>');
    for (const content of scripts) await page.addScriptTag({ content });
    drawn[name] = await page.evaluate(async ({ spec, width, height }) => {
      const problems = [];
      const say = (...parts) => problems.push(parts.map(String).join(" "));
      const logger = { level: () => logger, error: say, warn: say, info: () => logger, debug: () => logger };
      const lite = spec.$schema.includes("vega-lite");
      if (lite) spec = { ...spec, width, height };
      const compiled = lite ? vegaLite.compile(spec, { logger }).spec : spec;
      const view = new vega.View(vega.parse(compiled), {
        renderer: "svg", container: "#panel", logger, hover: true,
      });
      if (!lite) view.width(width).height(height);
      await view.runAsync();
      const marks = {};
      const texts = [];
      const count = (item) => {
        if (item.marktype) marks[item.marktype] = (marks[item.marktype] ?? 0) + item.items.length;
        for (const inner of item.items ?? []) {
          if (item.marktype === "text") texts.push(String(inner.text));
          if (inner.items) inner.items.forEach(count);
        }
      };
      count(view.scenegraph().root);
      const svg = document.querySelector("#panel svg").getBoundingClientRect();
      return { marks, texts, problems, width: svg.width, height: svg.height };
    }, { spec, width, height });
    drawn[name].problems.push(...problems);
    await page.screenshot({ path: png, fullPage: true });
    await page.close();
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(drawn));
