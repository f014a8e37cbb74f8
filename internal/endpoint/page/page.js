"use strict";
// All that is shown is set as text: names and reasons come from outside.

const POLL = 3000;      // ms between two looks
const RELOAD = 60000;   // ms after which everything is fetched, not what is new
const RANK = { dead: 0, sick: 1, unknown: 2, healthy: 3 };
const $ = (id) => document.getElementById(id);

const replicas = new Map(); // by key
let rows = [];              // keys, filtered and sorted
let state = null, loadedAt = 0, since = 0, current = -1, opened = null;

const keyOf = (r) => r.service + "\n" + r.node + "\n" + r.replica;

// element returns a new element with a class and a text.
function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// duration returns a time in words.
function duration(seconds) {
  if (!(seconds >= 0)) return "–";
  const units = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  for (let i = 0; i < units.length; i++) {
    const [size, unit] = units[i];
    if (seconds < size && size > 1) continue;
    const rest = i + 1 < units.length ? Math.floor((seconds % size) / units[i + 1][0]) : 0;
    return Math.floor(seconds / size) + unit + (rest ? " " + rest + units[i + 1][1] : "");
  }
}

const ago = (at) => at ? duration((Date.parse(state.now) - Date.parse(at)) / 1000) : "–";
const clock = (at) => at ? new Date(at).toLocaleString() : "–";

// millis returns a duration as it is measured.
function millis(seconds) {
  if (!seconds) return "–";
  return seconds < 1 ? (seconds * 1000).toPrecision(3) + " ms" : seconds.toFixed(2) + " s";
}

// load fetches what is new, or everything, and shows it.
async function load() {
  const whole = !state || Date.now() - loadedAt > RELOAD;
  try {
    const answer = await fetch("replicas.json" + (whole ? "" : "?after=" + since), { cache: "no-store" });
    if (!answer.ok) throw new Error("status " + answer.status + ": " + (await answer.text()).trim());
    const next = await answer.json();
    const changed = state && (next.counts.replicas !== state.counts.replicas ||
      next.started !== state.started || (next.api.map_outcome === "changed" && next.api.map_at !== state.api.map_at));
    take(next, whole);
    $("connection").textContent = "live, " + new Date(next.now).toLocaleTimeString();
    $("connection").className = "";
    if (changed && !whole) loadedAt = 0; // another map: some are gone, or not here yet
  } catch (error) {
    $("connection").textContent = "no answer of the daemon: " + error.message + " (what is shown is old)";
    $("connection").className = "lost";
  }
  setTimeout(load, document.hidden ? 5 * POLL : POLL);
}

// take makes next what is shown.
function take(next, whole) {
  state = next;
  // Two seconds over, since a result may have come while this was made.
  since = Math.floor(Date.parse(next.now) / 1000) - 2;
  if (whole) {
    replicas.clear();
    loadedAt = Date.now();
  }
  for (const r of next.replicas) {
    r.search = (r.replica + " " + r.service + " " + r.node + " " + (r.reason || "") + " " + (r.kind || "")).toLowerCase();
    replicas.set(keyOf(r), r);
  }
  showHead();
  arrange();
  if (opened && replicas.has(opened) && $("detail").open) showDetail(opened);
  else openAddressed();
}

// showHead shows the state of the API, of the reports and of this host.
function showHead() {
  const { api, promise, counts } = state;
  $("version").textContent = state.version;
  let text = { answers: "answers", down: "is down", unauthorized: "does not accept the token", unknown: "not asked yet" }[api.state] || api.state;
  if (api.state === "answers" && api.rtt_seconds) text += " (" + millis(api.rtt_seconds) + ")";
  if (api.state !== "answers" && api.since) text += " since " + ago(api.since) + (api.error ? ": " + api.error : "");
  if (api.waiting) text += "; " + api.waiting + " verdicts wait";
  $("api").textContent = text;
  $("api").className = api.state === "answers" || api.state === "unknown" ? "" : "bad";
  const limit = promise.promised_seconds + 40;
  const gap = promise.worst_gap_seconds || 0;
  text = promise.late ? promise.late + " late since the start" : "on time";
  if (gap) text += " (worst gap " + gap.toFixed(1) + " s)";
  const standsBy = state.cluster && state.cluster.scope === "nothing";
  if (standsBy) text = "none: this daemon stands by";
  $("promise").textContent = text;
  $("promise").className = gap > limit && !standsBy ? "bad" : "";
  text = counts.replicas + " replicas" + (counts.ignored ? ", " + counts.ignored + " entries ignored" : "");
  text += api.map_at ? ", confirmed " + ago(api.map_at) + " ago" : ", none yet";
  if (api.map_error) text += ": " + api.map_error;
  $("map").textContent = text;
  $("map").className = api.map_error ? "bad" : "";
  for (const label of $("healths").querySelectorAll("label"))
    label.querySelector("b").textContent = counts[label.querySelector("input").value];
  const troubles = (state.host.trouble || []).map((t) =>
    element("p", "", "This host: " + t.reason + " (" + t.replicas + " replicas without a verdict since " + ago(t.since) + ")"));
  $("troubles").replaceChildren(...showCluster(), ...troubles);
  document.title = (counts.dead ? "(" + counts.dead + " dead) " : "") + "Crisp Status Local";
}

