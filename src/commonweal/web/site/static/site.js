// What a board can do with a script: sort, search, pin, and compare two. The address holds the state. Without a script
// the tables and links are all there. Nothing here loads anything.

const LOWER = "data-lower";

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
    for (const row of this.pinned()) state.append("pin", row.dataset.model);
    const told = state.toString();
    history.replaceState(null, "", (told ? `?${told}` : location.pathname) + location.hash);
    this.show();
  }

  title(head) {
    return head.firstChild.textContent.trim();
  }

  name(row) {
    return row.cells[0].querySelector("a").textContent;
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
      row.hidden = !pinned && wanted !== "" && !name.includes(wanted);
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
    this.showCompare();
  }

  sorted() {
    const sign = this.order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[this.column].dataset.value;
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
    const chosen = this.pinned().map((row) => row.dataset.model).sort();
    this.compare.replaceChildren();
    if (chosen.length === 1) this.compare.textContent = "Pin a second model to compare the two.";
    if (chosen.length !== 2) return;
    if (!this.pairs.has(chosen.join("/"))) {
      this.compare.textContent = "There is no page that compares these two.";
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
