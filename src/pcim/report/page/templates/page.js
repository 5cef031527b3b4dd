/* Draws the charts, sorts tables, lists views. Texts from tables are only ever set as text. */
const own = (text) => JSON.parse(document.querySelector(text).textContent);
const make = (tag, words = "", names = {}) => Object.assign(document.createElement(tag), { textContent: words }, names);

/* paper: light or dark */
const themes = own("#themes");
const paper = document.querySelector("#paper");
const isDark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => themes[paper.value === "dark" || (paper.value !== "light" && isDark.matches) ? "dark" : "light"];
const drawn = new Set();
const repaint = () => { document.documentElement.style.colorScheme = paper.value; drawn.forEach(draw); };
paper.addEventListener("change", repaint);
isDark.addEventListener("change", repaint);

/* charts: drawn when they are about to be seen */
async function draw(place) {
  drawn.add(place);
  const named = CSS.escape(place.dataset.plot);
  const asked = document.querySelector(`[data-asked="${named}"]`);
  asked.replaceChildren();
  const { view } = await vegaEmbed(place, own(`[data-spec="${named}"]`),
    { config: theme(), renderer: "svg", actions: false, bind: asked, tooltip: { theme: theme() === themes.dark ? "dark" : "light" } });
  place.querySelector("svg").setAttribute("aria-hidden", "true"); // the element around it carries the words
  asked.querySelectorAll("input, select").forEach((one) => one.closest("label") ?? one.setAttribute("aria-label", "choice"));
  const plate = place.closest(".plate");
  if (plate) view.addEventListener("click", (_, item) => item?.datum?.well && list(plate, item.datum.well));
  place.dataset.state = "drawn";
}
const drawOnce = (place) => { seen.unobserve(place); if (!drawn.has(place)) draw(place); };
const seen = new IntersectionObserver((entries) => entries.filter((one) => one.isIntersecting).forEach((one) => drawOnce(one.target)), { rootMargin: "400px" });
const plots = document.querySelectorAll("[data-plot]");
plots.forEach((place) => seen.observe(place));
addEventListener("beforeprint", () => plots.forEach(drawOnce));

/* tables: sorted by a click on a column's name, numbers as numbers, what has none last */
const number = (text) => { const found = text.replaceAll("\u2212", "-").match(/^\s*\+?(-?\d+(\.\d+)?)/); return found ? Number(found[1]) : null; };
const cell = (row, at) => row.cells[at].querySelector("data")?.value ?? row.cells[at].textContent.trim();
const compare = (a, b) => { const [x, y] = [number(a), number(b)]; return x !== null && y !== null ? x - y : a.localeCompare(b, "en", { numeric: true }); };
const isEmpty = (text) => text === "" || text === "\u2013";
function ordered(items, of, down) {
  return items.slice().sort((a, b) => isEmpty(of(a)) - isEmpty(of(b)) || (down ? -1 : 1) * compare(of(a), of(b)));
}
function heading(th, onsort) {
  const button = make("button", "", { type: "button" });
  button.append(...th.childNodes);
  th.append(button);
  button.addEventListener("click", () => {
    const down = th.getAttribute("aria-sort") === "ascending";
    th.parentNode.querySelectorAll("[aria-sort]").forEach((one) => one.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    onsort(down);
  });
}
document.querySelectorAll("table.sortable").forEach((table) => [...table.tHead.rows[0].cells].forEach((th, at) =>
  heading(th, (down) => table.tBodies[0].append(...ordered([...table.tBodies[0].rows], (row) => cell(row, at), down)))));

/* commands: copied by a button */
function copying(pre) {
  const button = make("button", "Copy", { type: "button" });
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(pre.textContent); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(pre); button.textContent = "Selected: copy it by keyboard"; }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}
document.querySelectorAll(".copy").forEach((place) => place.append(copying(place.querySelector("pre"))));

/* galleries: how much of the map lies over the image */
document.querySelectorAll(".gallery").forEach((gallery) => {
  gallery.querySelectorAll(".panel").forEach((panel) => panel.querySelector(".under").replaceWith(
    Object.assign(panel.querySelector("img").cloneNode(), { alt: "", className: "under" })));
  const [fade, outlines] = gallery.querySelectorAll("input");
  fade.addEventListener("input", () => gallery.style.setProperty("--fade", fade.value / 100));
  outlines.addEventListener("change", () => gallery.style.setProperty("--outlines", outlines.checked ? 1 : 0));
});

