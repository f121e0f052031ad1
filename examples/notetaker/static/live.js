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
}

const live = document.getElementById("live");
const said = document.getElementById("said");
let reading = Promise.resolve();

// Trouble is shown until something else is said; the rest is for those who cannot see the page change.
function say(text, isTrouble = false) {
  said.textContent = text;
  said.classList.toggle("trouble", isTrouble);
}

// The focus stays where it was: a switch that is drawn anew is found by the meeting that it belongs to.
function swap(html) {
  const place = document.activeElement && document.activeElement.closest("#live li[id]");
  live.innerHTML = html;
  local(live);
  if (place) {
    const button = document.getElementById(place.id)?.querySelector("button");
    if (button) button.focus();
  }
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
    form.querySelector("button").setAttribute("aria-busy", "true");
    const answer = await fetch(form.action, { method: "POST" }).catch(() => null);
    const page = answer && new DOMParser().parseFromString(await answer.text(), "text/html");
    const told = page && page.querySelector("[data-told]");
    await read();
    if (told) say(told.textContent, true);
    else if (answer && answer.ok) say("Saved.");
    else say("Notetaker does not answer. Please try again.", true);
  });
}
