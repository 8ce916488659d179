/* The gallery: one image at a time, with its objects and detections. */
function viewer(part) {
  const place = document.getElementById(`${part.name}-viewer`), images = part.gallery;
  if (!images.length) {
    place.append(element("p", {className: "quiet", textContent: "No image has errors."}));
    return {opens: () => null, draw: () => {}};
  }
  const sourceOf = (image) => content.pictures[image.picture];
  const MOST_NAMES = 60;
  const SVG = "http://www.w3.org/2000/svg";
  const state = {current: 0, objects: true, detections: true, boxes: true, masks: true, names: true, errors: false};
  const stage = element("div", {className: "stage"});
  const list = element("ul", {className: "list"});
  const caption = element("p", {className: "quiet"});
  const tools = element("div", {className: "tools"});
  const threshold = element("input", {type: "range", min: 0, max: 1, step: "any", value: part.threshold,
    "aria-label": "Threshold"});
  const score = element("output");
  const classes = element("select", {"aria-label": "Class"}, element("option", {value: "", textContent: "All classes"}));
  const step = (by) => open((state.current + by + images.length) % images.length);
  const hasMasks = images.some((image) => image.shapes.some((shape) => shape.path));
  for (const [key, label] of [["objects", "Objects"], ["detections", "Detections"], ["boxes", "Boxes"],
    ["masks", "Masks"], ["names", "Names"], ["errors", "Errors only"]]) {
    if (key === "masks" && !hasMasks) continue;
    const box = element("input", {type: "checkbox", checked: state[key], id: `${part.name}-show-${key}`});
    box.addEventListener("change", () => { state[key] = box.checked; draw(); });
    tools.append(element("label", {}, box, ` ${label}`));
  }
  threshold.addEventListener("input", draw);
  classes.addEventListener("change", draw);
  tools.append(element("label", {}, "Threshold ", threshold, " ", score), classes);
  const buttons = [["‹ Previous", -1], ["Next ›", 1]].map(([name, by]) => {
    const button = element("button", {type: "button", textContent: name});
    button.addEventListener("click", () => step(by));
    return button;
  });
  const strip = element("div", {className: "strip"}, ...images.map((image, number) => {
    const button = element("button", {type: "button", title: image.name, "aria-label": image.name});
    button.append(sourceOf(image) ? element("img", {src: sourceOf(image), alt: "", loading: "lazy"}) : `${number + 1}`);
    button.addEventListener("click", () => open(number));
    return button;
  }));
  const side = element("div", {}, element("div", {className: "tools"}, ...buttons), caption, list);
  place.append(tools, element("div", {className: "viewer"}, stage, side), strip);
  place.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  /* An object is missed if its true positive scores below the threshold. */
  function kindOf(shape, least) {
    if (shape.of !== "object" || shape.kind === "ignored") return shape.kind;
    return shape.score !== null && shape.score >= least ? "found" : "missed";
  }
  function svg(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }
  const WORDS = {true: "", class: "wrong class: ", location: "wrong location: ", both: "wrong class and location: ",
    background: "background: "};
  const IN_CAPTION = {true: "right", class: "wrong class", location: "wrong location", both: "wrong class and location"};
  function counted(counts) {
    const parts = Object.entries(counts).map(([kind, number]) => `${number} ${IN_CAPTION[kind] ?? kind}`);
    return parts.join(", ") || "none";
  }
  function describe(shape, kind) {
    const name = content.class_names[shape.label - 1];
    if (shape.of === "object") return `${kind}: ${name}`;
    return `${WORDS[kind] ?? `${kind}: `}${name} ${shape.score.toFixed(2)}`;
  }
  function draw() {
    if (!stage.clientWidth) return; // hidden
    const image = images[state.current], least = Number(threshold.value);
    score.textContent = least.toFixed(3);
    const overlay = svg("svg", {viewBox: `0 0 ${image.width} ${image.height}`});
    const size = 13 * image.width / Math.max(1, stage.clientWidth);
    const lines = [], counts = {object: {}, detection: {}};
    for (const shape of image.shapes) {
      if (shape.of === "detection" && shape.score < least) continue;
      const kind = kindOf(shape, least);
      counts[shape.of][kind] = (counts[shape.of][kind] || 0) + 1;
      if (!state[shape.of === "object" ? "objects" : "detections"]) continue;
      if (classes.value && classes.value !== String(shape.label)) continue;
      if (state.errors && ["found", "true", "ignored"].includes(kind)) continue;
      const [x, y, width, height] = shape.box, parts = [];
      if (state.masks && shape.path) parts.push(svg("path", {d: shape.path, class: `mask ${kind}`}));
      if (state.boxes) parts.push(svg("rect", {x, y, width, height, class: `shape ${kind}`}));
      if (state.names && kind !== "found") {
        const text = svg("text", {x: x + size / 4, y: Math.max(size, y - size / 4), "font-size": size});
        text.textContent = describe(shape, kind);
        parts.push(text);
      }
      for (const part of parts.filter((one) => one.tagName !== "text")) {
        const title = svg("title", {});
        title.textContent = describe(shape, kind);
        part.append(title);
      }
      overlay.append(...parts);
      const line = element("li", {}, element("span", {className: `dot ${kind}`}), describe(shape, kind));
      line.addEventListener("mouseenter", () => parts.forEach((part) => part.classList.add("lit")));
      line.addEventListener("mouseleave", () => parts.forEach((part) => part.classList.remove("lit")));
      lines.push([kind === "found" || kind === "true" || kind === "ignored", line]);
    }
    const pixels = sourceOf(image)
      ? element("img", {src: sourceOf(image), alt: image.name})
      : element("div", {className: "blank", style: `aspect-ratio: ${image.width} / ${image.height}`});
    stage.replaceChildren(pixels, overlay);
    list.replaceChildren(...lines.sort((a, b) => a[0] - b[0]).map((pair) => pair[1]));
    caption.textContent = `${state.current + 1} of ${images.length} · ${image.name} · objects: ${counted(counts.object)} · `
      + `detections: ${counted(counts.detection)}${image.note}`;
  }
  function open(number) {
    state.current = number;
    // Many names would hide the image.
    const least = Number(threshold.value);
    const drawn = images[number].shapes.filter((shape) => shape.of === "object" || shape.score >= least).length;
    state.names = document.getElementById(`${part.name}-show-names`).checked = drawn <= MOST_NAMES;
    const labels = [...new Set(images[number].shapes.map((shape) => shape.label))].sort((a, b) => a - b);
    classes.replaceChildren(classes.options[0], ...labels.map((label) =>
      element("option", {value: String(label), textContent: content.class_names[label - 1]})));
    classes.value = "";
    [...strip.children].forEach((button, i) => button.setAttribute("aria-current", i === number));
    draw();
  }
  window.addEventListener("resize", draw);
  open(0);
  return {
    draw,
    opens(id) {
      const number = images.findIndex((image) => image.id === id);
      return number < 0 ? null : () => {
        open(number);
        document.getElementById(`${part.name}-gallery`).scrollIntoView();
      };
    },
  };
}