// showCluster shows who reports, and returns what is wrong with that.
function showCluster() {
  const c = state.cluster;
  $("cluster").hidden = $("members").hidden = !c;
  if (!c) return [];
  let text = { everything: "on duty", alive: "only healthy and sick are reported", nothing: "standby" }[c.scope] || c.scope;
  if (c.why) text += ": " + c.why;
  if (c.since) text += ", for " + ago(c.since);
  if (c.kept && c.scope === "nothing") text += "; " + c.kept + " verdicts are kept, to be sent on taking over";
  if (c.kept && c.scope === "alive") text += "; " + c.kept + " deaths are left to the page";
  if (c.takeovers) text += "; taken over " + c.takeovers + (c.takeovers === 1 ? " time" : " times");
  $("duty").textContent = text;
  $("duty").className = c.trouble || c.conflict ? "bad" : "";
  $("members").replaceChildren(...c.members.map((m) => {
    let line = m.name + (m.name === c.member ? " (this daemon)" : "") + (m.name === c.holder ? ", on duty" : "") + ": " +
      m.healthy + " healthy, " + m.sick + " sick, " + m.dead + " dead" + (m.name === c.member || c.trouble ? "" : " up to 10 s ago");
    if (!m.api_answers) line += "; the Status API does not answer it";
    if (m.version && m.version !== state.version) line += "; version " + m.version;
    return element("li", m.api_answers ? "" : "bad", line);
  }));
  const warnings = (c.warnings || []).map((w) => element("p", "", w));
  if (!c.trouble) return warnings;
  const plight = { excluded: "answers, but this daemon cannot take part", undecided: "answers, but nobody is on duty" }[c.trouble_kind] || "cannot be asked";
  return [element("p", "", "The engine " + c.engine + " " + plight + ", for " + ago(c.trouble_since) + (c.trouble === c.why ? "" : ": " + c.trouble)), ...warnings];
}

const orders = {
  health: (a, b) => RANK[a.health] - RANK[b.health] || compare(a.replica, b.replica),
  since: (a, b) => compare(b.since || "", a.since || "") || compare(a.replica, b.replica),
  replica: (a, b) => compare(a.replica, b.replica),
  latency: (a, b) => (b.latency_seconds || 0) - (a.latency_seconds || 0) || compare(a.replica, b.replica),
};

function compare(a, b) { return a < b ? -1 : a > b ? 1 : 0; }

// arrange filters and sorts the replicas, and keeps the current one.
function arrange() {
  const kept = rows[current];
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const healths = new Set([...$("healths").querySelectorAll("input:checked")].map((i) => i.value));
  const chosen = [];
  for (const r of replicas.values())
    if (healths.has(r.health) && words.every((w) => r.search.includes(w))) chosen.push(r);
  chosen.sort(orders[$("sort").value]);
  rows = chosen.map(keyOf);
  current = kept === undefined ? -1 : rows.indexOf(kept);
  $("shown").textContent = rows.length + " of " + replicas.size + " replicas";
  draw();
}

const height = () => matchMedia("(max-width: 40rem)").matches ? 84 : 56;

// draw makes the rows that can be seen, and no others.
function draw() {
  const list = $("list"), space = $("space"), h = height();
  space.style.height = rows.length * h + "px";
  const first = Math.max(0, Math.floor(list.scrollTop / h) - 5);
  const last = Math.min(rows.length, Math.ceil((list.scrollTop + list.clientHeight) / h) + 5);
  const drawn = [];
  for (let i = first; i < last; i++) drawn.push(row(i, h));
  space.replaceChildren(...drawn);
  if (current >= 0) list.setAttribute("aria-activedescendant", "row-" + current);
  else list.removeAttribute("aria-activedescendant");
}

// row returns the row of the i-th replica.
function row(i, h) {
  const r = replicas.get(rows[i]);
  const e = element("div", "row" + (i === current ? " current" : ""));
  e.id = "row-" + i;
  e.setAttribute("role", "option");
  e.setAttribute("aria-selected", i === current ? "true" : "false");
  e.setAttribute("aria-posinset", i + 1);
  e.setAttribute("aria-setsize", rows.length);
  e.style.top = i * h + "px";
  const what = element("div");
  what.append(element("div", "name", r.replica));
  let why = "for " + ago(r.since);
  if (r.reason) why = r.reason + ", " + why;
  if (r.withheld) why = "a death awaits its confirmation: " + why;
  if (r.latency_seconds && r.health !== "dead") why += ", " + millis(r.latency_seconds);
  what.append(element("div", "why", why));
  what.title = r.replica + "\n" + why;
  e.append(element("span", "health " + r.health, r.health), what, strip(r));
  e.addEventListener("click", () => { current = i; draw(); open(rows[i]); });
  return e;
}

