// Keeps the page up to date without a reload, and shows times in the reader's own zone. Without it all still works.
"use strict";

const formats = {
  time: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }),
  day: new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" }),
};

function local(root) {
  for (const time of root.querySelectorAll("time[data-format]")) {
    time.textContent = formats[time.dataset.format].format(new Date(time.dateTime));
  }
  const place = root.querySelector(".days");
  if (place && place.querySelector(".meetings")) place.replaceChildren(...byDay(place));
}

// The server knows UTC's days only. Here each meeting comes under the reader's own; an all-day one has its day with it.
function byDay(place) {
  const days = new Map();
  for (const meeting of place.querySelectorAll(".meetings > li")) {
    const when = meeting.querySelector(".when");
    const day = when.dataset.day ?? new Date(when.querySelector("time").dateTime).toLocaleDateString("sv"); // 2026-11-27
    days.set(day, [...(days.get(day) ?? []), meeting]);
  }
  return [...days.keys()].sort().flatMap((day) => {
    const title = document.createElement("h3");
    title.textContent = formats.day.format(new Date(`${day}T00:00`));
    const list = document.createElement("ul");
    list.className = "meetings";
    list.append(...days.get(day));
    return [title, list];
  });
}

const live = document.getElementById("live");
const said = document.getElementById("said");
let reading = Promise.resolve();

// Trouble is shown until something else is said; the rest is for those who cannot see the page change.
function say(text, isTrouble = false) {
  said.textContent = text;
  said.classList.toggle("trouble", isTrouble);
}

// The focus stays where it was: a switch that is drawn anew is found by its meeting, another button by what it does.
function swap(html) {
  const form = document.activeElement?.closest("#live form");
  const meeting = form?.closest("li[id]")?.id;
  live.innerHTML = html;
  local(live);
  const again = meeting
    ? document.getElementById(meeting)
    : form && [...live.querySelectorAll("form")].find((one) => one.action === form.action);
  again?.querySelector("button")?.focus();
}

function read() {
  reading = reading.then(async () => {
    const answer = await fetch(live.dataset.live, { headers: { accept: "text/html" } });
    if (answer.status === 401) location.assign("/");
    if (answer.ok) swap(await answer.text());
  }).catch(() => {});
  return reading;
}

local(document);
if (live) {
  const updates = new EventSource("/updates");
  updates.addEventListener("changed", () => read().then(() => {
    if (!said.classList.contains("trouble")) say("Your meetings were updated.");
    if (live.querySelector(".alert")) document.querySelector(".notice")?.remove(); // what it says holds no longer
  }));
  // What happened between the page and the first word of the stream, or while it was broken, is read now.
  updates.addEventListener("hello", () => read());
  window.addEventListener("pagehide", () => updates.close());

  live.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-quiet]");
    if (!form) return;
    event.preventDefault();
    const button = form.querySelector("button");
    if (button.hasAttribute("aria-busy")) return; // pressed twice
    button.setAttribute("aria-busy", "true");
    const answer = await fetch(form.action, { method: "POST" }).catch(() => null);
    const page = answer && new DOMParser().parseFromString(await answer.text(), "text/html");
    const told = page && page.querySelector("[data-told]");
    await read();
    button.removeAttribute("aria-busy");
    if (told) say(told.textContent, true);
    else if (answer && answer.ok) say("Saved.");
    else say("Notetaker does not answer. Please try again.", true);
  });
}
