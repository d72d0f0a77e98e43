// Puts a snapshot on the page.

import { RateChart, WorldMap, bar, donut } from "./charts.js";
import { brief, byId, clock, keep, make, number, rate, setText, share, span } from "./dom.js";

const countries = new Intl.DisplayNames(["en"], { type: "region" });
const LAG_WARM = 1_000;

export function country(code) {
  try { return countries.of(code) ?? code; } catch { return code; }
}

export class View {
  constructor() {
    this.chart = new RateChart(byId("rate"), byId("rate-readout"), byId("rate-table"));
    this.map = new WorldMap(byId("map"));
    byId("rate-table").closest("details").addEventListener("toggle", () => this.chart.data && this.chart.tabulate());
  }

  show(state) {
    document.title = `${rate(state.rate.now)}/s · ${state.pipeline} live`;
    setText(byId("pipeline"), state.pipeline);
    for (const note of document.querySelectorAll("[data-window]")) setText(note, `last ${span(state.window_seconds)}`);
    this.tiles(state);
    this.chart.show(state.rate);
    this.types(state.types);
    this.stages(state.stages);
    this.places(state.places);
    table(byId("pages"), state.pages, (name) => name);
    byId("pages-empty").hidden = state.pages.total > 0;
    this.failed(state.failed);
    this.alerts(state.alerts);
    setText(byId("privacy"), state.masked
      ? "Personal data is masked: visitors are short hashes, pages come without their query."
      : "Personal data is shown as it is (spec.live.personalData).");
    setText(byId("version"), `webevents ${state.version}`);
    const banner = byId("banner");
    const lines = [];
    if (!state.kafka.up) lines.push(`${state.kafka.problem}. The figures are those from before.`);
    if (state.skipped) lines.push(`More came than this page can follow: ${number(state.skipped)} messages are not in types, pages, places and log. The pipeline’s figures hold all of them.`);
    banner.hidden = lines.length === 0;
    setText(banner, lines.join(" "));
  }

  tiles({ totals, rate: { now }, sessions, stages }) {
    setText(byId("tile-rate"), rate(now));
    setText(byId("tile-in"), brief(totals.in));
    byId("tile-in").title = number(totals.in);
    setText(byId("tile-in-sub"), `${brief(totals.out)} enriched`);
    setText(byId("tile-sessions"), sessions ? brief(sessions.open) : "off");
    setText(byId("tile-sessions-sub"), sessions ? `${brief(sessions.active)} active in the last minute` : "spec.sessions.enabled is false");
    setText(byId("tile-failed"), brief(totals.failed));
    setText(byId("tile-failed-sub"), totals.in ? `${share(totals.failed, totals.in)} of what came` : "none came yet");
    setText(byId("tile-lag"), brief(totals.lag));
    const behind = stages.reduce((most, each) => (each.lag > (most?.lag ?? LAG_WARM) ? each : most), null);
    setText(byId("tile-lag-sub"), behind ? `most of it at ${behind.name}` : "messages, all stages");
    byId("tile-lag").dataset.tone = behind ? "warn" : "";
  }

  types({ total, top, rest }) {
    const slices = top.map((each, n) => ({ ...each, tone: n + 1 }));
    if (rest) slices.push({ name: "other", count: rest, tone: 0 });
    byId("types-empty").hidden = total > 0;
    byId("types").parentElement.hidden = total === 0;
    if (total) donut(byId("types"), slices, total);
    table(byId("types-table"), { total, top: slices }, (name) => name);
  }

