// Draws the page of a plan from its JSON (docs/plan.md).
"use strict";
const plan = JSON.parse(document.getElementById("plan").textContent);
const page = document.getElementById("page");

// Elements and numbers.
function make(name, attributes, ...children) {
  const isDrawn = [ "svg", "path", "line", "text", "rect", "circle", "g" ].includes(name);
  const element = isDrawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {}))
    if (value !== undefined)
      element.setAttribute(key, value);
  element.append(...children.map(child => typeof child === "number" ? String(child) : child));
  return element;
}
function scaled(value, base, prefixes, unit) {
  let at = 0;
  while (value >= base && at + 1 < prefixes.length) {
    value /= base;
    at += 1;
  }
  return value.toFixed(3) + " " + prefixes[at] + unit;
}
const bytes = value => scaled(value, 1024, [ "", "Ki", "Mi", "Gi", "Ti" ], "B");
const flops = value => scaled(value, 1000, [ "", "K", "M", "G", "T" ], "FLOP");
const ms = value => value.toFixed(2) + " ms";
const count = value => value.toLocaleString("en-US");
const percent = value => (100 * value).toFixed(2) + " %";
const sum = values => values.reduce((a, b) => a + b, 0);
const families = plan.families.map(row => row.family).filter(name => name !== "outside");
const colour = family => `var(--c${families.indexOf(family) % 8})`;
const isPlanned = plan.step_ms !== null;

