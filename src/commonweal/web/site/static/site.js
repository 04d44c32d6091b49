// What a board can do with a script: sort, search, filter, pin, and compare two. The address holds the state. Without a script
// the tables and links are all there. Nothing here loads anything.

const LOWER = "data-lower";
const FIRST = 3; // the columns before those of scenarios: model, win rate, measured
const NONE = "-"; // in the address, for names without a maker

function textButton(text, label) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.setAttribute("aria-label", label);
  return button;
}

class BoardTable extends HTMLElement {
  connectedCallback() {
    this.table = this.querySelector("table");
    this.body = this.table.tBodies[0];
    this.heads = [...this.table.tHead.rows[0].cells];
    this.rows = [...this.body.rows];
    this.choices = new Map();
    this.common = null;
    this.first = Number(this.dataset.first ?? FIRST);
    this.pairs = new Set((this.dataset.pairs || "").split(" "));
    this.addBar();
    this.heads.forEach((head, index) => this.addSort(head, index));
    this.rows.forEach((row) => this.addPin(row));
    this.read();
    window.addEventListener("popstate", () => this.read());
  }

  addBar() {
    const bar = document.createElement("div");
    bar.className = "bar";
    const label = document.createElement("label");
    const name = document.createElement("span");
    name.className = "unseen";
    name.textContent = "Search models";
    this.search = document.createElement("input");
    this.search.type = "search";
    this.search.placeholder = "Search models";
    this.search.addEventListener("input", () => this.changed());
    label.append(name, this.search);
    this.compare = document.createElement("span");
    this.compare.setAttribute("aria-live", "polite");
    bar.append(label, this.compare);
    this.prepend(bar);
    this.addFilters(bar);
  }

  // Only what can part the models of this board is offered.
  addFilters(bar) {
    const origins = new Set(this.rows.map((row) => this.origin(row)));
    const makers = new Set(this.rows.map((row) => this.maker(row)));
    const shares = new Set(this.rows.map((row) => this.share(row)));
    this.filters = document.createElement("div");
    this.filters.className = "filters";
    this.filters.setAttribute("role", "group");
    this.filters.setAttribute("aria-label", "Filters");
    if (origins.size > 1) this.addChoice("from", "measured by", origins, this.originName);
    if (makers.size > 1 && makers.size < this.rows.length) {
      this.addChoice("by", "made by", makers, (name) => name || "others");
    }
    if (shares.size > 1) {
      const least = new Map([["50", "half"], ["100", "all"]]);
      this.addChoice("least", this.shareName(), least.keys(), (name) => least.get(name));
    }
    if (this.heads.length > this.first + 1 && shares.size > 1) this.addCommon();
    this.told = document.createElement("p");
    this.told.className = "told";
    this.told.setAttribute("role", "status");
    if (this.filters.childElementCount) bar.after(this.filters);
    (this.filters.childElementCount ? this.filters : bar).after(this.told);
  }

  addChoice(key, title, values, name) {
    const label = document.createElement("label");
    const choice = document.createElement("select");
    choice.name = key;
    choice.add(new Option("any", ""));
    for (const value of [...values].sort()) choice.add(new Option(name(value), value || NONE));
    choice.addEventListener("change", () => this.changed());
    label.append(`${title} `, choice);
    this.filters.append(label);
    this.choices.set(key, choice);
  }

  addCommon() {
    const label = document.createElement("label");
    this.common = document.createElement("input");
    this.common.type = "checkbox";
    this.common.name = "common";
    this.common.addEventListener("change", () => this.changed());
    label.append(this.common, " only scenarios that all shown models have");
    this.filters.append(label);
  }

  origin(row) {
    return row.dataset.from ?? (row.hasAttribute("data-unmeasured") ? "nobody" : "here");
  }

  originName(name) {
    return name === "here" ? "this site" : name;
  }

  // The part before the slash of a name like "org/model".
  maker(row) {
    const [first, rest] = this.name(row).split("/", 2);
    return rest === undefined ? "" : first;
  }

  shareName() {
    return this.hasAttribute("data-own") ? "numbers reported, at least" : "scenarios measured, at least";
  }

  share(row) {
    return Number(row.cells[2].dataset.value || 0);
  }

  passes(row) {
    const wanted = (key) => this.choices.get(key)?.value ?? "";
    const [origin, maker, least] = [wanted("from"), wanted("by"), wanted("least")];
    return (
      (!origin || this.origin(row) === origin) &&
      (!maker || (this.maker(row) || NONE) === maker) &&
      (!least || 100 * this.share(row) >= Number(least) - 1e-9)
    );
  }

  clear() {
    this.search.value = "";
    for (const choice of this.choices.values()) choice.value = "";
    if (this.common) this.common.checked = false;
    this.changed();
    this.search.focus();
  }

  addSort(head, index) {
    const button = textButton("↕", `sort by ${this.title(head)}`);
    button.className = "sort";
    button.addEventListener("click", () => {
      const first = index === 0 || head.hasAttribute(LOWER) ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      this.order = head.getAttribute("aria-sort") === first ? other : first;
      this.column = index;
      this.changed();
    });
    head.append(" ", button);
  }

  addPin(row) {
    const button = textButton("☆", `pin ${row.cells[0].textContent.trim()}`);
    button.className = "pin";
    button.addEventListener("click", () => {
      row.classList.toggle("pinned");
      this.changed();
    });
    row.cells[0].append(" ", button);
  }

