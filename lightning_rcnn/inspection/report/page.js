function byId(name) { return document.getElementById(name); }

/* A finding: its level, what to do, the rule, and its first cases with images. */
function finding(one) {
  const made = element("article", {className: `finding ${one.level}`},
    element("h3", {}, element("span", {className: "badge", textContent: one.level}), one.title),
    element("p", {textContent: one.advice}),
    element("p", {className: "rule", textContent: `Rule: ${one.rule}`}));
  if (one.cases.length) {
    made.append(element("div", {className: "cases", tabIndex: 0}, ...one.cases.map(shown_case)));
  }
  if (one.cases.length && one.count > one.cases.length) {
    made.append(element("p", {className: "rule", textContent: `The first ${one.cases.length} of ${one.count}.`}));
  }
  return made;
}

function shown_case(one) {
  const images = one.images.map((image) => image.picture === null
    ? element("span", {className: "blank", textContent: "unreadable"})
    : element("img", {src: content.pictures[image.picture], alt: image.name, loading: "lazy"}));
  const names = one.images.map((image) => `${image.set}: ${image.name}`).join(" · ");
  const caption = element("figcaption", {}, ...(one.remark ? [element("b", {textContent: one.remark})] : []), names);
  return element("figure", {className: "case"}, element("div", {className: "pair"}, ...images), caption);
}

figures(byId("headline"), content.headline);
byId("findings").append(...content.findings.map(finding));
byId("nothing").hidden = content.findings.length > 0;
for (const [name, {columns, rows}] of Object.entries(content.tables)) {
  if (rows.length) table(byId(`${name}-table`), columns, rows);
}
byId("memory").hidden = !content.tables.memory.rows.length;
for (const row of byId("settings-table").querySelectorAll("tbody tr")) {
  if (row.cells[2].textContent !== "fits") row.cells[2].classList.add("changed");
}
byId("samples-sheet").append(...content.samples.map((one) => element("div", {className: "samples"},
  element("h3", {textContent: `${one.name} · ${one.objects.toLocaleString("en")}`}),
  element("div", {tabIndex: 0}, ...one.images.map((jpeg) =>
    element("img", {src: jpeg, alt: one.name, loading: "lazy"}))))));
byId("samples-note").textContent = content.samples_note;
byId("packing-note").textContent = content.tables.packing.rows.length
  ? "Defects by the rules of pack, counted in the index of each set." : "Packing found no defect.";