  stages(stages) {
    byId("stages-empty").hidden = stages.length > 0;
    byId("stages").hidden = stages.length === 0;
    const sum = (dropped) => Object.values(dropped).reduce((a, b) => a + b, 0);
    keep(byId("stages").tBodies[0], stages, (each) => each.name, ({ name }) =>
      make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader" }, name), make("td", { class: "bar-cell", role: "cell" }),
        ...["n", "n", "n opt", "n", "n", "n opt"].map((kind) => make("td", { class: kind, role: "cell" }))),
    (row, each) => {
      const dropped = sum(each.dropped);
      const cells = row.children;
      cells[1].replaceChildren(bar([["delivered", each.out], ["dropped", dropped], ["failed", each.failed], ["lag", each.lag]], Math.max(each.in + each.lag, 1)));
      [each.in, each.out, dropped, each.failed, each.lag].forEach((value, n) => setText(cells[n + 2], brief(value)));
      setText(cells[7], rate(each.rate));
      cells[4].title = Object.entries(each.dropped).map(([why, n]) => `${why} ${number(n)}`).join(", ");
      cells[5].className = each.failed ? "n hot" : "n";
      cells[6].className = each.lag > LAG_WARM ? "n warm" : "n";
      setText(cells[0], each.balanced ? each.name : `${each.name}: unbalanced`);
      cells[0].className = each.balanced ? "" : "hot";
    });
  }

  places({ points, countries: top, country_count: found, total }) {
    const names = top.slice(0, 5).map((each) => country(each.name)).join(", ");
    this.map.show(points, `Map of the world with ${points.length} places. Most events come from ${names || "nowhere yet"}; the table of countries has the figures.`);
    byId("map-empty").hidden = points.length > 0;
    byId("countries-empty").hidden = total > 0;
    setText(byId("countries-note"), found > top.length ? `first ${top.length} of ${found}` : "");
    table(byId("countries"), { total, top }, country);
  }

  failed({ total, reasons }) {
    byId("failed-empty").hidden = total > 0;
    keep(byId("failed"), reasons, (each) => each.name, ({ name, meaning }) =>
      make("li", {}, make("p", { class: "row" }, make("span", {}, name), make("span")),
        make("p", { class: "why" }, meaning), make("details", {}, make("summary", {}, "Newest example"), make("dl"))),
    (item, each) => {
      setText(item.children[0].children[1], number(each.count));
      item.children[2].hidden = !each.example;
      if (!each.example) return;
      const { stage, topic, partition, offset, detail, at, size, payload } = each.example;
      const facts = { Detail: detail, Where: `${topic}/${partition} at offset ${offset}`, Stage: stage, When: at, Size: `${number(size)} bytes` };
      if (payload !== undefined) facts.Content = payload;
      item.children[2].children[1].replaceChildren(...Object.entries(facts).flatMap(([name, value]) =>
        [make("dt", {}, name), make("dd", {}, value)]));
    });
  }

  alerts(alerts) {
    const empty = byId("alerts-empty");
    const shown = alerts ? [...alerts.firing, ...alerts.resolved] : [];
    empty.hidden = shown.length > 0;
    empty.className = alerts ? "empty good" : "empty";
    setText(empty, alerts ? "All is quiet: no alert fires." : "Alerts are off: spec.alerts.enabled turns them on.");
    setText(byId("alerts-note"), alerts?.firing_count ? `${alerts.firing_count} firing` : "");
    keep(byId("alerts"), shown, (each) => each.alert_id, () =>
      make("li", {}, make("p", { class: "row" }, make("span"), make("span", { class: "tag" })), make("p", { class: "why" })),
    (item, each) => {
      const tag = item.children[0].children[1];
      setText(item.children[0].children[0], each.summary);
      tag.dataset.tone = each.status === "firing" ? each.severity : "resolved";
      setText(tag, each.status === "firing" ? each.severity : "resolved");
      setText(item.children[1], `since ${each.started_at}`);
    });
  }
}

function table(element, { total, top }, nameOf) {
  keep(element.tBodies[0], top, (each) => each.name, () =>
    make("tr", {}, make("th", { scope: "row" }), make("td"), make("td", { class: "share" })),
  (row, each) => {
    const [head, count, part] = row.children;
    const name = nameOf(each.name);
    if (head.textContent !== name || head.dataset.tone !== String(each.tone)) {
      head.dataset.tone = String(each.tone);
      head.title = name;
      head.replaceChildren(...(each.tone === undefined ? [] : [make("span", { class: `swatch s${each.tone}`, "aria-hidden": "true" })]), name);
    }
    setText(count, brief(each.count));
    setText(part, share(each.count, total));
  });
}

export function log(rows, note, empty) {
  const cells = (row) => {
    const [time, ms] = clock(row.at, { precise: true });
    const place = [row.city, row.country && country(row.country)].filter(Boolean).join(", ");
    const device = [row.device, row.browser].filter(Boolean).join(" · ");
    return [
      ["c-time", time, make("span", { class: "ms" }, ms)], ["c-type", row.type + (row.bot ? " (bot)" : "")],
      ["c-page", row.page], ["c-visitor", row.user ?? row.visitor], ["c-place", place], ["c-device", device], ["c-channel", row.channel],
    ];
  };
  byId("log").tBodies[0].replaceChildren(...rows.map((row) =>
    make("tr", {}, ...cells(row).map(([name, text, more]) => {
      const cell = make("td", { class: name }, text ?? "–");
      if (more) cell.append(more);
      else if (text) cell.title = text;
      return cell;
    }))));
  setText(byId("log-note"), note);
  byId("log").hidden = rows.length === 0;
  byId("log-empty").hidden = rows.length > 0;
  setText(byId("log-empty"), empty);
}