  read() {
    const state = new URLSearchParams(location.search);
    const pinned = new Set(state.getAll("pin"));
    const column = state.get("sort");
    this.column = column === null ? -1 : this.heads.findIndex((head) => this.title(head) === column);
    this.order = state.get("order") === "ascending" ? "ascending" : "descending";
    this.search.value = state.get("q") ?? "";
    for (const [key, choice] of this.choices) {
      choice.value = state.get(key) ?? "";
      if (choice.selectedIndex < 0) choice.value = "";
    }
    if (this.common) this.common.checked = state.get("common") === "1";
    this.rows.forEach((row) => row.classList.toggle("pinned", pinned.has(row.dataset.model)));
    this.show();
  }

  changed() {
    const state = new URLSearchParams();
    if (this.column >= 0) {
      state.set("sort", this.title(this.heads[this.column]));
      state.set("order", this.order);
    }
    if (this.search.value) state.set("q", this.search.value);
    for (const [key, choice] of this.choices) if (choice.value) state.set(key, choice.value);
    if (this.common?.checked) state.set("common", "1");
    for (const row of this.pinned()) state.append("pin", row.dataset.model);
    const told = state.toString();
    history.replaceState(null, "", (told ? `?${told}` : location.pathname) + location.hash);
    this.show();
  }

  title(head) {
    return head.firstChild.textContent.trim();
  }

  name(row) {
    return row.cells[0].firstElementChild.textContent;
  }

  pinned() {
    return this.rows.filter((row) => row.classList.contains("pinned"));
  }

  show() {
    const wanted = this.search.value.trim().toLowerCase();
    const ordered = this.column < 0 ? [...this.rows] : this.sorted();
    ordered.sort((a, b) => b.classList.contains("pinned") - a.classList.contains("pinned"));
    for (const row of ordered) {
      const name = this.name(row).toLowerCase();
      const pinned = row.classList.contains("pinned");
      row.hidden = !pinned && !(name.includes(wanted) && this.passes(row));
      const pin = row.querySelector(".pin");
      pin.setAttribute("aria-pressed", String(pinned));
      pin.textContent = pinned ? "★" : "☆";
    }
    this.body.append(...ordered);
    this.heads.forEach((head, index) => {
      const sorted = index === this.column;
      if (sorted) head.setAttribute("aria-sort", this.order);
      else head.removeAttribute("aria-sort");
      head.querySelector(".sort").textContent = !sorted ? "↕" : this.order === "ascending" ? "↑" : "↓";
    });
    this.showColumns();
    this.showCompare();
  }

  // Columns that a shown model has no number in are hidden where only common ones are wanted.
  showColumns() {
    const shown = this.rows.filter((row) => !row.hidden);
    let hidden = 0;
    this.heads.forEach((head, index) => {
      const lacks = (row) => row.cells[index].dataset.value === "";
      const hide = index >= this.first && Boolean(this.common?.checked) && shown.some(lacks);
      head.hidden = hide;
      for (const row of this.rows) row.cells[index].hidden = hide;
      hidden += hide;
    });
    this.tell(shown.length, hidden);
  }

  tell(shown, hidden) {
    this.told.replaceChildren();
    const all = this.heads.length - this.first;
    const said = [];
    if (shown < this.rows.length) said.push(`${shown} of ${this.rows.length} models`);
    if (hidden) said.push(`${all - hidden} of ${all} scenarios`);
    if (!said.length) return;
    const button = textButton("clear", "clear the filters");
    button.addEventListener("click", () => this.clear());
    this.told.append(`${said.join(" and ")} shown; the numbers are those of the whole board. `, button);
  }

  // A cell whose text is the number itself has no other.
  value(cell) {
    return cell.dataset.value ?? cell.firstChild.textContent.replace("−", "-").replaceAll(",", "");
  }

  sorted() {
    const sign = this.order === "ascending" ? 1 : -1;
    const value = (row) => this.value(row.cells[this.column]);
    return [...this.rows].sort((a, b) => {
      if (this.column === 0) {
        return sign * this.name(a).localeCompare(this.name(b));
      }
      const left = value(a);
      const right = value(b);
      if (left === "" || right === "") return (left === "") - (right === "");
      return sign * (Number(left) - Number(right));
    });
  }

  showCompare() {
    const rows = this.pinned();
    const chosen = rows.map((row) => row.dataset.model).sort();
    this.compare.replaceChildren();
    if (chosen.length === 1) this.compare.textContent = "Pin a second model to compare the two.";
    if (chosen.length !== 2) return;
    if (rows.some((row) => row.hasAttribute("data-unmeasured"))) {
      this.compare.textContent = "Not both of these were measured, so nothing can be compared.";
      return;
    }
    if (!this.hasAttribute("data-any") && !this.pairs.has(chosen.join("/"))) {
      const code = document.createElement("code");
      code.textContent = `--compare "${rows.map((row) => this.name(row)).join(",")}"`;
      this.compare.append("No page of these two was made here. It is made with commonweal site ... ", code);
      return;
    }
    const link = document.createElement("a");
    link.href = `${this.dataset.compare}/${chosen.join("/")}.html`;
    link.textContent = "Compare the two pinned models";
    this.compare.append(link);
  }
}

class CopyLink extends HTMLElement {
  connectedCallback() {
    if (!navigator.clipboard) return;
    const place = this.closest("article");
    const button = textButton("copy link", `copy link to ${place.querySelector("h2").textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(new URL(`#${place.id}`, location.href).href);
      button.textContent = "copied";
    });
    this.append(button);
  }
}

// The address that the reader knows the hub by, which the hub behind a proxy may not.
class HubAddress extends HTMLElement {
  connectedCallback() {
    this.textContent = location.origin;
  }
}

customElements.define("hub-address", HubAddress);
customElements.define("board-table", BoardTable);
customElements.define("copy-link", CopyLink);
