"use strict";
document.documentElement.classList.add("js");

const byId = (id) => document.getElementById(id);

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- copying: the clipboard where it is allowed, else a selection and the old command ---

async function copy(button) {
  const code = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
document.addEventListener("click", (event) => {
  if (event.target.matches("button.copy")) copy(event.target);
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));

// --- the rejections: columns of numbers into lists of distinct texts; only the rows in view are in the document ---

function rejections(data) {
  const box = byId("rows"), space = box.firstElementChild, counter = byId("count"), dialog = byId("detail");
  const inputs = { q: byId("q"), source: byId("source"), drop: byId("drop"), code: byId("code"), field: byId("field") };
  const all = data.code.length;
  const causeKeys = data.causes.map((cause) => cause.join("|"));
  const followers = new Map();
  data.cause.forEach((cause) => { if (cause >= 0) followers.set(causeKeys[cause], (followers.get(causeKeys[cause]) || 0) + 1); });
  let cause = null, found = Int32Array.from({ length: all }, (_, i) => i), selected = -1, search = 0, height = 0, first = -1, last = -1;

  const pathOf = (i) => data.paths[data.path[data.record[i]]];
  const lineOf = (i) => data.line[data.record[i]];
  const keyOf = (i) => `${data.day}|${pathOf(i)}|${lineOf(i)}`;

  function marked(parent, i) {
    const text = data.raws[data.raw[i]], from = data.from[i], to = data.to[i];
    const [before, after] = data.cut[data.raw[i]] || [0, 0];
    if (before) parent.append("… ");
    if (to > from) parent.append(text.slice(0, from), element("mark", "", text.slice(from, to)), text.slice(to));
    else parent.append(text);
    if (after) parent.append(" …");
    return [before, after];
  }

  function snippet(i) {
    const made = element("div", "raw mono");
    const text = data.raws[data.raw[i]], from = data.from[i], to = data.to[i];
    const start = from > 36 ? from - 30 : 0;
    if (to > from) made.append(start ? "… " : "", text.slice(start, from), element("mark", "", text.slice(from, Math.min(to, from + 80))), text.slice(to, to + 200));
    else made.append(text.slice(0, 220));
    return made;
  }

  function said(i) {
    const made = element("div", "said"), [wrong, meant, wanted] = data.messages[data.message[i]];
    made.append(wrong);
    if (meant) made.append(" → ", element("span", "meant", meant));
    if (wanted) made.append(element("span", "quiet", ` · wanted ${wanted}`));
    return made;
  }

  function row(place) {
    const i = found[place], record = data.record[i];
    const made = element("div", "row"), where = element("div", "where");
    made.id = `row-${place}`;
    made.setAttribute("role", "option");
    made.setAttribute("aria-posinset", place + 1);
    made.setAttribute("aria-setsize", found.length);
    made.setAttribute("aria-selected", place === selected);
    made.style.top = `${place * height}px`;
    where.append(element("span", "code", data.codes[data.code[i]]));
    if (data.fields[data.field[i]]) where.append(element("span", "chip", data.fields[data.field[i]]));
    where.append(element("span", "path", `line ${lineOf(i)} of ${pathOf(i)}`));
    const what = [data.categories[data.category[record]], data.steps[data.step[record]], data.id[record]].filter(Boolean).join(" ");
    where.append(element("span", "quiet", what));
    const waiting = followers.get(keyOf(i));
    if (waiting) where.append(element("span", "chip rejected", `${waiting.toLocaleString("en")} follow`));
    if (data.cause[i] >= 0) where.append(element("span", "chip", "follows"));
    if (data.again[record]) where.append(element("span", "chip", "corrected, refused again"));
    made.append(where, said(i), snippet(i));
    return made;
  }

  function draw(force) {
    const from = Math.max(0, Math.floor(box.scrollTop / height) - 4);
    const to = Math.min(found.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + 4);
    if (!force && from === first && to === last) return;
    [first, last] = [from, to];
    space.replaceChildren(...Array.from({ length: Math.max(0, to - from) }, (_, at) => row(from + at)));
  }

  function layout() {
    height = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
    space.style.height = `${found.length * height}px`;
    draw(true);
  }

  function select(place, { open = false } = {}) {
    if (!found.length) return;
    selected = Math.max(0, Math.min(found.length - 1, place));
    const top = selected * height;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
    draw(true);
    box.setAttribute("aria-activedescendant", `row-${selected}`);
    if (open) tell(found[selected]);
  }

  function command(text) {
    const made = element("div", "command");
    made.append(element("code", "", text), element("button", "copy", "Copy"));
    return made;
  }

  function tell(i) {
    const record = data.record[i], list = element("dl"), pre = element("pre");
    const add = (name, ...values) => {
      const value = element("dd");
      value.append(...values);
      list.append(element("dt", "", name), value);
    };
    const [wrong, meant, wanted] = data.messages[data.message[i]];
    add("What is wrong", wrong);
    if (meant) add("Probably meant", element("span", "meant", meant));
    if (wanted) add("Wanted", wanted);
    add("Where", `line ${lineOf(i)} of ${pathOf(i)}`);
    if (data.category[record] >= 0) add("About", [data.categories[data.category[record]], data.steps[data.step[record]], data.id[record]].filter(Boolean).join(" "));
    if (data.cause[i] >= 0) {
      const [day, path, line] = data.causes[data.cause[i]];
      const link = element("a", "", `line ${line} of ${path} (${day})`);
      link.href = (day === data.day ? "" : `../${day}/index.html`) + `#drop=${encodeURIComponent(path)}&line=${line}`;
      link.addEventListener("click", () => dialog.close());
      add("Follows from", link, ", which was refused: fix that one, and this one is decided again by itself");
    }
    const waiting = followers.get(keyOf(i));
    if (waiting) add("Followed by", `${waiting.toLocaleString("en")} that wait for it`);
    if (data.again[record]) add("Corrected", data.again[record]);
    const [before, after] = marked(pre, i);
    const cut = before || after ? element("p", "quiet", `${(before + after).toLocaleString("en")} characters of this line are left out here; the bounce file has all of it.`) : "";
    const head = element("h2", "", data.codes[data.code[i]] + (data.fields[data.field[i]] ? ` · ${data.fields[data.field[i]]}` : ""));
    const close = element("button", "close", "Close");
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(close, head, list, pre, cut);
    if (data.id[record]) dialog.append(element("p", "quiet", "Its whole story:"), command(`nightdrop explain ${quoted(data.id[record])}`));
    dialog.showModal();
  }

  function quoted(text) {
    return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
  }

  // Rows are looked through in slices of some milliseconds; a newer search ends an older one.
  async function filter() {
    const mine = ++search, started = performance.now();
    const words = inputs.q.value.split(/\s+/).filter(Boolean).map((word) => new RegExp(word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "iu"));
    const at = (name, list) => (inputs[name].value === "" ? -1 : list.indexOf(inputs[name].value));
    const code = at("code", data.codes), field = at("field", data.fields), drop = at("drop", data.paths), source = at("source", data.sources);
    const wantedCause = cause === null ? -2 : causeKeys.indexOf(cause), line = Number(wantedLine) || 0;
    const has = (word, i) => {
      const record = data.record[i];
      return word.test(data.raws[data.raw[i]]) || word.test(data.messages[data.message[i]].join(" ")) || word.test(data.id[record]) ||
        word.test(data.paths[data.path[record]]) || word.test(data.codes[data.code[i]]) || word.test(data.fields[data.field[i]]);
    };
    const hits = new Int32Array(all);
    let count = 0, slice = performance.now();
    for (let i = 0; i < all; i++) {
      if ((i & 511) === 0 && performance.now() - slice > 12) {
        await new Promise((resume) => setTimeout(resume));
        if (mine !== search) return;
        slice = performance.now();
      }
      const record = data.record[i], path = data.path[record];
      if ((code >= 0 && data.code[i] !== code) || (field >= 0 && data.field[i] !== field) || (drop >= 0 && path !== drop)) continue;
      if ((source >= 0 && data.source[path] !== source) || (line && data.line[record] !== line)) continue;
      if (wantedCause !== -2 && data.cause[i] !== wantedCause && keyOf(i) !== cause) continue;
      if (words.every((word) => has(word, i))) hits[count++] = i;
    }
    found = hits.subarray(0, count);
    selected = -1;
    box.scrollTop = 0;
    box.removeAttribute("aria-activedescendant");
    counter.textContent = count === all ? `All ${all.toLocaleString("en")} reasons` : `${count.toLocaleString("en")} of ${all.toLocaleString("en")} reasons`;
    byId("cause").hidden = cause === null && !line;
    byId("cause").textContent = cause === null ? `line ${line} ✕` : `one root cause and what follows from it ✕`;
    box.dataset.milliseconds = Math.round(performance.now() - started);
    layout();
    box.dataset.search = mine;
  }

  // --- the address keeps what is looked for, so that a chart's bar, a cause and a colleague can point at it ---

  let wantedLine = "";
  function fromAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (!location.hash.includes("=")) return false;
    for (const [name, input] of Object.entries(inputs)) input.value = wanted.get(name) || "";
    cause = wanted.get("cause");
    wantedLine = wanted.get("line") || "";
    return true;
  }
  function toAddress() {
    const told = new URLSearchParams();
    for (const [name, input] of Object.entries(inputs)) if (input.value) told.set(name, input.value);
    if (cause !== null) told.set("cause", cause);
    if (wantedLine) told.set("line", wantedLine);
    history.replaceState(null, "", told.size ? `#${told}` : "#rejections");
  }
  function changed() {
    toAddress();
    filter();
  }
  addEventListener("hashchange", () => {
    if (!fromAddress()) return;
    filter();
    byId("rejections").scrollIntoView();
  });
  let typing = 0;
  inputs.q.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(changed, 120); });
  for (const name of ["source", "drop", "code", "field"]) inputs[name].addEventListener("change", changed);
  byId("clear").addEventListener("click", () => {
    for (const input of Object.values(inputs)) input.value = "";
    cause = null;
    wantedLine = "";
    changed();
  });
  byId("cause").addEventListener("click", () => { cause = null; wantedLine = ""; changed(); });

  // --- keyboard and pointer ---

  box.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), { passive: true });
  box.addEventListener("click", (event) => {
    const hit = event.target.closest(".row");
    if (hit) select(Number(hit.id.slice(4)), { open: true });
  });
  box.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(box.clientHeight / height) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) select(moves[event.key] === -Infinity ? 0 : moves[event.key] === Infinity ? found.length - 1 : selected + moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") select(Math.max(selected, 0), { open: true });
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !dialog.open) {
      event.preventDefault();
      byId("rejections").scrollIntoView();
      inputs.q.focus();
    } else if (event.key === "Escape" && event.target === inputs.q) {
      inputs.q.value = "";
      changed();
      box.focus();
    } else if (event.key === "ArrowDown" && event.target === inputs.q) {
      event.preventDefault();
      box.focus();
      select(0);
    }
  });
  addEventListener("resize", layout);

  function choices(name, list) {
    for (const value of list) if (value) inputs[name].append(new Option(value, value));
  }
  choices("source", data.sources);
  choices("drop", data.paths);
  choices("code", [...data.codes].sort());
  choices("field", [...data.fields].sort());
  const wanted = fromAddress();
  filter().then(() => { if (wanted) byId("rejections").scrollIntoView(); });
}

async function read(block) {
  if (block.type === "application/json") return JSON.parse(block.textContent);
  const packed = atob(block.textContent), bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

const block = byId("data");
// After the first paint: the top of the page is there while a large table is still being read.
if (block) requestAnimationFrame(() => setTimeout(async () => {
  const data = await read(block);
  block.remove();
  rejections(data);
}));
