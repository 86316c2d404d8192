"use strict";
// The claims table: sorted by its headers, narrowed by the form above it. Without this script all is shown.
const table = document.getElementById("table");
const body = table.tBodies[0];
const rows = [...body.rows]; // in the order of the page
const form = document.querySelector(".filters");
const fields = form.elements;
const choices = ["verdict", "confidence", "phase", "kind"];

function sortBy(column, falling) {
  const key = (row) => row.cells[column].dataset.sort;
  const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
  body.append(...[...rows].sort((a, b) => (falling ? order(b, a) : order(a, b))));
  [...table.tHead.rows[0].cells].forEach((head, i) =>
    head.setAttribute("aria-sort", i !== column ? "none" : falling ? "descending" : "ascending"));
}

[...table.tHead.rows[0].cells].forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sortBy(column, head.getAttribute("aria-sort") === "ascending"));
  head.append(button);
});

function filter() {
  const wanted = fields.text.value.trim().toLowerCase().split(/\s+/);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const fits = (name) => !fields[name].value || fields[name].value === row.dataset[name];
    row.hidden = !(wanted.every((word) => text.includes(word)) && choices.every(fits));
  }
  const seen = rows.filter((row) => !row.hidden).length;
  document.getElementById("count").textContent = `${seen} of ${rows.length} claims`;
  document.getElementById("none").hidden = seen > 0;
}

form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter)); // once the fields are empty
form.reset(); // what a reload kept

// A link to a claim that is filtered out shows all claims again.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  const target = link && document.getElementById(link.hash.slice(1));
  if (target && target.hidden) {
    form.reset();
    filter();
  }
});

// Dark or light: what the system says, until somebody chooses.
const theme = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
function label() {
  theme.textContent = dark() ? "Light" : "Dark";
}
theme.hidden = false;
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  label();
});
system.addEventListener("change", label);
label();

// On paper everything is open; afterwards as before.
let opened = [];
function paper(printing) {
  for (const one of opened) one.open = false;
  opened = printing ? [...document.querySelectorAll("details:not([open])")] : [];
  for (const one of opened) one.open = true;
}
matchMedia("print").addEventListener("change", (event) => paper(event.matches));
