"use strict";
const $ = (id) => document.getElementById(id);
// A browser may refuse storage: what is chosen is then kept until the page is closed.
const storage = (name) => {
  const values = new Map();
  try { return window[name]; } catch { return { getItem: (key) => values.get(key), setItem: (key, value) => values.set(key, value) }; }
};
const local = storage("localStorage"), tab = storage("sessionStorage");
const theme = local.getItem("theme"); // the reader's choice; before there is one, as the system
if (theme) document.documentElement.dataset.theme = theme;
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

const CHIPS = 9; // clicks of a training session that are shown
const SOURCES = { model: "", cold: " · by attributes", similar: " · new", popular: "popular" };
const SESSIONS = 4; // training sessions that are shown

const titles = new Map(); // of the items that answers named
const images = new Map(); // their addresses
const state = { show: [], session: [], k: 10, unseen: false, list: [], open: null, times: [], asked: 0, answered: 0 };
const map = { ids: [], index: new Map(), x: [], y: [], radius: [], hue: [], point: null, shown: null, trail: [], view: { x: 0, y: 0, zoom: 1 }, over: -1 };

// ---- asking the service ----

class Problem extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

// Ids beyond 2^53 stay text: the service takes the text of an integer for the integer.
const exact = (_name, value, context) =>
  typeof value === "number" && !Number.isSafeInteger(value) && context && /^-?\d+$/.test(context.source) ? context.source : value;

async function ask(path, body) {
  const headers = { accept: "application/json" };
  const key = tab.getItem("key");
  if (key) headers.authorization = `Bearer ${key}`;
  const options = { headers };
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    options.method = "POST";
    options.body = JSON.stringify(body);
  }
  let answer;
  try { answer = await fetch(path, options); } catch { throw new Problem(0, "The service does not answer."); }
  const text = await answer.text();
  if (answer.status === 401) $("key").hidden = false;
  let parsed = null;
  try { parsed = text ? JSON.parse(text, exact) : null; } catch { throw new Problem(answer.status, "The service's answer cannot be read."); }
  if (!answer.ok) throw new Problem(answer.status, (parsed && parsed.detail) || `The service answers with status ${answer.status}.`);
  return parsed;
}

function complain(error) {
  $("problem").textContent = error ? error.message : "";
  $("problem").hidden = !error || error.status === 401;
}

// ---- small things of the page ----

function make(tag, classes, text) {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  if (text !== undefined) node.textContent = text;
  return node;
}

const count = (value) => Number(value).toLocaleString("en");
const figure = (value) => Math.abs(value) >= 1000 ? count(Math.round(value)) : Math.abs(value) >= 10 ? value.toFixed(1) : Number(value.toPrecision(3)).toString();
const key = (id) => typeof id === "number" ? `n${id}` : `s${id}`;
const token = (id) => JSON.stringify(id);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function color(id) {
  const at = map.index.get(key(id));
  return at === undefined ? "" : `hsl(${map.hue[at]} var(--sat) var(--lum))`;
}

function dot(id) {
  const node = make("i", "dot");
  const own = color(id);
  if (own) node.style.setProperty("--color", own);
  return node;
}

function keep(items, shown) {
  (shown || []).forEach((one, at) => {
    if (one && one.title) titles.set(key(items[at]), one.title);
    if (one && /^https?:/i.test(one.image || "")) images.set(key(items[at]), one.image);
  });
}

function picture(address) {
  const node = make("img");
  node.alt = "";
  node.hidden = true; // until it is loaded, so that one that does not load leaves no gap
  node.onload = () => { node.hidden = false; };
  node.referrerPolicy = "no-referrer";
  node.src = address;
  return node;
}

const full = (id) => (titles.has(key(id)) ? `${titles.get(key(id))} · ${id}` : String(id));

function name(id) {
  const node = make("span", "name");
  if (titles.has(key(id))) node.append(make("span", "title", titles.get(key(id))));
  node.append(make("span", "id", String(id)));
  return node;
}