// strip returns the last verdicts, the oldest first, as bars of their latency.
function strip(r) {
  const s = element("span", "strip");
  const slowest = Math.max(0.001, ...r.history.map((v) => v.latency_seconds || 0));
  for (const v of [...r.history].reverse()) {
    const bar = element("i", v.health);
    const part = v.health === "dead" ? 1 : 0.25 + 0.75 * Math.sqrt((v.latency_seconds || 0) / slowest);
    bar.style.height = Math.round(part * 100) + "%";
    bar.title = clock(v.at) + ": " + v.health + (v.latency_seconds ? ", " + millis(v.latency_seconds) : "");
    s.append(bar);
  }
  s.setAttribute("role", "img");
  s.setAttribute("aria-label", "last verdicts: " + r.history.map((v) => v.health).join(", "));
  return s;
}

// table returns a table.
function table(heads, lines) {
  const t = element("table"), head = element("tr");
  for (const h of heads) head.append(element("th", "", h));
  t.append(head);
  for (const line of lines) {
    const tr = element("tr");
    line.forEach((cell, i) => tr.append(element("td", i === line.length - 1 ? "text" : "", cell)));
    t.append(tr);
  }
  const box = element("div", "scroll");
  box.append(t);
  return box;
}

// open shows one replica, and makes it the address of the page.
function open(key) {
  opened = key;
  showDetail(key);
  history.replaceState(null, "", "#" + encodeURIComponent(replicas.get(key).replica));
  if (!$("detail").open) $("detail").showModal();
}

// openAddressed shows the replica that the address names, if there is one.
function openAddressed() {
  let name = location.hash.slice(1);
  try { name = decodeURIComponent(name); } catch { /* it is a name as it was typed */ }
  if (!name || $("detail").open) return;
  for (const [key, r] of replicas)
    if (r.replica === name) return open(key);
}

function showDetail(key) {
  const r = replicas.get(key), body = [];
  $("detail-title").textContent = r.replica;
  const line = element("p");
  line.append(element("b", r.health, r.health), " for " + ago(r.since) + (r.reason ? ": " + r.reason : ""));
  body.push(line, element("p", "", "service " + r.service + ", node " + r.node));
  if (r.reported) body.push(element("p", "", "last report taken " + ago(r.reported.at) + " ago: " + r.reported.health + "; the next one is due by " + clock(r.reported.due)));
  body.push(table(["verdict", "health", "latency", "attempts"], r.history.map((v) => [clock(v.at), v.health, millis(v.latency_seconds), String(v.attempts || "–")])));
  const f = r.last_failure;
  if (f) {
    body.push(element("p", "", "Last failure, " + ago(f.at) + " ago (" + clock(f.at) + "): " + f.reason));
    body.push(table(["#", "address", "dns", "connect", "tls", "first byte", "body", "total", "ended with"], (f.attempts || []).map((a, i) =>
      [String(i + 1), a.address || (a.addresses || []).join(", ") || "–", millis(a.dns_seconds), millis(a.connect_seconds), millis(a.tls_seconds),
        millis(a.first_byte_seconds), millis(a.body_seconds), millis(a.total_seconds), a.reason || "up"])));
    const last = (f.attempts || []).map((a) => a.tls).filter(Boolean).pop();
    if (last) body.push(element("p", "", "Certificate: " + (last.subject || "–") + ", issued by " + (last.issuer || "–") +
      (last.days_left === undefined ? "" : ", " + last.days_left + " days left then")));
  }
  $("detail-body").replaceChildren(...body);
}

// move makes another row the current one, and lets it be seen.
function move(to) {
  if (!rows.length) return;
  current = Math.max(0, Math.min(rows.length - 1, to));
  const list = $("list"), h = height();
  if (current * h < list.scrollTop) list.scrollTop = current * h;
  if ((current + 1) * h > list.scrollTop + list.clientHeight) list.scrollTop = (current + 1) * h - list.clientHeight;
  draw();
}

document.addEventListener("keydown", (event) => {
  if ($("detail").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=search], select");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("filter").focus();
  } else if (event.key === "Escape" && event.target === $("filter")) {
    $("filter").value = "";
    arrange();
    $("list").focus();
  } else if (event.key === "ArrowDown" && event.target === $("filter")) {
    event.preventDefault();
    $("list").focus();
    move(0);
  }
});

$("list").addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor($("list").clientHeight / height()) - 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key in moves) {
    event.preventDefault();
    move(current + moves[event.key]);
  } else if ((event.key === "Enter" || event.key === " ") && rows[current] !== undefined) {
    event.preventDefault();
    open(rows[current]);
  }
});

$("list").addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
addEventListener("resize", draw);
addEventListener("hashchange", openAddressed);
$("detail").addEventListener("close", () => history.replaceState(null, "", location.pathname));
for (const id of ["filter", "healths", "sort"]) $(id).addEventListener("input", arrange);
$("controls").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (!document.hidden && state) draw(); });
load();