function section(title, about, isLong, ...children) {
  page.append(make("section", isLong ? {class : "long"} : {}, make("h2", {}, title), about ? make("p", {}, about) : "", ...children));
}
/// A table of columns [title, cell of a row, class].
function table(columns, rows, attributes) {
  const head = make("tr", {}, ...columns.map(([ title, , kind ]) => make("th", {class : kind}, title)));
  const body = rows.map(row => make("tr", attributes ? attributes(row) : {}, ...columns.map(([, cell, kind ]) => {
                          const content = cell(row);
                          return make("td", {class : kind}, ...(Array.isArray(content) ? content : [ content ]));
                        })));
  return make("div", {class : "wide"}, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}
function legend(entries) {
  return make("div", {class : "legend"}, ...entries.map(([ name, key ]) => make("span", {style : `--key: ${key}`}, name)));
}

// Axes: a few round numbers up to the largest.
function ticks(least, most, base) {
  const rough = (most - least) / 5 || 1, power = Math.pow(base, Math.floor(Math.log(rough) / Math.log(base)));
  const step = [ 1, 2, 4, 5, 8, 10, 16, 32, 64, 128, 256, 512, 1024 ].find(times => times * power >= rough) * power;
  const values = [];
  for (let value = Math.ceil(least / step) * step; value <= most; value += step)
    values.push(value);
  return values;
}
// On a phone fewer and so larger units.
const is_narrow = window.innerWidth < 600;
const area = {
  width : is_narrow ? 430 : 900,
  height : is_narrow ? 270 : 320,
  left : 78,
  right : 16,
  top : 14,
  bottom : 30
};
area.right_edge = area.width - area.right;
area.bottom_edge = area.height - area.bottom;
function chart(x, y, xTicks, yTicks, ...drawn) {
  const lines = yTicks.flatMap(
      ([ value, label ]) => [make("line", {x1 : area.left, x2 : area.right_edge, y1 : y(value), y2 : y(value), stroke : "var(--line)"}),
                             make("text", {x : area.left - 8, y : y(value) + 4, "text-anchor" : "end"}, label)]);
  const below = xTicks.map(([ value, label ]) => make("text", {x : x(value), y : area.height - 8, "text-anchor" : "middle"}, label));
  return make("figure", {}, make("svg", {viewBox : `0 0 ${area.width} ${area.height}`, role : "img"}, ...lines, ...below, ...drawn));
}
const place = (from, to, begin, end) => value => begin + (end - begin) * (to === from ? 0 : (value - from) / (to - from));
function roundBytes(value) {
  if (value === 0)
    return "0";
  const [number, unit] = bytes(value).split(" ");
  return `${+ number} ${unit}`;
}

function addFigures() {
  document.title = `megacc plan of ${plan.model}`;
  page.append(make("h1", {}, plan.model),
              make("p", {},
                   `${plan.depth} blocks, hidden ${count(plan.hidden)}, vocab ${count(plan.vocab)}, sequence ${count(plan.sequence)}` +
                       (isPlanned ? `; micro-batch ${plan.micro_batch}, ${plan.accumulate} a step, ${plan.precision}, target ${plan.target}`
                                  : "")));
  for (const reason of plan.unsupported)
    page.append(make("p", {class : "notes"}, "Not planned: " + reason));
  const figure = (key, name, value) =>
      value === null ? [] : [ make("div", {}, make("dt", {}, name), make("dd", {"data-key" : key}, value)) ];
  const ifThere = (value, text) => value === null ? null : text(value);
  page.append(
      make("dl", {class : "figures"},
           ...figure("step_ms", plan.times.measured ? "a step, by measured kernels" : "a step takes at least", ifThere(plan.step_ms, ms)),
           ...figure("measured_step_ms", "a step, measured as a whole", ifThere(plan.times.measured_step_ms, ms)),
           ...figure("total_bytes", "memory", ifThere(plan.total_bytes, bytes)),
           ...figure("budget_bytes", "budget", ifThere(plan.budget_bytes, bytes)),
           ...figure("minimum_bytes", "memory of the smallest plan", ifThere(plan.minimum_bytes, bytes)),
           ...figure("gap", "at most over the best plan", ifThere(plan.gap, percent)),
           ...figure("parameters.total", "parameters", count(plan.parameters.total)),
           ...figure("parameters.active", "active for a token", count(plan.parameters.active)),
           ...figure("flops_per_token", "training, a token", flops(plan.flops_per_token))));
  if (isPlanned)
    page.append(make("p", {},
                     `Times of ${plan.times.machine}, ` +
                         (plan.times.measured ? "as its kernels were measured." : "by FLOPs and bytes of every launch.")));
}

function addStack() {
  const slots = [];
  for (const row of plan.blocks)
    for (const slot of row.slots)
      slots[slot] = row;
  section("Stack", "A field for each block in the order of the forward; framed: a placement is on it.", false,
          make("div", {class : "strip"},
               ...slots.map((row, slot) => make("a", {
                              href : `#slot-${slot}`,
                              style : `background: ${colour(row.family)}`,
                              class : row.features.length ? "placed" : undefined,
                              title : [ `slot ${slot}: ${row.family}`, ...row.features ].join(" + ")
                            },
                                                row.letter, make("small", {}, slot)))),
          legend(families.map(name => [name, colour(name)])));
  return slots;
}

function addTimeline() {
  const line = plan.timeline, names = Object.keys(line.classes);
  const colours = {kept : "var(--c0)", forward : "var(--c5)", backward : "var(--c1)", again : "var(--c3)", scratch : "var(--c7)"};
  const peak = line.state + Math.max(...line.launches.map((_, i) => sum(names.map(name => line.classes[name][i]))));
  const most = 1.05 * Math.max(peak, plan.total_bytes, plan.budget_bytes || 0);
  const x = place(0, Math.max(1, line.count - 1), area.left, area.right_edge), y = place(0, most, area.bottom_edge, area.top);
  const drawn = [ make(
      "rect",
      {x : area.left, y : y(line.state), width : area.right_edge - area.left, height : y(0) - y(line.state), fill : "var(--state)"}) ];
  let below = line.launches.map(() => line.state);
  for (const name of names) {
    const above = below.map((value, i) => value + line.classes[name][i]);
    const points = [
      ...line.launches.map((at, i) => `${x(at).toFixed(1)} ${y(above[i]).toFixed(1)}`),
      ...line.launches.map((at, i) => `${x(at).toFixed(1)} ${y(below[i]).toFixed(1)}`).reverse()
    ];
    drawn.push(make("path", {d : "M" + points.join("L") + "Z", fill : colours[name]}));
    below = above;
  }
  const mark = (value, label, dash) => drawn.push(make("line", {
                                                    x1 : area.left,
                                                    x2 : area.right_edge,
                                                    y1 : y(value),
                                                    y2 : y(value),
                                                    stroke : "var(--mark)",
                                                    "stroke-width" : 1.5,
                                                    "stroke-dasharray" : dash
                                                  }),
                                                  make("text", {x : area.left + 6, y : y(value) - 5, class : "strong"}, label));
  mark(peak, `peak, ${bytes(peak)} alive`, "4 3");
  // Labels of lines that are close would lie on each other.
  if (plan.budget_bytes) {
    mark(plan.budget_bytes, "", "none");
    drawn.push(make("text", {x : area.right_edge - 6, y : y(plan.budget_bytes) - 5, "text-anchor" : "end", class : "strong"},
                    `budget ${bytes(plan.budget_bytes)}`));
  }
  const edge = x(Math.min(line.update, line.count - 1));
  drawn.push(
      make("line", {x1 : edge, x2 : edge, y1 : area.top, y2 : area.bottom_edge, stroke : "var(--soft)", "stroke-dasharray" : "2 3"}));
  section("Memory over a step",
          "Bytes alive at every launch of a micro-batch, forward then backward, and of the update behind the dotted line.", false,
          chart(x, y, ticks(0, line.count - 1, 10).map(value => [value, value ? count(value) : "launch 0"]),
                ticks(0, most, 2).map(value => [value, roundBytes(value)]), ...drawn),
          legend([
            [ "weights, gradients, optimizer, i/o", "var(--state)" ], ...names.map(name => [{
                                                                                     kept : "kept for the backward",
                                                                                     forward : "of the forward alone",
                                                                                     backward : "of the backward",
                                                                                     again : "computed again",
                                                                                     scratch : "scratch"
                                                                                   }[name],
                                                                                            colours[name]])
          ]));
}

const isAgain = decision => decision.choice === "computed again";
function addSlots(slots) {
  const longest = Math.max(...slots.map(row => row.ms.total), 1e-9);
  const bar = row =>
      make("span", {class : "bar"},
           ...[[ "forward", "--c5" ], [ "backward", "--c1" ], [ "again", "--c3" ]].map(
               ([ key, name ]) => make("i", {style : `width: ${(100 * row.ms[key] / longest).toFixed(2)}%; background: var(${name})`})));
  const columns = [
    [ "slot", row => row.slot ],
    [ "", row => make("span", {class : "chip", style : `background: ${colour(row.family)}`}, row.letter), "text" ],
    [ "family", row => [row.family, ...row.features].join(" + "), "text" ], [ "parameters", row => count(row.parameters.total) ]
  ];
  if (isPlanned)
    columns.push([ "ms", row => row.ms.total.toFixed(2) ], [ "", bar, "text" ], [ "forward", row => row.ms.forward.toFixed(2) ],
                 [ "backward", row => row.ms.backward.toFixed(2) ], [ "again", row => row.ms.again.toFixed(2) ],
                 [ "kept", row => bytes(row.kept_bytes) ]);
  if (plan.again_bytes)
    columns.push([ "made again", row => bytes(row.again_bytes) ], [
      "computed again",
      row => plan.decisions.filter(decision => isAgain(decision) && decision.slots.includes(row.slot))
                 .map(decision => decision.value)
                 .join(", "),
      "text long"
    ]);
  section("Slots", isPlanned ? "Milliseconds of a micro-batch, bytes from its forward to its backward." : "", true,
          table(columns, slots.map((row, slot) => ({...row, slot})), row => ({id : `slot-${row.slot}`})),
          isPlanned ? legend([ [ "forward", "var(--c5)" ], [ "backward", "var(--c1)" ], [ "computing again", "var(--c3)" ] ]) : "");
}

function addFamilies() {
  const columns = [
    [ "family", row => row.family, "text" ], [ "blocks", row => row.blocks || "" ], [ "parameters", row => count(row.parameters.total) ],
    [ "active", row => count(row.parameters.active) ], [ "training/token", row => flops(row.flops_per_token) ]
  ];
  if (isPlanned)
    columns.push([ "ms", row => row.ms.total.toFixed(2) ]);
  if (plan.times.measured)
    columns.push([ "by FLOPs and bytes", row => row.ms.estimated.toFixed(2) ]);
  section("Families", "", false, table(columns, plan.families));
  const rows = Object.entries(plan.bytes).map(([ name, value ]) => ({name, value}));
  section("Bytes", "", false,
          table([ [ "segment", row => row.name, "text" ], [ "bytes", row => bytes(row.value) ], [ "", row => count(row.value) ] ], rows));
}

function addPeak() {
  section(
      "Largest at the peak", `Alive at ${plan.peak.launch} (${plan.peak.kernel}), ${bytes(plan.peak.bytes)} of temporaries in all.`, false,
      table(
          [
            [ "tensors", row => row.count ], [ "bytes of one", row => bytes(row.bytes) ], [ "of all", row => bytes(row.count * row.bytes) ],
            [ "class", row => row.class, "text" ], [ "made by", row => row.kernel, "text" ],
            [ "at", row => row.count > 1 ? `${row.first}, ..., ${row.last}` : row.first, "text" ]
          ],
          plan.peak.values));
}

function addBudgets() {
  const rows = plan.budgets, own = {bytes : plan.total_bytes, step_ms : plan.step_ms};
  const all = [...rows, own ], xs = all.map(row => row.bytes), ys = all.map(row => row.step_ms);
  const low = Math.min(...ys), high = Math.max(...ys), margin = (high - low || low) * 0.08;
  const x = place(Math.min(...xs), Math.max(...xs), area.left, area.right_edge - 20),
        y = place(low - margin, high + margin, area.bottom_edge, area.top);
  const drawn = [
    make("path", {
      d : "M" + rows.map(row => `${x(row.bytes)} ${y(row.step_ms)}`).join("L"),
      fill : "none",
      stroke : "var(--c0)",
      "stroke-width" : 2
    }),
    ...rows.map(row => make("circle", {cx : x(row.bytes), cy : y(row.step_ms), r : 3.5, fill : "var(--c0)"})),
    make("circle", {cx : x(own.bytes), cy : y(own.step_ms), r : 6, fill : "none", stroke : "var(--mark)", "stroke-width" : 2.5}),
    make("text", {
      x : x(own.bytes) + 10,
      y : y(own.step_ms) - 8,
      class : "strong",
      "text-anchor" : x(own.bytes) > area.width * 0.7 ? "end" : "start"
    },
         "this plan")
  ];
  section("Step time against memory", "Each point is the fastest plan that fits in so many bytes.", false,
          chart(x, y, ticks(Math.min(...xs), Math.max(...xs), 2).map(value => [value, roundBytes(value)]),
                ticks(low - margin, high + margin, 10).map(value => [value, +value.toFixed(3) + " ms"]), ...drawn),
          table(
              [
                [ "memory", row => bytes(row.bytes) ], [ "a step", row => ms(row.step_ms) ],
                [ "computing again", row => percent(row.again_ms / row.step_ms) ]
              ],
              rows));
}

function addDecisions() {
  const option = entry => entry.choice + (entry.bytes ? `, ${bytes(entry.bytes)}` : "") + (entry.ms ? `, ${entry.ms.toFixed(3)} ms` : "");
  const name = row => [row.block, row.value].filter(part => part).join(row.block.length === 1 ? ":" : ": ");
  const list = table(
      [
        [ "what", name, "text" ], [ "choice", option, "text long" ],
        [ "instead of", row => row.alternatives.map(option).join("; "), "text long" ],
        [ "slots", row => row.slots.length ? row.slots.join(", ") : "", "text long" ], [ "why", row => row.reason, "text long" ]
      ],
      plan.decisions, () => ({"data-decision" : ""}));
  const search =
      make("input",
           {type : "search", placeholder : "search: a name, a letter, kept, computed again, a slot", "aria-label" : "search decisions"});
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(word => word);
    for (const row of list.querySelectorAll("tbody tr"))
      row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
  });
  section("Decisions", "Of all ops of a name in blocks of a letter, for a micro-batch: bytes from the forward to the backward, time again.",
          true, search, list);
}

