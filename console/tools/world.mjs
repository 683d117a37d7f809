// Makes src/world.ts, the outline of land on the map, from a TopoJSON file of Natural Earth's land at 1:110 million
// (public domain, naturalearthdata.com; the npm package world-atlas carries it):
//   node tools/world.mjs node_modules/world-atlas/land-110m.json > src/world.ts
import { readFileSync } from "node:fs";

/** Distance in degrees that a point may be off, and the least extent of an island. */
const TOLERANCE = 0.55;
const LEAST = 1.6;
/** South of this there is only Antarctica. */
const SOUTH = -58;

const topology = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { scale, translate } = topology.transform;
const arcs = topology.arcs.map((arc) => {
  let [x, y] = [0, 0];
  return arc.map(([dx, dy]) => {
    x += dx;
    y += dy;
    return [x * scale[0] + translate[0], y * scale[1] + translate[1]];
  });
});

const arcOf = (index) => (index >= 0 ? arcs[index] : [...arcs[~index]].reverse());
const ringOf = (indices) => unwrap(indices.flatMap((index, i) => arcOf(index).slice(i === 0 ? 0 : 1)));

/** A ring across the 180th meridian goes on beyond it instead of around the world. */
function unwrap(ring) {
  let turn = 0;
  return ring.map(([x, y], i) => {
    const before = i === 0 ? x : ring[i - 1][0];
    if (x - before > 180) turn -= 360;
    if (x - before < -180) turn += 360;
    return [x + turn, y];
  });
}

function distance([px, py], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const t = length === 0 ? 0 : Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / length));
  return Math.hypot(px - ax - t * dx, py - ay - t * dy);
}

/** Douglas and Peucker, 1973. */
function simplify(points) {
  if (points.length < 3) return points;
  const [first, last] = [points[0], points[points.length - 1]];
  let [far, at] = [0, 0];
  for (let i = 1; i < points.length - 1; i++) {
    const off = distance(points[i], first, last);
    if (off > far) [far, at] = [off, i];
  }
  if (far <= TOLERANCE) return [first, last];
  return [...simplify(points.slice(0, at + 1)).slice(0, -1), ...simplify(points.slice(at))];
}

/** A ring is closed: it is cut at its farthest point, so that both halves have ends. */
function simplifyRing(ring) {
  let at = 0;
  for (let i = 1; i < ring.length; i++) {
    if (distance(ring[i], ring[0], ring[0]) > distance(ring[at], ring[0], ring[0])) at = i;
  }
  return [...simplify(ring.slice(0, at + 1)).slice(0, -1), ...simplify(ring.slice(at)).slice(0, -1)];
}

const rings = topology.objects.land.geometries.flatMap((shape) =>
  (shape.type === "Polygon" ? [shape.arcs] : shape.arcs).map((polygon) => ringOf(polygon[0])),
);
const kept = rings.filter((ring) => {
  const [xs, ys] = [ring.map(([x]) => x), ring.map(([, y]) => y)];
  const extent = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
  return extent >= LEAST && Math.max(...ys) > SOUTH;
});

// What lies beyond the meridian is drawn at the other edge too.
const beyond = kept.flatMap((ring) => {
  const [least, most] = [Math.min(...ring.map(([x]) => x)), Math.max(...ring.map(([x]) => x))];
  const turn = most > 180 ? -360 : least < -180 ? 360 : 0;
  return turn === 0 ? [] : [ring.map(([x, y]) => [x + turn, y])];
});

const paths = [...kept, ...beyond].map((ring) => {
  let before = [0, 0];
  const steps = simplifyRing(ring).map(([lon, lat], i) => {
    const now = [Math.round((lon + 180) * 2), Math.round((90 - lat) * 2)];
    const text = `${i === 0 ? "M" : "l"}${now[0] - before[0]},${now[1] - before[1]}`;
    if (i === 0) {
      before = now;
      return `M${now[0]},${now[1]}`;
    }
    before = now;
    return text === "l0,0" ? "" : text;
  });
  return `${steps.join("")}z`;
});

const lines = paths.join("").match(/.{1,116}(?=[Mlz]|$)/g) ?? [];
console.log("/** Land, two units a degree from 180° west and 90° north: Natural Earth (public domain), simplified by tools/world.mjs. */");
console.log("export const LAND =");
console.log(`${lines.map((line) => `  "${line}"`).join(" +\n")};`);