/* A part of the page: the analysis of masks, or that of boxes. It is filled when it is first shown. */
function fill(part) {
  const place = (name) => document.getElementById(`${part.name}-${name}`);
  figures(place("headline"), part.headline);
  for (const sentence of part.findings) place("sentences").append(element("li", {textContent: sentence}));
  const gallery = viewer(part);
  for (const [name, {columns, rows}] of Object.entries(part.tables)) {
    const open = name === "images" ? (row) => gallery.opens(row[row.length - 1]) : null;
    table(place(`${name}-table`), columns, rows, open);
  }
  return gallery;
}

const galleries = {};
function show(part) {
  for (const one of content.parts) document.getElementById(one.name).hidden = one !== part;
  for (const tab of document.querySelectorAll("#tabs button")) {
    tab.setAttribute("aria-pressed", tab.dataset.part === part.name);
  }
  for (const link of document.querySelectorAll("nav a")) link.hash = link.hash.replace(/#[a-z]+/, `#${part.name}`);
  if (part.name in galleries) galleries[part.name].draw();
  else galleries[part.name] = fill(part);
}

if (content.parts.length > 1) {
  for (const part of content.parts) {
    const tab = element("button", {type: "button", textContent: part.title});
    tab.dataset.part = part.name;
    tab.addEventListener("click", () => {
      const sections = [...document.querySelectorAll("main > div:not([hidden]) > section")];
      const current = sections.findLastIndex((one) => one.getBoundingClientRect().top < 100);
      show(part);
      // The same section, so that both can be compared.
      if (current > 0) document.querySelectorAll(`#${part.name} > section`)[current].scrollIntoView({behavior: "instant"});
    });
    document.getElementById("tabs").append(tab);
  }
}
show(content.parts.find((part) => location.hash.startsWith(`#${part.name}-`)) ?? content.parts[0]);
document.getElementById(location.hash.slice(1))?.scrollIntoView();
