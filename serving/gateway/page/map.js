// The map of all entities: drag to move, wheel or + and - to zoom, click to open; labels by zoom.

import { ask, rows as answerRows } from "./answers.js";
import { get } from "./api.js";
import { cut, link, make, named, percent, problemBox } from "./dom.js";
import { Disk, PALETTE } from "./disk.js";
import { answeredBy, chosen, selector } from "./models.js";
import { go, to } from "./routes.js";

const PAGE = 50_000;
const COLUMNS = ["x", "y", "groups", "weights", "ids", "labels"];
const GROUPS = 11;
const LABELS = 40;
const NEAR_PX = 12;
const SLOW_MS = 50;
const LEAST = 4000;
const kept = new Map();
addEventListener("mulde-swapped", () => kept.clear());

async function load(key) {
  if (kept.has(key)) return kept.get(key);
  const map = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  let page_token = "";
  do {
    const page = await get("GetMap", { model: selector(key), page_size: PAGE, page_token });
    answeredBy(page.model, key);
    for (const name of COLUMNS) for (const value of page[name]) map[name].push(value);
    Object.assign(map, { names: page.group_names, variance: page.variance, correlation: page.correlation });
    page_token = page.next_page_token;
  } while (page_token);
  map.x = Int16Array.from(map.x);
  map.y = Int16Array.from(map.y);
  map.groups = Uint8Array.from(map.groups, (group) => Math.min(group, GROUPS));
  map.weights = Uint8Array.from(map.weights);
  map.row = new Map(map.ids.map((id, i) => [id, i]));
  map.order = Uint32Array.from(map.ids.keys()).sort((one, other) => map.weights[other] - map.weights[one]);
  kept.set(key, map);
  return map;
}

export async function mapView(fields) {
  const title = make("h1", {}, "Map");
  const map = await load(chosen());
  const lit = await litRows(map, fields);
  const canvas = make("canvas", { tabindex: "0", role: "application", "aria-label": `Map of ${map.ids.length} entities. Arrow keys move it, plus and minus zoom.` });
  const labels = make("div", { class: "labels", "aria-hidden": "true" });
  const list = make("ul", { class: "plain" });
  const parts = [
    title, make("p", {}, "Drag to move, turn the wheel to zoom, click an entity to open it."),
    make("div", { class: "stage" }, canvas, labels), legend(map),
    make("p", { class: "soft" }, `The map keeps ${percent(map.variance)} of the variance of the model's points; the rank correlation of distances is ${map.correlation.toFixed(2)}. What is near here need not be near in the model.`),
    make("details", {}, make("summary", {}, "Entities with a label in view"), list),
  ];
  let disk;
  try {
    disk = new Disk(canvas, map);
  } catch (error) {
    return [title, problemBox({ title: "The map cannot be drawn", detail: String(error.message ?? error) })];
  }
  disk.light(lit);
  const redraw = painter(disk, map, new Set(lit), labels, list);
  const watch = new ResizeObserver(() => redraw());
  handle(canvas, disk, map, redraw);
  parts.shown = () => {
    if (lit.length) centre(disk, lit[0]);
    watch.observe(canvas);
    redraw();
  };
  parts.leave = () => {
    watch.disconnect();
    disk.gl.getExtension("WEBGL_lose_context")?.loseContext();
  };
  return parts;
}

async function litRows(map, fields) {
  const ids = fields.lit ? [fields.lit] : [];
  if (fields.kind) ids.push(...answerRows(await ask(fields)).map((one) => one.id));
  return ids.map((id) => map.row.get(id)).filter((row) => row !== undefined);
}

function centre(disk, row) {
  disk.move([disk.places[2 * row] / 32767, disk.places[2 * row + 1] / 32767], [0, 0]);
  disk.zoom(2);
}

function legend(map) {
  return make("ul", { class: "legend", "aria-label": "Colours" }, [...map.names.slice(0, GROUPS), "other"].map((name, i) => {
    const spot = make("i");
    spot.style.setProperty("background", PALETTE[name === "other" ? GROUPS : i]);
    return make("li", {}, spot, named(name));
  }));
}

// Draws once a frame, however often it is asked to. Where frames take long, only the entities with most facts
// are drawn while the map moves. All of them, and labels, follow when nothing has moved for a moment.
function painter(disk, map, lit, labels, list) {
  let waiting = false, later = 0, most = disk.count, last = 0;
  const rest = () => {
    last = 0;
    disk.draw();
    write(disk, map, lit, labels, list);
  };
  return () => {
    labels.hidden = true;
    clearTimeout(later);
    later = setTimeout(rest, 150);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame((now) => {
      waiting = false;
      if (last && now - last > SLOW_MS) most = Math.max(LEAST, most / 2);
      last = now;
      disk.draw(most);
    });
  };
}

// Labels of the entities with most facts in view, none over another; those that are lit up come first.
function write(disk, map, lit, labels, list) {
  const { clientWidth: width, clientHeight: height } = disk.canvas;
  const shown = [], widest = Math.min(224, width / 3);
  const place = (row) => {
    const [x, y] = disk.where(row, width, height);
    const right = x + 14 + Math.min(widest, 7.5 * map.labels[row].length);
    if (!(x > 4 && y > 12 && right < width && y < height - 12)) return;
    if (shown.some((one) => Math.abs(one.y - y) < 20 && one.x < right && x < one.right)) return;
    shown.push({ row, x, y, right });
  };
  lit.forEach(place);
  for (const row of map.order) {
    if (shown.length >= LABELS) break;
    if (!lit.has(row)) place(row);
  }
  labels.replaceChildren(...shown.map(({ row, x, y }) => {
    const label = make("span", { class: lit.has(row) ? "lit" : "" }, cut(map.labels[row]));
    label.style.setProperty("max-width", `${widest}px`);
    label.style.setProperty("transform", `translate(${x + 6}px, ${y - 9}px)`);
    return label;
  }));
  labels.hidden = false;
  list.replaceChildren(...shown.map(({ row }) => make("li", {}, link(map.labels[row], to("entity", { id: map.ids[row] })))));
}

function handle(canvas, disk, map, redraw) {
  let from = null, moved = 0;
  const at = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    from = disk.under(...at(event));
    moved = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const now = disk.under(...at(event));
    moved += Math.abs(event.movementX) + Math.abs(event.movementY);
    disk.move(from, now);
    from = now;
    redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    from = null;
    if (moved < 4) open(map, nearest(disk, map, ...at(event)));
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    disk.zoom(Math.exp(-event.deltaY / 400));
    redraw();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 0.15 / disk.scale;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) disk.move([0, 0], moves[event.key]);
    else if (event.key === "+" || event.key === "=") disk.zoom(1.4);
    else if (event.key === "-") disk.zoom(1 / 1.4);
    else return;
    event.preventDefault();
    redraw();
  });
}

const open = (map, row) => { if (row >= 0) go("entity", { id: map.ids[row] }); };

function nearest(disk, map, px, py) {
  const { clientWidth: width, clientHeight: height } = disk.canvas;
  let best = -1, least = NEAR_PX ** 2;
  for (let row = 0; row < map.ids.length; row++) {
    const [x, y] = disk.where(row, width, height);
    const away = (x - px) ** 2 + (y - py) ** 2;
    if (away < least) [best, least] = [row, away];
  }
  return best;
}