/* lists of views: filtered, sorted, fifty at a time; a view opens to its paths and the command that shows it */
const PAGE = 50;
const shell = (text) => (/^[\w\/.:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
const address = (place, path) => `${place.address}/${path}`;
function list(plate, well) {
  const details = plate.querySelector(".listing");
  details.open = true;
  build(details);
  const filter = details.querySelector("input[type=search]");
  filter.value = `=${well}`; // the well itself, not what contains its name
  filter.dispatchEvent(new Event("input"));
  details.scrollIntoView({ behavior: "smooth" });
}
function build(details) {
  const place = details.querySelector(".list");
  if (place.childElementCount) return;
  const told = JSON.parse(details.querySelector("script").textContent);
  const rows = told.rows.map((values, at) => ({ values, at, text: values.join(" ").toLowerCase() }));
  const why = told.names.indexOf("why");
  const search = make("input", "", { type: "search", placeholder: "text, or =A01 for one well" });
  const only = make("input", "", { type: "checkbox" });
  const count = make("span", "", { className: "n" });
  count.setAttribute("role", "status");
  const table = make("table");
  const back = make("button", "Back", { type: "button" });
  const next = make("button", "Next", { type: "button" });
  let from = 0, shown = rows, by = null, down = false;
  const cells = (value) => (value === null ? "\u2013" : typeof value === "number" ? String(Math.round(value * 1000) / 1000).replace("-", "\u2212") : value);
  const show = () => {
    table.tBodies[0].replaceChildren(...shown.slice(from, from + PAGE).flatMap((row) => opened(row)));
    count.textContent = shown.length ? `${from + 1} to ${Math.min(from + PAGE, shown.length)} of ${shown.length}` : "none";
    back.disabled = from === 0;
    next.disabled = from + PAGE >= shown.length;
  };
  const choose = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = rows.filter((row) => words.every((word) => word.startsWith("=") ? row.values.some((value) => String(value).toLowerCase() === word.slice(1)) : row.text.includes(word)) && (!only.checked || row.values[why]));
    if (by !== null) shown = ordered(shown, (row) => cells(row.values[by]), down);
    from = 0;
    show();
  };
  const opened = (row) => {
    const line = make("tr"), more = make("tr", "", { hidden: true, className: "more" });
    const open = make("button", cells(row.values[0]), { type: "button" });
    open.setAttribute("aria-expanded", "false");
    line.append(...row.values.map((value, at) => make("td", at ? cells(value) : "", { className: typeof value === "number" ? "num" : at === why ? "wrap" : "" })));
    line.cells[0].append(open);
    open.addEventListener("click", () => {
      more.hidden = !more.hidden;
      open.setAttribute("aria-expanded", String(!more.hidden));
      if (!more.childElementCount) more.append(paths(row.at));
    });
    return [line, more];
  };
  const paths = (at) => {
    const box = make("td", "", { colSpan: told.names.length });
    const places = [[told.source, told.paths[at], "Image"], [told.maps, told.map_paths[at], "Map"]].filter(([where]) => where);
    for (const [where, path, words] of places) {
      const line = make("p", `${words}: `);
      const link = `${where.href}/${path.split("/").map(encodeURIComponent).join("/")}`;
      line.append(where.href ? make("a", address(where, path), { href: link }) : make("code", address(where, path)));
      box.append(line);
    }
    const napari = `napari --plugin napari-ome-zarr ${places.map(([where, path]) => shell(address(where, path))).join(" ")}`;
    const pre = make("pre", told.view ? `${told.view} --field ${shell(told.paths[at])}` : napari);
    const copy = make("div", "", { className: "copy" });
    copy.append(pre, copying(pre));
    box.append(copy);
    return box;
  };
  const head = make("tr");
  told.names.forEach((name, at) => {
    const th = make("th", name, { className: typeof told.rows[0]?.[at] === "number" ? "num" : "" });
    heading(th, (falls) => { by = at; down = falls; choose(); });
    head.append(th);
  });
  table.createTHead().append(head);
  table.createTBody();
  const asked = make("p", "", { className: "asked" });
  const [filter, doubts] = [make("label", "Find "), make("label", "")];
  filter.append(search);
  doubts.append(only, " only views in doubt");
  asked.append(filter, doubts, back, next, count);
  const scroll = make("div", "", { className: "scroll", tabIndex: 0 });
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Explained views");
  scroll.append(table);
  place.append(asked, scroll);
  search.addEventListener("input", choose);
  only.addEventListener("change", choose);
  back.addEventListener("click", () => { from = Math.max(0, from - PAGE); show(); });
  next.addEventListener("click", () => { from += PAGE; show(); });
  choose();
}
document.querySelectorAll(".listing").forEach((details) => details.addEventListener("toggle", () => details.open && build(details)));
