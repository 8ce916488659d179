"use strict";
const content = JSON.parse(document.getElementById("content").textContent);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function shown(value, digits) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? value.toFixed(digits) : value;
}

/* A table with sortable columns and a filter. Columns: {name, title, digits, text}. */
const ROWS = 100;
function table(place, columns, rows, open) {
  let sorted = -1, descending = true, limit = ROWS;
  const search = element("input", {type: "search", placeholder: "Filter", "aria-label": "Filter rows"});
  const count = element("span", {className: "quiet"});
  const all = element("button", {type: "button", textContent: "Show all"});
  const heads = columns.map((column, number) => {
    const button = element("button", {type: "button", textContent: column.name, title: column.title || ""});
    button.addEventListener("click", () => {
      descending = sorted === number ? !descending : !column.text;
      sorted = number;
      draw();
    });
    return element("th", {scope: "col", className: column.text ? "text" : ""}, button);
  });
  const body = element("tbody");
  search.addEventListener("input", () => { limit = ROWS; draw(); });
  all.addEventListener("click", () => { limit = Infinity; draw(); });

  function compare(a, b) {
    const [left, right] = [a[sorted], b[sorted]];
    if (left === null || right === null) return (left === null) - (right === null);
    const order = typeof left === "number" ? left - right : String(left).localeCompare(String(right));
    return descending ? -order : order;
  }
  function draw() {
    const words = search.value.toLowerCase();
    const matches = (row) => columns.some((c, i) => c.text && String(row[i] ?? "").toLowerCase().includes(words));
    const wanted = words ? rows.filter(matches) : [...rows];
    if (sorted >= 0) wanted.sort(compare);
    heads.forEach((head, i) => {
      if (i === sorted) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    body.replaceChildren(...wanted.slice(0, limit).map((row) => {
      const line = element("tr", {}, ...columns.map((column, i) => {
        const text = shown(row[i], column.digits);
        return element("td", {className: column.text ? "text" : "", textContent: text, title: column.text ? text : ""});
      }));
      const opened = open && open(row);
      if (opened) {
        const name = line.cells[0];
        name.replaceChildren(element("button", {type: "button", className: "link", textContent: name.textContent}));
        line.dataset.open = "";
        line.addEventListener("click", opened);
      }
      return line;
    }));
    count.textContent = `${wanted.length} of ${rows.length} rows`;
    all.hidden = wanted.length <= limit;
  }
  const tools = element("div", {className: "tools"}, search, count, all);
  tools.hidden = rows.length < 8;
  place.append(tools, element("div", {className: "scroll", tabIndex: 0},
    element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)));
  draw();
}

/* Headline figures: pairs of a name and a value. */
function figures(place, pairs) {
  for (const [name, value] of pairs) {
    place.append(
      element("div", {className: "figure"}, element("b", {textContent: value}), element("span", {textContent: name})));
  }
}