function chip(id, classes) {
  const node = make("button", `chip ${titles.has(key(id)) ? "" : "id"} ${classes || ""}`, titles.get(key(id)) || String(id));
  node.type = "button";
  node.title = `Click ${full(id)}`;
  node.onclick = () => click(id);
  return node;
}

// ---- the session ----

function click(id) { change([...state.session, id], true); }

function change(session, forward = false) {
  state.session = session;
  if (!forward) map.trail = [];
  const shown = session.map((id) => encodeURIComponent(token(id))).join(",");
  history.replaceState(null, "", shown ? `#${shown}` : location.pathname + location.search);
  showSession();
  refresh();
}

function sessionFromAddress() {
  let ids = [];
  try { ids = location.hash.slice(1).split(",").filter(Boolean).map((part) => JSON.parse(decodeURIComponent(part))); } catch { return []; }
  const whole = (id) => Number.isSafeInteger(id) && !Object.is(id, -0), text = (id) => typeof id === "string" && id.length > 0 && id.length <= 512;
  return ids.length <= 1000 && ids.every((id) => whole(id) || text(id)) ? ids : [];
}

function showSession() {
  const clicks = $("clicks");
  clicks.replaceChildren(...state.session.map((id, at) => {
    const node = make("li");
    node.append(make("span", "number", at + 1), dot(id), name(id));
    node.title = full(id);
    const remove = make("button", "", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove click ${at + 1}, ${id}`);
    remove.onclick = () => change(state.session.filter((_, other) => other !== at));
    node.append(remove);
    if (at < state.session.length - 1) node.style.animation = "none";
    return node;
  }));
  clicks.scrollLeft = clicks.scrollWidth;
  $("hint").hidden = state.session.length > 0;
  $("undo").disabled = $("clear").disabled = state.session.length === 0;
}

// ---- recommendations ----

async function refresh() {
  const turn = ++state.asked;
  const begin = performance.now();
  const body = { items: state.session, k: state.k, exclude_seen: state.unseen, show: state.show };
  try {
    const answer = await ask("/v1/recommend", body);
    if (turn !== state.asked) return;
    $("curl").textContent = command("/v1/recommend", body);
    keep(answer.items, answer.shown);
    note(performance.now() - begin);
    complain(null);
    showList(answer);
    state.answered = turn;
  } catch (error) {
    if (turn === state.asked) complain(error);
    return;
  }
  placeSession(turn);
}

function command(path, body) {
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  const header = tab.getItem("key") ? ' --header "authorization: Bearer $KEY"' : "";
  return `curl ${location.origin}${path}${header} --data '${quoted}'`;
}

function note(milliseconds) {
  state.times = [...state.times, milliseconds].slice(-30);
  const sorted = [...state.times].sort((a, b) => a - b);
  const highest = Math.max(...sorted, 1);
  const points = state.times.map((time, at) => `${(72 * (at + 1)) / state.times.length},${17 - (15 * time) / highest}`).join(" ");
  const box = $("latency");
  box.replaceChildren();
  box.insertAdjacentHTML("beforeend", `<svg viewBox="0 0 72 18" aria-hidden="true"><polyline points="0,17 ${points}"/></svg>`);
  const text = make("span");
  text.append(make("b", "number", `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`), make("span", "", ` · median ${sorted[sorted.length >> 1].toFixed(1)}`));
  box.append(text);
  box.hidden = false;
}

function showList(answer) {
  const list = $("list");
  const before = new Map(state.list.map((entry, at) => [key(entry.id), at]));
  const tops = new Map([...list.children].map((node) => [node.dataset.key, node.offsetTop]));
  const rows = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const first = state.list.length === 0;
  const top = Math.max(...answer.scores, 0), low = Math.min(...answer.scores.slice(0, answer.own), 0);
  state.list = answer.items.map((id, at) => ({ id, score: answer.scores[at], own: at < answer.own, source: answer.sources[at] }));
  if (!state.list.some((entry) => key(entry.id) === state.open)) state.open = null;
  list.replaceChildren(...state.list.map((entry, at) => {
    const node = rows.get(key(entry.id)) || row(entry.id);
    fillRow(node, entry, at, { old: first ? at : before.get(key(entry.id)), share: entry.own ? (entry.score - low) / (top - low || 1) : 0 });
    return node;
  }));
  $("shortage").textContent = [
    answer.shortage,
    answer.unknown.length ? `Ignored, because training never saw them: ${answer.unknown.join(", ")}.` : "",
  ].filter(Boolean).join(" ");
  if (!calm) slide(list, tops);
  if (state.open) explain(state.list.find((entry) => key(entry.id) === state.open).id);
  draw();
}

function row(id) {
  const node = make("li");
  node.dataset.key = key(id);
  const line = make("div", "row");
  const take = make("button", "take");
  take.type = "button";
  take.title = `Click ${full(id)}`;
  take.onclick = () => click(id);
  const meter = make("span", "meter");
  meter.append(make("i"));
  const score = make("span", "score number");
  take.append(make("span", "spot"), name(id), score, meter);
  take.onpointerenter = () => hover(id);
  take.onpointerleave = () => hover(null);
  const why = make("button", "why", "why?");
  why.type = "button";
  why.setAttribute("aria-expanded", "false");
  why.onclick = () => toggle(id);
  line.append(make("span", "rank number"), take, why);
  node.append(line);
  return node;
}

function fillRow(node, entry, at, { old, share }) {
  node.querySelector(".rank").textContent = at + 1;
  const spot = node.querySelector(".spot"), address = images.get(key(entry.id)), before = spot.querySelector("img");
  const kept = before?.getAttribute("src") === address ? before : address && picture(address);
  spot.replaceChildren(dot(entry.id), ...(kept ? [kept] : []));
  const meter = node.querySelector(".meter i");
  meter.parentElement.hidden = !entry.own;
  meter.style.setProperty("--share", `${Math.max(0, Math.min(1, share)) * 100}%`);
  meter.style.setProperty("--color", color(entry.id) || "var(--soft)");
  const moved = make("span", "move");
  if (old === undefined) { moved.classList.add("new"); moved.textContent = "new"; }
  else if (old !== at) { moved.classList.add(old > at ? "up" : "down"); moved.textContent = `${old > at ? "▲" : "▼"}${Math.abs(old - at)}`; }
  node.querySelector(".score").replaceChildren(entry.own ? figure(entry.score) : "", SOURCES[entry.source], " ", moved);
  const open = key(entry.id) === state.open;
  node.querySelector(".why").setAttribute("aria-expanded", String(open));
  if (!open) node.querySelector(".reasons")?.remove();
}

function slide(list, tops) {
  for (const node of list.children) {
    const old = tops.get(node.dataset.key);
    const by = old === undefined ? 0 : old - node.offsetTop;
    if (by) node.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 280, easing: "cubic-bezier(.2,.7,.2,1)" });
    else if (old === undefined) node.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 280 });
  }
}

// ---- reasons ----

function toggle(id) {
  const wanted = state.open === key(id) ? null : key(id);
  state.open = wanted;
  for (const node of $("list").children) {
    node.querySelector(".why").setAttribute("aria-expanded", String(node.dataset.key === wanted));
    if (node.dataset.key !== wanted) node.querySelector(".reasons")?.remove();
  }
  if (wanted) explain(id);
}

async function explain(id) {
  const turn = state.asked;
  const node = [...$("list").children].find((other) => other.dataset.key === key(id));
  let box = node.querySelector(".reasons");
  if (!box) {
    box = make("div", "reasons");
    box.append(make("p", "quiet", "Looking for reasons …"));
    node.append(box);
  }
  try {
    const why = await ask("/v1/explain", { items: state.session, item: id, show: state.show });
    for (const part of [why.clicks, why.similar]) keep(part.map((one) => one.item), part.map((one) => one.shown));
    if (turn === state.asked && state.open === key(id)) box.replaceChildren(...reasons(why));
  } catch (error) {
    box.replaceChildren(make("p", "quiet", error.message));
  }
}

function reasons(why) {
  const parts = [make("p", "lead", lead(why))];
  if (why.clicks.length) parts.push(part("What each click does for the score", effects(why.clicks)));
  if (why.evidence) parts.push(evidence(why));
  if (why.similar.length) {
    const chips = make("div", "chips");
    chips.append(...why.similar.map((other) => chip(other.item)));
    parts.push(part("Items most like it", chips));
  }
  const notes = Object.entries(why.left_out).map(([name, reason]) => `no ${name}: ${reason}`);
  parts.push(make("p", "quiet", [`${count(why.popularity)} clicks in training, number ${count(why.popularity_rank)} by popularity`, ...notes].join(" · ")));
  return parts;
}

function lead(why) {
  const reason = why.left_out.clicks;
  if (!why.clicks.length && reason) return `${reason[0].toUpperCase()}${reason.slice(1)}.`;
  if (why.score === null) return why.clicks.length ? "The method gives it no score here; it stands here by popularity." : "Without clicks everybody gets what is popular.";
  const alone = why.clicks.filter((one) => one.without === null);
  if (alone.length === 1) return `It is here only because of click ${alone[0].position}, ${full(alone[0].item)}.`;
  const best = why.clicks.filter((one) => one.effect !== null && one.effect > 0).sort((a, b) => b.effect - a.effect)[0];
  if (!best) return "No single click pulled it: without any one of them its score would be no lower.";
  const place = best.rank_without && best.rank_without !== why.rank ? `; without it, it would be number ${count(best.rank_without)}` : "";
  return `Click ${best.position}, ${full(best.item)}, pulled it most${place}.`;
}

function part(title, ...content) {
  const node = make("section");
  node.append(make("h3", "", title), ...content);
  return node;
}

function effects(clicks) {
  const list = make("ol", "effects");
  const largest = Math.max(...clicks.map((one) => Math.abs(one.effect ?? 0)), 1e-12);
  for (const one of clicks) {
    const node = make("li");
    const axis = make("span", "axis");
    const bar = make("i", one.effect === null || one.effect >= 0 ? "plus" : "minus");
    bar.style.width = `${one.effect === null ? 50 : (50 * Math.abs(one.effect)) / largest}%`;
    axis.append(bar);
    const text = one.effect === null ? "decides" : `${one.effect > 0 ? "+" : one.effect < 0 ? "−" : ""}${figure(Math.abs(one.effect))}`;
    const clicked = make("span", titles.has(key(one.item)) ? "title" : "id", `${one.position} · ${titles.get(key(one.item)) || one.item}`);
    clicked.title = full(one.item);
    node.append(clicked, axis, make("span", "number", text));
    if (one.effect === null) node.title = "Without this click the method gives the item no score.";
    list.append(node);
  }
  return list;
}

// The clicks of a long session that say something, each with its neighbours; null stands for what is left out.
function excerpt(items, kind) {
  const kept = new Set();
  items.forEach((id, at) => { if (kind(id)) for (const near of [at, at - 1, at + 1]) if (near >= 0 && near < items.length && kept.size < CHIPS) kept.add(near); });
  const shown = [];
  for (const at of [...kept].sort((a, b) => a - b)) {
    if (at > 0 && !kept.has(at - 1)) shown.push(null);
    shown.push(items[at]);
  }
  return kept.has(items.length - 1) ? shown : [...shown, null];
}

function evidence(why) {
  const found = why.evidence;
  const share = make("div", "share");
  const bar = make("i");
  bar.style.width = `${(100 * found.containing) / Math.max(found.nearest, 1)}%`;
  share.append(bar);
  const list = make("ol", "near");
  const clicked = new Set(state.session.map(key));
  for (const near of found.sessions.slice(0, SESSIONS)) {
    const node = make("li");
    const chips = make("div", "chips");
    const kind = (id) => (key(id) === key(why.item) ? "target" : clicked.has(key(id)) ? "shared" : "");
    const shown = near.items.length > CHIPS ? excerpt(near.items, kind) : near.items;
    chips.append(...shown.map((id) => (id === null ? make("span", "quiet", "…") : chip(id, kind(id)))));
    const name = near.id === null ? "an older session" : `session ${near.id}`;
    node.append(make("span", "quiet", `${name} · ${near.similarity === null ? `distance ${figure(near.distance)}` : `similarity ${figure(near.similarity)}`} · ${near.overlap} shared`), chips);
    list.append(node);
  }
  const title = found.containing
    ? `${count(found.containing)} of the ${count(found.nearest)} training sessions most like this one clicked it`
    : `None of the ${count(found.nearest)} training sessions most like this one clicked it`;
  return part(title, share, list);
}

// ---- items to pick ----

let typing = 0;
async function search() {
  const turn = ++typing;
  const query = $("query").value.trim();
  try {
    const answer = await ask(`/v1/items?query=${encodeURIComponent(query)}&limit=40`);
    if (turn !== typing) return;
    const items = Array.isArray(answer) ? answer : answer.items;
    keep(items.map((item) => item.id), items);
    $("found").replaceChildren(...items.map(pickable));
    if (!items.length) $("found").append(make("li", "quiet", `No id ${state.show.includes("title") ? "or title " : ""}contains “${query}”.`));
  } catch (error) {
    if (turn === typing) complain(error);
  }
}

function pickable(item) {
  const node = make("li");
  const button = make("button");
  button.type = "button";
  button.title = `${count(item.clicks)} clicks in training`;
  button.append(dot(item.id), name(item.id), make("span", "number", count(item.clicks)));
  button.onclick = () => click(item.id);
  button.onpointerenter = () => hover(item.id);
  button.onpointerleave = () => hover(null);
  node.append(button);
  return node;
}

// ---- the map ----

const canvas = $("map");
const brush = canvas.getContext("2d");

async function loadMap() {
  let answer;
  try { answer = await ask("/v1/map"); } catch (error) {
    $("waiting").textContent = error.status === 404 ? error.message : "The map cannot be shown.";
    return;
  }
  map.ids = answer.ids; map.x = answer.x; map.y = answer.y;
  map.index = new Map(answer.ids.map((id, at) => [key(id), at]));
  const most = Math.max(...answer.clicks, 1);
  map.radius = answer.clicks.map((clicks) => 1.6 + 4.4 * Math.sqrt(clicks / most));
  map.hue = answer.x.map((x, at) => Math.round((Math.atan2(answer.y[at], x) * 180) / Math.PI + 360) % 360);
  map.clicks = answer.clicks;
  $("waiting").hidden = true;
  $("legend").hidden = false;
  const what = answer.source === "embeddings" ? "near each other in the model" : "clicked in the same sessions";
  $("kept").textContent = `Points near each other are items ${what}, as far as two dimensions show it: of an item's ten nearest items, ${Math.round(answer.kept * 100)}% are among its ten nearest points. Sizes show clicks.`;
  showSession();
  search();
  for (const [at, node] of [...$("list").children].entries()) {
    node.querySelector(".spot").replaceChildren(dot(state.list[at].id));
    node.querySelector(".meter i").style.setProperty("--color", color(state.list[at].id) || "var(--soft)");
  }
  placeSession(state.asked);
  draw();
}

async function placeSession(turn) {
  if (!map.ids.length) return;
  let point = null;
  if (state.session.length) {
    try {
      const answer = await ask("/v1/map/session", { items: state.session });
      point = Array.isArray(answer) ? { x: answer[0], y: answer[1] } : answer && answer.x !== null && answer.x !== undefined ? answer : null;
    } catch (error) { if (error.status !== 404) complain(error); }
  }
  if (turn !== state.asked) return;
  if (point) map.trail = [...map.trail, point].slice(-30); else map.trail = [];
  glide(point);
}

function glide(point) {
  const from = map.shown;
  map.point = point;
  $("here").disabled = !point;
  if (!point || !from || calm) { map.shown = point; draw(); return; }
  const begin = performance.now();
  const step = (now) => {
    if (map.point !== point) return;
    const part = Math.min(1, (now - begin) / 450), eased = 1 - (1 - part) ** 3;
    map.shown = { x: from.x + (point.x - from.x) * eased, y: from.y + (point.y - from.y) * eased };
    draw();
    if (part < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function scale() {
  const box = canvas.getBoundingClientRect();
  return { width: box.width, height: box.height, unit: (Math.min(box.width, box.height) / 2 - 16) * map.view.zoom };
}

function project(x, y, s) { return [s.width / 2 + (x - map.view.x) * s.unit, s.height / 2 - (y - map.view.y) * s.unit]; }

let frame = 0;
function draw() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(paint);
}

function paint() {
  const s = scale(), ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(s.width * ratio) || canvas.height !== Math.round(s.height * ratio)) {
    canvas.width = Math.round(s.width * ratio);
    canvas.height = Math.round(s.height * ratio);
  }
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, s.width, s.height);
  if (!map.ids.length) return;
  const look = { ink: style("--ink"), ground: style("--ground"), accent: style("--accent"), soft: style("--soft"), sat: style("--sat"), lum: style("--lum") };
  const grown = Math.sqrt(map.view.zoom);
  const ranks = new Map(state.list.map((entry, at) => [map.index.get(key(entry.id)), at]));
  const clicked = new Map(state.session.map((id, at) => [map.index.get(key(id)), at]));
  const lively = state.session.length > 0;
  for (let at = map.ids.length - 1; at >= 0; at--) {
    const [x, y] = project(map.x[at], map.y[at], s);
    if (x < -9 || y < -9 || x > s.width + 9 || y > s.height + 9) continue;
    brush.globalAlpha = lively && !ranks.has(at) && !clicked.has(at) ? 0.42 : 0.85;
    brush.fillStyle = `hsl(${map.hue[at]} ${look.sat} ${look.lum})`;
    brush.beginPath();
    brush.arc(x, y, map.radius[at] * grown, 0, 7);
    brush.fill();
  }
  brush.globalAlpha = 1;
  if (map.shown && lively) paintPaths(s, look, ranks);
  for (const [at, rank] of ranks) if (at !== undefined) paintRecommended(at, rank, s, look, grown);
  for (const [at] of clicked) if (at !== undefined) paintClicked(at, s, look, grown);
  if (map.shown && lively) paintHere(s, look);
  if (lively) paintRanks(ranks, s, look, grown);
  if (map.over >= 0) {
    const [x, y] = project(map.x[map.over], map.y[map.over], s);
    ring(x, y, map.radius[map.over] * grown + 4, look.accent, 2.5);
  }
}

function paintPaths(s, look, ranks) {
  const [hx, hy] = project(map.shown.x, map.shown.y, s);
  brush.strokeStyle = look.accent;
  for (const [at, rank] of ranks) {
    if (at === undefined) continue;
    const [x, y] = project(map.x[at], map.y[at], s);
    brush.globalAlpha = 0.5 / (1 + rank * 0.35);
    brush.lineWidth = 1.2;
    line([[hx, hy], [x, y]]);
  }
  brush.globalAlpha = 0.75;
  brush.lineWidth = 2;
  brush.setLineDash([2, 5]);
  brush.lineCap = "round";
  line([...map.trail.slice(0, -1).map((point) => project(point.x, point.y, s)), [hx, hy]]);
  brush.setLineDash([]);
  brush.globalAlpha = 1;
}

function paintRecommended(at, rank, s, look, grown) {
  const [x, y] = project(map.x[at], map.y[at], s);
  ring(x, y, map.radius[at] * grown + 2.5, look.ink, rank < 5 ? 1.8 : 1);
}

// Ranks above all else, the best first; one that would cover another, or the session's point, is left out.
function paintRanks(ranks, s, look, grown) {
  const taken = map.shown ? [project(map.shown.x, map.shown.y, s)] : [];
  for (const [at, rank] of ranks) {
    if (at === undefined) continue;
    const [x, y] = project(map.x[at], map.y[at], s), radius = map.radius[at] * grown + 2.5;
    const spot = [[x + radius + 8, y], [x - radius - 8, y], [x, y - radius - 9], [x, y + radius + 9]]
      .find(([lx, ly]) => taken.every(([tx, ty]) => Math.abs(lx - tx) > 16 || Math.abs(ly - ty) > 14));
    if (!spot) continue;
    taken.push(spot);
    label(String(rank + 1), ...spot, look.ink, look.ground);
  }
}

function paintClicked(at, s, look, grown) {
  const [x, y] = project(map.x[at], map.y[at], s);
  brush.fillStyle = look.ink;
  brush.beginPath();
  brush.arc(x, y, map.radius[at] * grown + 1, 0, 7);
  brush.fill();
}

function paintHere(s, look) {
  const [x, y] = project(map.shown.x, map.shown.y, s);
  brush.fillStyle = look.accent;
  brush.globalAlpha = 0.22;
  brush.beginPath(); brush.arc(x, y, 15, 0, 7); brush.fill();
  brush.globalAlpha = 1;
  brush.beginPath(); brush.arc(x, y, 7, 0, 7); brush.fill();
  ring(x, y, 7, look.ground, 2);
}

function ring(x, y, radius, stroke, width) {
  brush.strokeStyle = stroke;
  brush.lineWidth = width;
  brush.beginPath(); brush.arc(x, y, radius, 0, 7); brush.stroke();
}

function line(points) {
  brush.beginPath();
  points.forEach(([x, y], at) => at ? brush.lineTo(x, y) : brush.moveTo(x, y));
  brush.stroke();
}

function label(text, x, y, ink, ground) {
  brush.font = "600 12px system-ui, sans-serif";
  brush.textBaseline = "middle";
  brush.textAlign = "center";
  brush.lineWidth = 4;
  brush.lineJoin = "round";
  brush.strokeStyle = ground;
  brush.strokeText(text, x, y);
  brush.fillStyle = ink;
  brush.fillText(text, x, y);
}

function hover(id) {
  map.over = id === null ? -1 : map.index.get(key(id)) ?? -1;
  draw();
}

function itemAt(x, y, reach) {
  const s = scale();
  let best = -1, least = reach * reach;
  for (let at = 0; at < map.ids.length; at++) {
    const [px, py] = project(map.x[at], map.y[at], s), apart = (px - x) ** 2 + (py - y) ** 2;
    if (apart < least) { least = apart; best = at; }
  }
  return best;
}

function tell(at) {
  map.over = at;
  canvas.classList.toggle("over", at >= 0);
  const tip = $("tip");
  tip.hidden = at < 0;
  if (at >= 0) {
    const s = scale(), [x, y] = project(map.x[at], map.y[at], s);
    const rank = state.list.findIndex((entry) => key(entry.id) === key(map.ids[at]));
    tip.textContent = `${full(map.ids[at])} · ${count(map.clicks[at])} clicks${rank >= 0 ? ` · number ${rank + 1}` : ""}`;
    tip.style.left = `${Math.max(90, Math.min(s.width - 90, x))}px`;
    tip.style.top = `${Math.max(34, y)}px`;
  }
  draw();
}

function zoom(by, x, y) {
  const s = scale(), view = map.view;
  const px = x ?? s.width / 2, py = y ?? s.height / 2;
  const to = Math.max(1, Math.min(40, view.zoom * by));
  const unit = (s.unit / view.zoom) * to;
  view.x += (px - s.width / 2) * (1 / s.unit - 1 / unit);
  view.y -= (py - s.height / 2) * (1 / s.unit - 1 / unit);
  view.zoom = to;
  if (to === 1) view.x = view.y = 0;
  tell(-1);
}

// The session's point with what was clicked and recommended, as large as it may be.
function nearby() {
  if (!map.shown) return;
  const items = [...state.session, ...state.list.map((entry) => entry.id)].map((id) => map.index.get(key(id))).filter((at) => at !== undefined);
  const xs = [map.shown.x, ...items.map((at) => map.x[at])], ys = [map.shown.y, ...items.map((at) => map.y[at])];
  const least = (values) => Math.min(...values), most = (values) => Math.max(...values);
  const view = map.view, s = scale(), unit = s.unit / view.zoom;
  const wide = Math.max(most(xs) - least(xs), 0.02), high = Math.max(most(ys) - least(ys), 0.02);
  view.zoom = Math.max(1, Math.min(40, (s.width - 70) / wide / unit, (s.height - 70) / high / unit));
  view.x = (least(xs) + most(xs)) / 2;
  view.y = (least(ys) + most(ys)) / 2;
  tell(-1);
}

const fingers = new Map();
let drag = null;

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && map.view.zoom === 1 && event.deltaY > 0) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * 0.002), ...place(event));
}, { passive: false });

