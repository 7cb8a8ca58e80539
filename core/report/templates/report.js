"use strict";
// Tables sort by a click on a column's name: upwards, downwards, as they were.
function value(row, i) {
  const text = row.cells[i].textContent.trim();
  const figure = /^[<>≈~]?\s*([-+−]?[\d,]*\.?\d+(?:e[-+]?\d+)?)/i.exec(text);
  const number = figure ? Number(figure[1].replaceAll(",", "").replace("−", "-")) : NaN;
  return { text, number };
}
function compare(a, b) {
  const known = [a, b].map((x) => !Number.isNaN(x.number));
  if (known[0] && known[1]) return a.number - b.number;
  if (known[0] !== known[1]) return known[0] ? -1 : 1;
  return a.text.localeCompare(b.text, undefined, { numeric: true });
}
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const order = before === null ? "ascending" : before === "ascending" ? "descending" : null;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const rows = [...original];
      if (order) rows.sort((a, b) => sign * compare(value(a, i), value(b, i)));
      body.append(...rows);
    });
  });
}
// On paper nothing can be opened.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
});
