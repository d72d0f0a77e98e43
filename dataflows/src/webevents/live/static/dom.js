// Small helpers. Whatever comes from events becomes text, never markup.

export const byId = (id) => document.getElementById(id);

const count = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

export const number = (value) => count.format(Math.round(value));
export const brief = (value) => (value < 100_000 ? number(value) : short.format(value));
export const share = (part, whole) => (whole ? percent.format(part / whole) : "–");
export const rate = (value) => (value < 10 && value > 0 ? value.toFixed(1) : number(value));

export function clock(ms, { precise = false } = {}) {
  const date = new Date(ms);
  const pad = (value, size = 2) => String(value).padStart(size, "0");
  const whole = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return precise ? [whole, `.${pad(date.getMilliseconds(), 3)}`] : whole;
}

export function span(seconds) {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Has a parent hold one child for each item, in their order, and keeps the children that stay: what
// is open or focused stays so.
export function keep(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    const child = old.get(key) ?? create(item);
    old.delete(key);
    child.dataset.key = key;
    update(child, item, index);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const child of old.values()) child.remove();
}
