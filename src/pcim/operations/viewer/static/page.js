// The page of `pcim view`: one plate, or one field of it, and one plate of maps, in one or two viewers that move together.
import { createViewer } from "./vizarr/vizarr.js";

const LARGEST = 64e6; // values of the smallest levels of a plate, all wells together, that a browser takes well
const WHOLE = "";
const ask = (id) => document.getElementById(id);
const here = new URL(".", location.href).href;
let open = [];

// A folder of the server as a store of zarr. Metadata is asked for once; what the other version of zarr would have is not asked for.
class Folder {
  constructor(path, { version, channels }, below = "") {
    this.channels = channels ?? [];
    this.root = `${here}${path}${below && `/${below}`}`;
    this.other = version === "0.5" ? /\/\.z(group|attrs|array|metadata)$/ : /\/zarr\.json$/;
    this.known = new Map();
  }

  async get(key, options) {
    if (this.other.test(key)) return undefined;
    if (!/\/(zarr\.json|\.z(group|attrs|array|metadata))$/.test(key)) return this.bytes(key, options);
    if (!this.known.has(key)) this.known.set(key, this.bytes(key).then((found) => found && drawable(found, this.channels)));
    return this.known.get(key);
  }

  getRange(key, range, options) {
    const part = "suffixLength" in range ? `-${range.suffixLength}` : `${range.offset}-${range.offset + range.length - 1}`;
    return this.bytes(key, { ...options, headers: { Range: `bytes=${part}` } });
  }

  async bytes(key, options) {
    const answer = await fetch(this.root + key.split("/").map(encodeURIComponent).join("/"), options);
    const found = new Uint8Array(await answer.arrayBuffer());
    if (answer.status === 204) return undefined; // not there: a chunk that was never written is its fill value
    if (!answer.ok) throw new Error(`${key}: ${answer.status}`);
    return found;
  }
}

// The viewer takes omero metadata as whole. Colours are those that the server tells of the plate's channels, which the report has too; its
// labels and windows fill in what a field does not say. A channel that does not say whether it is shown is shown. What is still not whole
// is left out, so that it is chosen from the pixels.
function drawable(bytes, told) {
  const content = JSON.parse(new TextDecoder().decode(bytes));
  const holder = content.attributes?.ome ?? content;
  if (!holder.multiscales || holder["image-label"]) return bytes;
  const own = Array.isArray(holder.omero?.channels) ? holder.omero.channels : [];
  const isWindow = (one) => one?.end > one?.start;
  const channels = (own.length ? own : told).map((_, at) => {
    const window = isWindow(own[at]?.window) ? own[at].window : told[at]?.window;
    return { ...own[at], label: own[at]?.label || told[at]?.label, color: told[at]?.color ?? own[at]?.color, active: own[at]?.active ?? true, window };
  });
  const isWhole = (one) => /^[0-9a-f]{6}$/i.test(one.color) && isWindow(one.window);
  if (channels.length && channels.every(isWhole)) holder.omero = { ...holder.omero, channels };
  else delete holder.omero;
  return new TextEncoder().encode(JSON.stringify(content));
}

function choose(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => value === chosen)) select.value = chosen;
}

function tell(text) {
  ask("told").textContent = text;
}

function canDraw(grid) {
  return grid && grid.wells * grid.height * grid.width * grid.channels <= LARGEST;
}

// What is shown: layers of the image's and of the map's pane, each the settings of a source.
function layersOf(view) {
  const map = view.maps[ask("map").value];
  const number = ask("map").value;
  const [well, field] = [ask("well").value, ask("field").value];
  if (well === WHOLE) {
    const grid = view.source?.grid ?? map.grid;
    const onClick = ({ gridCoord }) => enter(view, `${grid.rows[gridCoord?.row]}/${grid.columns[gridCoord?.column]}`);
    const image = canDraw(view.source?.grid) && { source: new Folder("source", view.source), onClick };
    const scaled = image && map.grid && scaling(view.source.grid, map.grid);
    return [image, canDraw(map.grid) && { source: new Folder(`maps/${number}`, map), ...(scaled ? { model_matrix: scaled, onClick: () => {} } : { onClick }) }];
  }
  const [, mapped] = view.wells.find((one) => one.path === well).fields.find(([name]) => name === field) ?? [];
  const image = view.source && { source: new Folder("source", view.source, `${well}/${field}`), name: "Image" };
  const isThere = map.fields.includes(`${well}/${mapped}`);
  return [image, isThere && { source: new Folder(`maps/${number}`, map, `${well}/${mapped}`), name: "Map" }];
}

