// The charts, drawn as SVG: colours come from the style sheet, so that light and dark need no code.

import { brief, clock, draw, make, number, rate, setText, share, span } from "./dom.js";

const LEAST_S = 60;
const LABEL_PX = 60;

function ticks(highest) {
  const rough = Math.max(highest, 1) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const top = Math.max(Math.ceil(highest / step), 1) * step;
  return Array.from({ length: Math.round(top / step) + 1 }, (_, n) => n * step);
}

export class RateChart {
  constructor(holder, readout, table) {
    this.holder = holder;
    this.readout = readout;
    this.body = table.tBodies[0];
    this.pointer = null;
    new ResizeObserver(() => this.paint()).observe(holder);
    holder.addEventListener("pointermove", (event) => {
      this.pointer = event.clientX - holder.getBoundingClientRect().left;
      this.paint();
    });
    holder.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.paint();
    });
  }

  show(data) {
    // The part before the first event says nothing.
    const first = data.in.findIndex((value, n) => value || data.out[n]);
    const seen = first < 0 ? LEAST_S : data.in.length - first;
    const length = Math.min(Math.max(seen, LEAST_S), data.in.length);
    this.data = { end: data.end, in: data.in.slice(-length), out: data.out.slice(-length) };
    this.paint();
    if (this.body.closest("details").open) this.tabulate();
  }

  paint() {
    const width = this.holder.clientWidth;
    const height = this.holder.clientHeight;
    if (!this.data || width < 50) return;
    const { in: came, out: went, end } = this.data;
    const left = 40, right = 8, top = 8, bottom = 22;
    const levels = ticks(Math.max(...came, ...went));
    const x = (n) => left + (n / (came.length - 1)) * (width - left - right);
    const y = (value) => height - bottom - (value / levels.at(-1)) * (height - top - bottom);
    const points = (values) => values.map((value, n) => `${x(n).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    const label = `Line chart of the last ${span(came.length)}: now ${rate(came.slice(-5).reduce((a, b) => a + b, 0) / 5)} events per second received, at most ${number(Math.max(...came))}.`;
    const svg = draw("svg", { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}` });
    for (const level of levels) {
      svg.append(
        draw("line", { class: "grid", x1: left, x2: width - right, y1: y(level), y2: y(level) }),
        draw("text", { x: left - 8, y: y(level) + 4, "text-anchor": "end" }, brief(level)),
      );
    }
    const room = (seconds) => (seconds / (came.length - 1)) * (width - left - right);
    const every = [15, 30, 60].find((seconds) => room(seconds) >= LABEL_PX) ?? 120;
    for (let ago = 0; ago < came.length - every / 3; ago += every) {
      const at = x(came.length - 1 - ago);
      const text = ago === 0 ? "now" : `−${span(ago)}`;
      svg.append(draw("text", { x: at, y: height - 5, "text-anchor": ago === 0 ? "end" : "middle" }, text));
    }
    svg.append(
      draw("path", { class: "area", d: `M${x(0)} ${y(0)}L${points(came)}L${x(came.length - 1)} ${y(0)}Z` }),
      draw("path", { class: "line-in", d: `M${points(came)}` }),
      // What enrich did in the latest second is not all committed yet.
      draw("path", { class: "line-out", d: `M${points(went.slice(0, -1))}` }),
    );
    let text = "";
    if (this.pointer !== null) {
      const n = Math.round(((this.pointer - left) / (width - left - right)) * (came.length - 1));
      if (n >= 0 && n < came.length) {
        svg.append(draw("line", { class: "cursor", x1: x(n), x2: x(n), y1: top, y2: height - bottom }));
        text = `${clock(end - (came.length - n) * 1000)}: ${number(came[n])} / ${number(went[n])}`;
      }
    }
    setText(this.readout, text);
    this.holder.replaceChildren(svg);
  }

  tabulate() {
    const { in: came, out: went, end } = this.data;
    const rows = [];
    for (let to = came.length; to >= 15; to -= 15) {
      const mean = (values) => values.slice(to - 15, to).reduce((a, b) => a + b, 0) / 15;
      rows.push(make("tr", {},
        make("th", { scope: "row" }, clock(end - (came.length - to) * 1000)),
        make("td", {}, rate(mean(came))), make("td", {}, rate(mean(went)))));
    }
    this.body.replaceChildren(...rows);
  }
}

export function donut(holder, slices, total) {
  const around = 2 * Math.PI * 40;
  const label = `Ring chart: ${slices.map((each) => `${each.name} ${share(each.count, total)}`).join(", ")}.`;
  const svg = draw("svg", { role: "img", "aria-label": label, viewBox: "0 0 100 100" });
  svg.append(draw("circle", { class: "track", cx: 50, cy: 50, r: 40 }));
  let before = 0;
  for (const { count, tone } of slices) {
    const length = (count / total) * around;
    svg.append(draw("circle", {
      class: `s${tone}`, cx: 50, cy: 50, r: 40, transform: "rotate(-90 50 50)",
      "stroke-dasharray": `${Math.max(length - (slices.length > 1 ? 1 : 0), 0.5)} ${around}`,
      "stroke-dashoffset": -before,
    }));
    before += length;
  }
  svg.append(
    draw("text", { x: 50, y: 53 }, brief(total)),
    draw("text", { class: "unit", x: 50, y: 65 }, "events"),
  );
  holder.replaceChildren(svg);
}

export class WorldMap {
  constructor(holder) {
    this.holder = holder;
    this.points = draw("g");
    this.svg = draw("svg", { role: "img" });
    fetch("/static/world.json").then((response) => response.json()).then((world) => {
      this.svg.setAttribute("viewBox", `0 0 960 ${world.height}`);
      this.svg.append(draw("path", { class: "land", d: world.land }), this.points);
      holder.append(this.svg);
    });
  }

  show(points, label) {
    this.svg.setAttribute("aria-label", label);
    const most = Math.max(...points.map((each) => each[2]), 1);
    this.points.replaceChildren(...points.map(([x, y, count]) =>
      draw("circle", { cx: x, cy: y, r: (2 + 14 * Math.sqrt(count / most)).toFixed(1) },
        draw("title", {}, `${number(count)} events`))));
  }
}

export function bar(parts, scale) {
  return make("div", { class: "bar", "aria-hidden": "true" }, ...parts.map(([series, value]) => {
    const part = make("span", { class: series, "data-series": series });
    if (!value) part.dataset.none = "";
    part.style.width = `${(value / scale) * 100}%`;
    return part;
  }));
}