function addMesh() {
  const {dp, tp, ep, parameters, collectives} = plan.mesh;
  section("Mesh", `${dp * tp * ep} ranks: dp = ${dp}, tp = ${tp}, ep = ${ep}. A parameter without a split is on every rank.`, true,
          table(
              [
                [ "parameter", row => row.parameter, "text" ], [ "blocks", row => row.blocks ], [ "shape", row => row.shape ],
                [ "of one rank", row => row.local ], [ "split as", row => row.sharding, "text" ]
              ],
              parameters),
          table(
              [
                [ "a rank sends in a step", row => row.collective, "text" ], [ "in", row => row.function, "text" ],
                [ "axis", row => row.axis, "text" ], [ "launches", row => count(row.launches) ], [ "bytes", row => bytes(row.bytes) ],
                [ "ms", row => row.ms.toFixed(3) ]
              ],
              collectives || []));
}

function addKernels() {
  const rows = [...plan.kernels ].sort((a, b) => b.ms - a.ms);
  const columns = [
    [ "kernel", row => row.kernel, "text" ], [ "launches", row => count(row.launches) ], [ "computed", row => flops(row.flops) ],
    [ "moved", row => bytes(row.bytes) ], [ "ms", row => row.ms.toFixed(2) ]
  ];
  if (plan.times.measured)
    columns.push([ "by FLOPs and bytes", row => row.estimated_ms.toFixed(2) ]);
  section("Kernels", "Of a step.", true, table(columns, rows));
}

addFigures();
const slots = addStack();
if (isPlanned)
  addTimeline();
addFamilies();
if (isPlanned)
  addPeak();
if (plan.budgets.length)
  addBudgets();
addSlots(slots);
if (plan.decisions.length)
  addDecisions();
if (plan.mesh)
  addMesh();
if (isPlanned)
  addKernels();