// The grid of the maps over that of the images, whose smallest levels may be of other sizes; 5 is the viewer's own gap.
function scaling(image, map) {
  const [x, y] = [(image.width + 5) / (map.width + 5), (image.height + 5) / (map.height + 5)];
  return [x, 0, 0, 0, 0, y, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
}

function enter(view, path) {
  if (!view.wells.some((one) => one.path === path)) return;
  ask("well").value = path;
  fields(view);
  setTimeout(() => show(view)); // once the click is over: its viewer goes
}

async function pane(title, layers) {
  const [section, place] = [document.createElement("section"), document.createElement("div")];
  const heading = document.createElement("h2");
  heading.textContent = title;
  section.append(heading, place);
  ask("panes").append(section);
  const viewer = await createViewer(place, { menuOpen: false });
  open.push(viewer);
  for (const [number, layer] of layers.entries()) await viewer.addImage(number ? { ...layer, opacity: 0.4 } : layer);
  return viewer;
}

// Both viewers look at the same place. One that is moved by the other does not move that in turn.
function together(viewers) {
  let following = false;
  for (const one of viewers) {
    one.on("viewStateChange", (state) => {
      if (following) return;
      following = true;
      for (const other of viewers) if (other !== one) other.setViewState(state);
      following = false;
    });
  }
}

let turn = 0;
async function show(view) {
  const mine = ++turn;
  for (const viewer of open.splice(0)) viewer.destroy();
  ask("panes").replaceChildren();
  const [image, map] = layersOf(view);
  const { model, method } = view.maps[ask("map").value];
  const missing = ask("well").value === WHOLE ? "is too large, or not finished: choose a well" : "has no map of this field";
  tell([view.why, map ? "" : `${method} by ${model} ${missing}.`].filter(Boolean).join(" "));
  const [named, over] = [`Map: ${method}, ${model}`, ask("place").value === "over"];
  if (over && image && map) await pane(`Image, ${named}`, [image, map]);
  else {
    const viewers = [];
    for (const [title, layer] of [["Image", image], [named, map]]) if (layer && mine === turn) viewers.push(await pane(title, [layer]));
    together(viewers);
  }
  document.body.dataset.shown = String(mine);
}

// The wells and, of the chosen one, the fields; those without a map by the chosen method say so.
function wells(view, chosen) {
  const map = view.maps[ask("map").value];
  const there = new Set(map.fields);
  const isMapped = (well) => well.fields.some(([, mapped]) => there.has(`${well.path}/${mapped}`));
  const whole = canDraw(view.source?.grid) || canDraw(map.grid) ? [[WHOLE, "whole plate"]] : [];
  const named = view.wells.map((one) => [one.path, isMapped(one) ? one.name : `${one.name} (no map)`]);
  choose(ask("well"), [...whole, ...named], chosen ?? view.wells.find(isMapped)?.path);
  fields(view);
}

function fields(view) {
  const well = view.wells.find((one) => one.path === ask("well").value);
  const there = new Set(view.maps[ask("map").value].fields);
  const named = (well?.fields ?? []).map(([name, mapped]) => [name, there.has(`${well.path}/${mapped}`)]);
  const mapped = named.filter(([, isMapped]) => isMapped).map(([name]) => name);
  const chosen = mapped.includes(ask("field").value) ? ask("field").value : mapped[0];
  choose(ask("field"), named.map(([name, isMapped]) => [name, isMapped ? name : `${name} (no map)`]), chosen);
  ask("field").disabled = !well;
}

async function main() {
  const view = await (await fetch("view.json")).json();
  document.title = `${view.plate}, ${view.campaign}`;
  document.querySelector("h1").textContent = `Plate ${view.plate} of ${view.campaign}`;
  if (!document.createElement("canvas").getContext("webgl2")) return tell("This browser has no WebGL 2: it cannot draw images.");
  choose(ask("map"), view.maps.map((one, number) => [String(number), `${one.method}, ${one.model}`]), "0");
  wells(view, view.begin ? view.begin.split("/").slice(0, -1).join("/") : undefined);
  if (view.begin) ask("field").value = view.begin.split("/").at(-1);
  ask("well").addEventListener("change", () => (fields(view), show(view)));
  ask("map").addEventListener("change", () => (wells(view, ask("well").value), show(view)));
  for (const id of ["field", "place"]) ask(id).addEventListener("change", () => show(view));
  addEventListener("unhandledrejection", (event) => {
    if (event.reason?.name === "AbortError") event.preventDefault(); // a tile that is not looked at any more
    else tell(`Not everything can be shown: ${event.reason?.message ?? event.reason}`);
  });
  await show(view);
}

main();
