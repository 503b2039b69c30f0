// Keeps an open page up to date, reads values out of charts, copies commands. No framework, nothing from elsewhere.
"use strict";

const main = document.getElementById("content");
const fresh = document.getElementById("fresh");
const RETRY_SECONDS = 5;
const OURS = ["open", "disabled", "data-at"]; // attributes that belong to the open page, not to the server's

// ---- the page asks for itself again and takes over what changed

let timer = 0;
let asking = false;

function wait(seconds) {
  clearTimeout(timer);
  if (seconds > 0) timer = setTimeout(refresh, 1000 * seconds);
}

async function refresh() {
  if (asking || document.hidden) return;
  asking = true;
  clearTimeout(timer);
  let seconds = RETRY_SECONDS;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(60000) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const content = page.getElementById("content");
    if (!content || answer.status >= 500) throw new Error(String(answer.status));
    patch(main, content);
    document.title = page.title;
    ready();
    fresh.textContent = "updated " + new Date().toLocaleTimeString();
    fresh.classList.remove("lost");
    seconds = Number(content.dataset.refresh);
  } catch (error) {
    fresh.textContent = "no answer, trying again";
    fresh.classList.add("lost");
  }
  fresh.hidden = false;
  asking = false;
  wait(seconds);
}

// Elements stay the ones they were, so focus, selection and what is ticked stay too. data-key tells which is which.
function patch(old, now) {
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const name of old.getAttributeNames()) if (!now.hasAttribute(name) && !OURS.includes(name)) old.removeAttribute(name);
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const node of now.childNodes) {
    const key = node.dataset && node.dataset.key;
    const same = key ? keyed.get(key) : at && at.nodeName === node.nodeName && !(at.dataset && at.dataset.key) ? at : null;
    if (!same) {
      old.insertBefore(document.importNode(node, true), at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    if (same.nodeType === Node.ELEMENT_NODE) patch(same, node);
    else if (same.data !== node.data) same.data = node.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

document.addEventListener("visibilitychange", () => document.hidden || refresh());

// ---- what a chart says under the pointer, or where the arrow keys lead

const tip = document.createElement("div");
tip.className = "tip";
const cross = document.createElement("div");
cross.className = "cross";
for (const element of [tip, cross]) {
  element.hidden = true;
  element.setAttribute("aria-hidden", "true");
  document.body.append(element);
}

function areaOf(event) {
  return event.target.closest ? event.target.closest("svg.area") : null;
}

function placesOf(area) {
  const lines = JSON.parse(area.dataset.readings);
  return [lines, [...new Set(lines.flatMap(([, points]) => points.map((point) => point[0])))].sort((a, b) => a - b)];
}

function read(area, left) {
  const [lines] = placesOf(area);
  const box = area.getBoundingClientRect();
  const rows = [];
  let label = "";
  for (const [name, points] of lines) {
    const point = points.find((each) => each[0] === left);
    if (!point) continue;
    label = area.dataset.x + " " + point[2];
    rows.push([name, point[3], point[1]]);
  }
  rows.sort((a, b) => a[2] - b[2]);
  const title = document.createElement("b");
  title.textContent = label;
  tip.replaceChildren(title, ...rows.slice(0, 12).map(([name, value]) => {
    const row = document.createElement("div");
    for (const text of [name, value]) row.append(Object.assign(document.createElement("span"), { textContent: text }));
    return row;
  }));
  tip.hidden = cross.hidden = false;
  const x = box.left + scrollX + (box.width * left) / 100;
  cross.style.left = x + "px";
  cross.style.top = box.top + scrollY + "px";
  cross.style.height = box.height + "px";
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  const beside = x + 14 + tip.offsetWidth > document.documentElement.clientWidth - 8 ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.left = Math.max(8, Math.min(room, beside)) + "px";
  tip.style.top = Math.max(8, box.top + scrollY + 8) + "px";
  area.dataset.at = left;
}

function unread() {
  tip.hidden = cross.hidden = true;
}

document.addEventListener("pointermove", (event) => {
  const area = areaOf(event);
  if (!area) return unread();
  const [, places] = placesOf(area);
  const box = area.getBoundingClientRect();
  const pointed = (100 * (event.clientX - box.left)) / box.width;
  if (places.length) read(area, places.reduce((a, b) => (Math.abs(b - pointed) < Math.abs(a - pointed) ? b : a)));
});

document.addEventListener("keydown", (event) => {
  const area = areaOf(event);
  if (event.key === "Escape") unread();
  if (!area || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const [, places] = placesOf(area);
  if (!places.length) return;
  const known = places.indexOf(Number(area.dataset.at));
  const next = { ArrowLeft: known - 1, ArrowRight: known + 1, Home: 0, End: places.length - 1 }[event.key];
  read(area, places[Math.max(0, Math.min(places.length - 1, next))]);
});

document.addEventListener("focusout", unread);

// ---- commands to copy, and no more than eight trials to compare

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const code = document.getElementById(button.dataset.copy);
  let copied = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch (error) { // not on a page that came over plain HTTP from another machine
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    copied = document.execCommand("copy");
  }
  button.textContent = copied ? "Copied" : "Press Ctrl-C";
  setTimeout(() => (button.textContent = "Copy"), 2000);
});

document.addEventListener("change", (event) => event.target.closest("form[data-most]") && ready());

function ready() {
  for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
  for (const form of document.querySelectorAll("form[data-most]")) {
    const boxes = [...form.querySelectorAll("input[type=checkbox]")];
    const chosen = boxes.filter((box) => box.checked).length;
    const most = Number(form.dataset.most);
    for (const box of boxes) box.disabled = !box.checked && chosen >= most;
    form.querySelector("[data-chosen]").textContent = chosen ? chosen + " of at most " + most : "up to " + most;
  }
}

ready();
wait(Number(main.dataset.refresh));
