"use strict";
const byId = (id) => document.getElementById(id);
const heads = [...document.querySelectorAll("#requests th")];
const body = document.querySelector("#requests tbody");
const rows = [...body.rows];
const search = byId("search");
const rule = byId("rule");
const ruleColumn = heads.findIndex((head) => head.className === "rule");
const order = new Intl.Collator("en", { numeric: true }).compare;
const whole = (cell) => cell.title || cell.textContent;
const texts = new Map(rows.map((row) => [row, [...row.cells].map(whole).join("\n").toLowerCase()]));

function choose() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = rule ? rule.value : "";
  let count = 0;
  for (const row of rows) {
    const fits = !chosen || whole(row.cells[ruleColumn]) === chosen;
    row.hidden = !(fits && words.every((word) => texts.get(row).includes(word)));
    count += !row.hidden;
  }
  const filters = [words.length ? "“" + search.value.trim() + "”" : "", chosen && "rule " + chosen].filter(Boolean);
  byId("count").textContent = filters.length
    ? count.toLocaleString("en") + " of these " + rows.length.toLocaleString("en") + " rows: " + filters.join(", ") : "";
}

function sort(column) {
  const head = heads[column];
  const falling = head.ariaSort === "ascending";
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.ariaSort = falling ? "descending" : "ascending";
  const value = (row) => whole(row.cells[column]);
  rows.sort((one, other) => order(value(one), value(other)) * (falling ? -1 : 1));
  body.append(...rows);
}

function open(row) {
  const list = document.querySelector("#details dl");
  list.replaceChildren();
  heads.forEach((head, column) => {
    const value = whole(row.cells[column]);
    const name = document.createElement("dt");
    const text = document.createElement("dd");
    name.textContent = head.textContent;
    text.textContent = value;  // never as HTML: clients chose these words
    if (value) list.append(name, text);
  });
  byId("details").showModal();
}

// No buttons: browsers repeat no head of a table with buttons on the next sheet of paper.
heads.forEach((head, column) => {
  head.tabIndex = 0;
  head.addEventListener("click", () => sort(column));
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(column); });
});
rows.forEach((row) => { row.tabIndex = 0; });
body.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && getSelection().isCollapsed) open(row);
});
body.addEventListener("keydown", (event) => { if (event.key === "Enter") open(event.target); });
byId("details").addEventListener("click", (event) => { if (event.target === byId("details")) byId("details").close(); });
search.addEventListener("input", choose);
if (rule) rule.addEventListener("change", choose);
heads[0].ariaSort = "descending";
document.documentElement.classList.add("js");