canvas.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, place(event));
  drag = { at: place(event), moved: false };
  if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
});

canvas.addEventListener("pointermove", (event) => {
  const here = place(event), before = fingers.get(event.pointerId);
  if (!before) { if (event.pointerType === "mouse") tell(itemAt(...here, 12)); return; }
  const s = scale();
  if (Math.hypot(here[0] - drag.at[0], here[1] - drag.at[1]) > 5) drag.moved = true;
  if (fingers.size === 2) {
    const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    const old = Math.hypot(before[0] - other[0], before[1] - other[1]), now = Math.hypot(here[0] - other[0], here[1] - other[1]);
    if (old > 0) zoom(now / old, (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
  } else if (event.pointerType === "mouse" && drag.moved) {
    map.view.x -= (here[0] - before[0]) / s.unit;
    map.view.y += (here[1] - before[1]) / s.unit;
    tell(-1);
  }
  fingers.set(event.pointerId, here);
});

function lift(event) {
  const was = fingers.delete(event.pointerId);
  if (!was || event.type !== "pointerup" || !drag || drag.moved || fingers.size) return;
  const mouse = event.pointerType === "mouse";
  const at = itemAt(...place(event), mouse ? 12 : 22);
  // A finger hides what it touches: the first touch names the item, the second clicks it.
  if (at >= 0 && (mouse || at === map.over)) { click(map.ids[at]); if (!mouse) tell(-1); } else tell(at);
}
for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, lift);
canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") tell(-1); });

// ---- beginning ----

function choose(k) {
  state.k = k;
  for (const button of document.querySelectorAll("[data-k]")) button.setAttribute("aria-pressed", String(Number(button.dataset.k) === k));
}

async function surprise() {
  const pool = map.ids.length ? map.ids : [...$("found").querySelectorAll("button")];
  if (!pool.length) return;
  if (map.ids.length) return click(map.ids[Math.floor(Math.random() ** 2 * map.ids.length)]);
  pool[Math.floor(Math.random() * pool.length)].click();
}

async function begin() {
  try {
    const model = await ask("/v1/model");
    $("model").textContent = `${model.method} · ${count(model.items)} items · model ${model.version}`;
    state.show = ["title", "image"].filter((column) => model.attributes.includes(column));
    if (state.show.includes("title")) {
      $("query").placeholder = "Search by id or title";
      $("query").setAttribute("aria-label", "Search items by id or title");
    }
  } catch (error) { complain(error); if (error.status === 401) return; }
  showSession();
  search();
  loadMap();
  refresh();
}

for (const button of document.querySelectorAll("[data-k]")) button.onclick = () => { choose(Number(button.dataset.k)); refresh(); };
$("unseen").onchange = (event) => { state.unseen = event.target.checked; refresh(); };
$("undo").onclick = () => change(state.session.slice(0, -1));
$("clear").onclick = () => change([]);
$("surprise").onclick = surprise;
$("query").oninput = () => search();
$("nearer").onclick = () => zoom(1.6);
$("farther").onclick = () => zoom(1 / 1.6);
$("here").onclick = nearby;
$("whole").onclick = () => zoom(0);
$("theme").onclick = () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  local.setItem("theme", document.documentElement.dataset.theme = dark ? "light" : "dark");
  draw();
};
$("key").onsubmit = (event) => {
  event.preventDefault();
  tab.setItem("key", $("key-text").value.trim());
  $("key").hidden = true;
  begin();
};
addEventListener("hashchange", () => change(sessionFromAddress()));
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== $("query")) { event.preventDefault(); $("query").focus(); }
});
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

choose(state.k);
state.session = sessionFromAddress();
begin();
