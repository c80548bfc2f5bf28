/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filters, the map of cases and machines, and the panel that shows evidence. What a guest said is only ever text. */
"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const { kernels, topologies, cases, states, outcomes, causes, deltas, words, suites } = data;
  const named = (values) => Object.fromEntries(data.columns.map((column, number) => [column, values[number]]));
  const records = data.records.map(named);
  const FIRST_UNMET = states.indexOf("fail"), BROKEN = states.indexOf("broken");
  const scenarios = [...new Set(cases.map((each) => each[0]))];
  const label = (c) => `${cases[c][0]}.${cases[c][1]}`;
  const labels = new Map(cases.map((_, c) => [label(c), c]));
  const guestsOf = (t, k) => data.guests.filter((guest) => guest.t === t && (k === undefined || guest.k === k));
  let papers = null;
  const paper = (number) => (papers ??= JSON.parse(by("papers").textContent))[number];

  const table = topologies.map(() => new Array(cases.length));
  for (const record of records) (table[record.topology][record.case] ??= new Array(kernels.length))[record.kernel] = record;

  /* An element; everything in it is text or another element. */
  function make(name, attributes = {}, ...inside) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value);
    }
    element.append(...inside);
    return element;
  }
  const slug = (word) => word.replace(" ", "-");
  const swatch = (state) => make("i", { class: `s-${slug(states[state])}` });
  const verdict = (record) => {
    const cause = causes[record.cause], outcome = outcomes[record.outcome];
    return ["CRASH", "HANG", "BROKEN"].includes(outcome) ? `${outcome} (${cause})` : outcome;
  };
  const badness = (record) => (record.state === BROKEN ? FIRST_UNMET - 0.5 : record.state);
  const worstOf = (records) => (records ?? []).filter(Boolean).sort((a, b) => badness(b) - badness(a))[0];
  const reason = (record) => words[record.words].split("\n", 1)[0];
  const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

  /* The map: a row per case, a square per machine, in it a strip per kernel. */

  const looks = new Map(), sheet = document.head.appendChild(document.createElement("style")).sheet;
  function look(records) {
    const key = kernels.map((_, k) => (records?.[k] ? records[k].state : "x")).join("-");
    if (!looks.has(key)) {
      const stops = key.split("-").map((state, k, all) => {
        const colour = state === "x" ? "transparent" : `var(--s-${slug(states[state])})`;
        return `${colour} ${(100 * k) / all.length}% ${(100 * (k + 1)) / all.length}%`;
      });
      sheet.insertRule(`#map td.m${key}{background-image:linear-gradient(90deg,${stops.join(",")})}`);
      looks.set(key, `m${key}`);
    }
    return looks.get(key);
  }

  const rows = [], MOST = 400;
  function drawMap() {
    if (topologies.length > MOST) return;
    const head = make("tr", {}, make("th"), ...topologies.map((name) => make("th", {}, make("span", {}, name))));
    const columns = make("colgroup", {}, make("col", { style: `width:${Math.min(34, Math.max(...cases.map(([, name]) => name.length)) + 2)}ch` }));
    topologies.forEach(() => columns.append(make("col", { style: "width:20px" })));
    const body = make("tbody");
    for (const scenario of scenarios) {
      const title = make("tr", { class: "head" }, make("th", {}, scenario));
      body.append(title);
      cases.forEach(([mine, name, about], c) => {
        if (mine !== scenario) return;
        const row = make("tr", {}, make("th", { title: about }, name));
        for (let t = 0; t < topologies.length; t++) {
          const cell = row.insertCell(), records = table[t][c];
          cell.className = records ? look(records) : "none";
          if (records?.some((record) => record.state >= FIRST_UNMET)) cell.classList.add("unmet");
        }
        if (topologies.length <= 40) row.append(make("th", { class: "about" }, about));
        rows[c] = { row, title, c };
        row.dataset.c = c;
        body.append(row);
      });
    }
    by("map").replaceChildren(make("table", { role: "grid", "aria-label": "cases and machines" }, columns, make("thead", {}, head), body));
    const first = by("map").querySelector("td:not(.none)");
    if (first) first.tabIndex = 0;
    by("every").hidden = !first;
    by("every-said").textContent = `${cases.length} × ${topologies.length}`;
  }
  const placeOf = (cell) => ({ t: cell.cellIndex - 1, c: Number(cell.parentNode.dataset.c) });
  function tell(cell) {
    if (cell.title || cell.className === "none") return;
    const { t, c } = placeOf(cell);
    const said = kernels.map((kernel, k) => table[t][c]?.[k] && `${kernel} ${verdict(table[t][c][k])}`).filter(Boolean);
    cell.title = `${label(c)} on ${topologies[t]}: ${said.join(", ")}`;
    cell.setAttribute("aria-label", cell.title);
  }

  /* Filters. */

  const CHIPS = [
    ["regressed", (record) => deltas[record.delta] === "regressed", "s-fail"],
    ["not met", (record) => record.state >= FIRST_UNMET && record.state !== BROKEN, "s-fail"],
    ["broken", (record) => record.state === BROKEN, "s-broken"],
    ["fixed", (record) => deltas[record.delta] === "fixed", "s-pass"],
    ["must-fail", (record) => states[record.state] === "must-fail", "s-must-fail"],
    ...(suites.length ? [["known-fail", (record) => states[record.state] === "known-fail", "s-known-fail"]] : []),
    ["pass", (record) => states[record.state] === "pass", "s-pass"],
    ["skip", (record) => states[record.state] === "skip", "s-skip"],
  ];
  const pressed = new Set(), few = records.length < data.all;
  const counted = `${records.length} records${few ? `, without those that met what was expected, of ${data.all} in all` : ""}`;
  let hay = null;
  const haystack = () => (hay ??= records.map((record) =>
    `${topologies[record.topology]}/${kernels[record.kernel]} ${label(record.case)} ${cases[record.case][2]} ${verdict(record)} ${reason(record)}`.toLowerCase()));

  function matches() {
    const tokens = by("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const tests = CHIPS.filter(([name]) => pressed.has(name)).map(([, test]) => test);
    if (!tokens.length && !tests.length) return null;
    const texts = tokens.length ? haystack() : null;
    return records.filter((record, number) =>
      (!tests.length || tests.some((test) => test(record))) && tokens.every((token) => texts[number].includes(token)));
  }

  function filter() {
    const found = matches(), cells = new Set(), inRow = new Set(), inColumn = new Set(), tiles = new Set();
    for (const record of found ?? []) {
      cells.add(record.topology * cases.length + record.case);
      inRow.add(record.case);
      inColumn.add(record.topology);
      tiles.add(`${record.topology} ${scenarios.indexOf(cases[record.case][0])}`);
    }
    const heads = by("map").querySelectorAll("thead th");
    if (rows.length) topologies.forEach((_, t) => { heads[t + 1].hidden = found && !inColumn.has(t); });
    by("map").querySelectorAll("col").forEach((column, t) => { column.hidden = t && found && !inColumn.has(t - 1); });
    const open = new Set();
    for (const { row, title, c } of rows) {
      row.hidden = found && !inRow.has(c);
      if (!row.hidden) open.add(title);
      if (row.hidden) continue;
      for (let t = 0; t < topologies.length; t++) {
        const cell = row.cells[t + 1];
        cell.hidden = found && !inColumn.has(t);
        cell.classList.toggle("faint", Boolean(found) && !cells.has(t * cases.length + c));
      }
    }
    for (const { title } of rows) title.hidden = !open.has(title);
    for (const tile of document.querySelectorAll(".tile")) {
      tile.classList.toggle("faint", Boolean(found) && !tiles.has(`${tile.dataset.t} ${tile.dataset.s}`));
    }
    for (const row of document.querySelectorAll("#matrix tbody tr")) row.hidden = found && !inColumn.has(Number(row.dataset.row));
    by("shown").textContent = found ? `${found.length} of ${records.length} records` : counted;
    const reachable = by("map").querySelector("td[tabindex='0']");
    if (!reachable || !reachable.offsetParent) rove(by("map"), [...by("map").querySelectorAll("td:not(.none)")].find((cell) => cell.offsetParent));
  }

  function drawChips() {
    for (const [name, test, colour] of CHIPS) {
      const number = records.filter(test).length;
      if (!number) continue;
      by("chips").append(make("button", {
        type: "button", class: "chip", "aria-pressed": "false", "data-chip": name,
        onclick: (event) => {
          if (!pressed.delete(name)) pressed.add(name);
          event.currentTarget.setAttribute("aria-pressed", pressed.has(name));
          filter();
        },
      }, make("i", { class: colour }), `${name} ${number}`));
    }
  }

  /* The panel. Its place is in the page's address, so that it can be kept and sent. */

  const panel = by("panel");
  let opener = null, steps = [];
  const address = (t, rest) => `#/${encodeURIComponent(topologies[t])}${rest ? `/${encodeURIComponent(rest)}` : ""}`;
  function go(where) {
    if (panel.hidden) opener = document.activeElement;
    if (location.hash === where) show();
    else location.hash = where;
  }
  function close() {
    if (panel.hidden) return;
    panel.hidden = true;
    panel.replaceChildren();
    history.replaceState(null, "", location.pathname + location.search);
    opener?.focus?.({ preventScroll: true });
  }

  function parse() {
    const [, machine, rest] = location.hash.match(/^#\/([^/]*)(?:\/(.*))?$/) ?? [];
    if (machine === undefined) return null;
    try {
      const t = topologies.indexOf(decodeURIComponent(machine)), name = decodeURIComponent(rest ?? "");
      if (t < 0) return null;
      if (labels.has(name)) return { t, c: labels.get(name), s: cases[labels.get(name)][0] };
      return scenarios.includes(name) ? { t, s: name } : name ? null : { t };
    } catch {
      return null;
    }
  }

  function show() {
    const place = parse();
    if (!place) return location.hash === "" ? close() : undefined;
    const { t, c, s } = place;
    steps = stepsFrom(place);
    const title = c !== undefined ? label(c) : s ?? "machine";
    panel.replaceChildren(
      make("div", { class: "bars" }, button("‹", "previous (k)", () => step(-1)), button("›", "next (j)", () => step(1)), button("×", "close (Esc)", close)),
      make("h2", {}, title, " ", make("span", { class: "dim" }, topologies[t])),
      ...(c !== undefined ? caseView(t, c) : s ? scenarioView(t, s) : machineView(t)),
      ...evidence(t, s, c),
    );
    panel.hidden = false;
    panel.scrollTop = 0;
    panel.querySelector(".hit, .alarm")?.scrollIntoView({ block: "nearest" });
    panel.scrollTop = 0;
    panel.focus({ preventScroll: true });
    return undefined;
  }
  const button = (text, title, onclick) => make("button", { type: "button", title, "aria-label": title, onclick }, text);

  /* What comes before and after: cases of the scenario on this machine, scenarios of it, or machines. */
  function stepsFrom({ t, c, s }) {
    if (c !== undefined) return cases.map((_, other) => other).filter((other) => !rows[other]?.row.hidden && table[t][other]).map((other) => address(t, label(other)));
    return s ? scenarios.map((name) => address(t, name)) : topologies.map((_, other) => address(other));
  }
  function step(by_) {
    const next = steps[steps.indexOf(location.hash) + by_];
    if (next) location.replace(next);
  }

  function caseView(t, c) {
    const [scenario, , about, requires] = cases[c];
    const records = table[t][c] ?? [];
    const cards = kernels.map((kernel, k) => card(kernel, records[k])).filter(Boolean);
    return [
      make("p", {}, about, make("span", { class: "dim" }, `${about ? " · " : ""}scenario ${scenario}${requires.length ? ` · requires ${requires.join(", ")}` : ""}`)),
      make("div", { class: "verdicts" }, ...cards),
      ...reproduce(t, suites.includes(scenario) ? label(c).split("/")[0] : label(c)),
      ...(suites.includes(scenario) ? [] : again(t, records, WHOLE.has(about) ? scenario : label(c))),
    ];
  }
  function card(kernel, record) {
    if (!record) return null;
    const state = states[record.state], must = record.must_pass ? "PASS" : "FAIL";
    const box = make("div", { class: "verdict" });
    box.style.borderLeftColor = `var(--s-${slug(state)})`;
    const told = [state === "skip" ? "no verdict" : `expected ${must}`];
    if (record.ms >= 0) told.push(`${record.ms} ms`);
    if (record.attempt > 1) told.push(`attempt ${record.attempt}`);
    if (["fixed", "regressed"].includes(deltas[record.delta])) told.push(deltas[record.delta]);
    box.append(make("div", { class: "state" }, swatch(record.state), make("b", {}, verdict(record)), " ", make("b", {}, kernel), " ", make("span", { class: "dim" }, told.join(", "))));
    const text = words[record.words];
    if (text !== "ok") box.append(make("pre", {}, text));
    box.append(...placements(text));
    return box;
  }
  /* `placement of the new part: node0=8 node1=8`: pages on nodes, as a case saw them (`| ` is what it printed). */
  function placements(text) {
    return [...text.matchAll(/^(?:\| )?placement(?: of ([^:\n]{1,80}))?:((?: node\d+=\d+)+)$/gm)].map(([, what, nodes]) => {
      const counts = [...nodes.matchAll(/node(\d+)=(\d+)/g)].map(([, node, count]) => [Number(node), Number(count)]);
      const bar = make("div", { class: "place", title: `pages${what ? ` of ${what}` : ""} on nodes:${nodes}` });
      for (const [node, count] of counts) {
        const part = make("i", { class: `k${node % 6}` }, `${node}: ${count}`);
        part.style.flexGrow = count;
        bar.append(part);
      }
      return make("div", {}, make("span", { class: "dim" }, `pages on nodes${what ? `, ${what}` : ""}`), bar);
    });
  }

  function scenarioView(t, s) {
    const body = make("tbody");
    cases.forEach(([mine, name], c) => {
      const records = table[t][c];
      if (mine !== s || !records) return;
      const worst = worstOf(records);
      body.append(make("tr", {},
        make("td", {}, make("button", { type: "button", class: "case", onclick: () => go(address(t, label(c))) }, name)),
        ...kernels.map((_, k) => make("td", { class: "state" }, ...(records[k] ? [swatch(records[k].state), verdict(records[k])] : ["-"]))),
        make("td", {}, reason(worst) === "ok" ? cases[c][2] : reason(worst))));
    });
    const head = make("tr", {}, make("th", {}, "case"), ...kernels.map((kernel) => make("th", {}, kernel)), make("th"));
    const folded = make("details", {}, make("summary", {}, "cases"), make("table", { class: "list" }, make("thead", {}, head), body));
    folded.open = true;
    return [folded, ...reproduce(t, `${s}.*`)];
  }

  function machineView(t) {
    const figure = [...document.querySelectorAll("figure")].find((each) => each.dataset.name === topologies[t]);
    const said = guestsOf(t).map((guest) => make("p", { class: guest.status === "OK" ? "" : "broken" },
      make("b", {}, kernels[guest.k]), guest.repeat > 1 ? ` (repeat ${guest.repeat})` : "",
      ` ${guest.status}; ${guest.how}${guest.why ? `; ${guest.why}` : ""}`));
    return [...(figure ? [figure.cloneNode(true)] : []), ...said, ...reproduce(t)];
  }

  function reproduce(t, test) {
    const { run, on, rest } = data.lab, line = [...run];
    if (on) line.push(on, data.lab.machines[topologies[t]] ?? topologies[t]);
    if (on === "-t") line.push(...(data.lab.kernels.length ? data.lab.kernels : kernels).flatMap((kernel) => ["-k", kernel]));
    if (on && test && !(rest.length && test.startsWith("command."))) line.push("--test", test);
    return [command([...line, ...rest].map(quote).join(" "))];
  }
  /* The very guest of the worst verdict; the page knows its run's directory only while it lies there. */
  const WHOLE = new Set(["of the scenario as a whole", "not declared"]);
  function again(t, records, test) {
    const k = records.indexOf(worstOf(records));
    if (k < 0) return [];
    const path = decodeURIComponent(location.pathname), lies = location.protocol === "file:" && path.endsWith("/report.html");
    const box = command(["lab", "replay", lies ? path.slice(0, -"/report.html".length) : "DIR", `${topologies[t]}/${kernels[k]}/${test}`].map(quote).join(" "));
    box.title = "the same kernel, machine and programs again; `lab bundle` with these words packs them for who has no lab";
    return [box];
  }
  function command(text) {
    const copy = button("copy", "copy the command", async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(shown);
      }
    });
    copy.className = "more";
    const shown = make("pre", {}, text);
    return make("div", { class: "command" }, shown, copy);
  }

  /* The files of a guest: one of them open, what belongs to the case in it marked. */

  const NAMES = { "console.log": "console", "facts.json": "facts", "config": "config", "domain.xml": "domain.xml", "qemu.args": "qemu.args", "reproduce.sh": "reproduce.sh" };
  const nameOf = (file) => NAMES[file] ?? (file.endsWith(".console") ? `console of ${file.slice(0, -8)}` : file);
  const stemOf = (file) => file.replace(/(\.\d+)?\.(ktap|console)$/, "");

  function papersOf(guest, s) {
    const all = Object.keys(guest.papers), own = all.filter((file) => !(file in NAMES));
    return [...own.filter((file) => !s || stemOf(file) === s).sort((a, b) => b.endsWith("ktap") - a.endsWith("ktap")), ...all.filter((file) => file in NAMES)];
  }

  function evidence(t, s, c) {
    const guests = guestsOf(t).filter((guest) => papersOf(guest).length);
    if (!guests.length) return [];
    const worst = worstOf(c === undefined ? [] : table[t][c]);
    const wanted = worst && worst.state >= FIRST_UNMET ? worst.kernel : kernels.length - 1;
    const state = { guest: guests.findLast((guest) => guest.k === wanted) ?? guests[0] };
    const ends = ["crash", "hang"].map((name) => states.indexOf(name));
    const first = papersOf(state.guest, s);
    state.file = s ? (worst && ends.includes(worst.state) && first.find((file) => file.endsWith(".console"))) || first[0] : "facts.json" in state.guest.papers ? "facts.json" : first[0];
    const tabs = make("div", { class: "tabs", role: "tablist" }), shown = make("div");
    const draw = () => {
      const tab = (text, selected, choose) => make("button", { type: "button", role: "tab", "aria-selected": selected, onclick: () => { choose(); draw(); } }, text);
      const own = guests.map((guest) => tab(kernels[guest.k] + (guest.repeat > 1 ? ` ${guest.repeat}` : ""), guest === state.guest, () => { state.guest = guest; }));
      const files = papersOf(state.guest, s);
      if (!files.includes(state.file)) [state.file] = files;
      tabs.replaceChildren(...own, make("span", { class: "gap" }), ...files.map((file) => tab(nameOf(file), file === state.file, () => { state.file = file; })));
      shown.replaceChildren(...opened(state.guest, state.file, c));
      scrollToHit(shown);
    };
    draw();
    return [tabs, shown];
  }
  function scrollToHit(shown) {
    const box = shown.querySelector(".paper"), hit = box?.querySelector(".hit, .alarm");
    if (hit) requestAnimationFrame(() => { box.scrollTop = hit.offsetTop - box.offsetTop - 60; });
  }

  function opened(guest, file, c) {
    const again = guest.repeat > 1 ? `/repeat-${guest.repeat}` : "";
    const name = file.endsWith(".console") ? "console.log" : file;
    const where = `cells/${topologies[guest.t]}/${kernels[guest.k]}${again}/${name}`;
    const lines = paper(guest.papers[file]).replace(/\n$/, "").split("\n"), box = make("pre", { class: "paper", tabindex: "0" });
    const alarms = new Map((guest.marks[file] ?? []).flatMap(([line, count, kind]) => Array.from({ length: count }, (_, n) => [line + n, kind])));
    const find = file.endsWith(".ktap") ? linesOf : name === "console.log" ? consoleOf : () => new Set();
    const hits = c === undefined ? new Set() : find(lines, c);
    lines.forEach((text, number) => {
      const line = make("div", {}, text);
      if (alarms.has(number + 1)) { line.className = "alarm"; line.title = alarms.get(number + 1); }
      else if (hits.has(number)) line.className = "hit";
      if (file.endsWith(".ktap") && text.startsWith("not ok")) line.classList.add("not");
      box.append(line);
    });
    const set = file === "config" ? ", what is set" : "";
    return [make("p", { class: "dim" }, `${where}${set}${alarms.size ? `, ${guest.marks[file].length} reports of the kernel marked` : ""}`), box];
  }
  /* What the console has from the beginning of a case to that of the next (guest_tests/lab_mark.h). */
  function consoleOf(lines, c) {
    const found = new Set(), mark = "pagelab: run ";
    let own = false;
    lines.forEach((text, number) => {
      const at = text.indexOf(mark);
      if (at >= 0) own = text.slice(at + mark.length).trim() === label(c);
      if (own) found.add(number);
    });
    return found;
  }
  /* A case's result line and the diagnostics before it. */
  function linesOf(lines, c) {
    const found = new Set(), name = cases[c][1];
    lines.forEach((text, number) => {
      const [, said] = text.match(/^(?:not )?ok \d+ (?:- )?(.*?)(?: # .*)?$/) ?? [];
      if (said !== name) return;
      found.add(number);
      for (let up = number - 1; up >= 0 && lines[up].startsWith("#"); up--) found.add(up);
    });
    return found;
  }

  function help() {
    const keys = [["/", "filter"], ["arrows", "move in the tables"], ["Enter", "open the evidence"], ["j  k", "next, previous"], ["Esc", "close, clear the filter"], ["?", "this"]];
    opener = document.activeElement;
    panel.replaceChildren(make("div", { class: "bars" }, button("×", "close (Esc)", close)), make("h2", {}, "Keys"),
      make("table", { class: "plain" }, ...keys.map(([key, what]) => make("tr", {}, make("th", {}, make("kbd", {}, key)), make("td", {}, what)))));
    panel.hidden = false;
    panel.focus();
  }

  /* Keys: one cell of a table can be reached by Tab, arrows go on from there. */

  function rove(root, next) {
    if (!next) return;
    for (const old of root.querySelectorAll("[tabindex='0']")) old.tabIndex = -1;
    next.tabIndex = 0;
  }
  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  function arrow(event, root, cellOf, targetOf) {
    const [down, right] = ARROWS[event.key] ?? [];
    if (down === undefined) return;
    let cell = cellOf(event.target);
    if (!cell) return;
    event.preventDefault();
    for (;;) {
      const row = cell.parentNode;
      let next = right ? (right > 0 ? cell.nextElementSibling : cell.previousElementSibling) : null;
      if (down) {
        const other = down > 0 ? row.nextElementSibling : row.previousElementSibling;
        next = other && (other.cells[cell.cellIndex] ?? other.cells[0]);
      }
      if (!next) return;
      cell = next;
      const target = targetOf(cell);
      if (!target || !target.offsetParent) continue;
      rove(root, target);
      target.focus();
      return;
    }
  }

  document.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile"), machine = event.target.closest("[data-machine]");
    const open = event.target.closest("[data-open]"), cell = event.target.closest("#map td");
    if (tile) go(address(Number(tile.dataset.t), scenarios[tile.dataset.s]));
    else if (machine) go(address(Number(machine.dataset.machine)));
    else if (open) {
      event.preventDefault();
      const [topology, ...rest] = open.dataset.open.split("/");
      go(address(topologies.indexOf(topology), rest.join("/")));
    } else if (cell && cell.className !== "none") {
      const { t, c } = placeOf(cell);
      rove(by("map"), cell);
      cell.focus();
      go(address(t, label(c)));
    } else if (!panel.hidden && !event.target.closest("#panel, #filter") && document.contains(event.target)) close();
  });
  by("map").addEventListener("mouseover", (event) => event.target.closest("td") && tell(event.target.closest("td")));
  by("map").addEventListener("focusin", (event) => event.target.closest("td") && tell(event.target.closest("td")));
  by("map").addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.target.click(); }
    else arrow(event, by("map"), (target) => target.closest("td"), (cell) => (cell.tagName === "TD" && cell.className !== "none" ? cell : null));
  });
  by("matrix").addEventListener("keydown", (event) =>
    arrow(event, by("matrix"), (target) => target.closest("td, tbody th"), (cell) => cell.querySelector("button")));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input");
    if (event.key === "Escape") {
      if (!panel.hidden) close();
      else if (by("words").value || pressed.size) {
        by("words").value = "";
        pressed.clear();
        for (const chip of document.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", "false");
        filter();
      } else if (typing) event.target.blur();
    } else if (typing) return;
    else if (event.key === "/") { event.preventDefault(); by("words").focus(); }
    else if (event.key === "?") help();
    else if (!panel.hidden && (event.key === "j" || event.key === "k")) step(event.key === "j" ? 1 : -1);
  });
  by("help").addEventListener("click", (event) => { event.stopPropagation(); help(); });
  by("filter").addEventListener("submit", (event) => event.preventDefault());
  by("words").addEventListener("input", filter);
  addEventListener("hashchange", show);

  drawMap();
  drawChips();
  by("filter").hidden = false;
  const buttons = [...by("matrix").querySelectorAll("tbody button")];
  buttons.forEach((each, number) => { each.tabIndex = number ? -1 : 0; });
  by("shown").textContent = counted;
  if (location.hash) show();
  document.documentElement.dataset.ready = Math.round(performance.now());
})();
