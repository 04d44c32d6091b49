// The page of one who joins: the command with the machine's name in it, and a word when that machine is there.

const PLAIN = /^[A-Za-z0-9_.-]+$/;

class JoinedWatch extends HTMLElement {
  connectedCallback() {
    this.since = Number(this.dataset.now);
    this.command = this.querySelector("[data-command]");
    this.connected = this.querySelector(".connected");
    this.connected.textContent = "";
    this.addName();
    this.addCopy();
    this.waits();
    this.closest("live-page").addEventListener("news", () => this.look());
    this.look();
  }

  addName() {
    const line = document.createElement("p");
    line.className = "form-line";
    const label = document.createElement("label");
    label.append("What to call this machine");
    this.name = document.createElement("input");
    this.name.maxLength = 80;
    this.name.autocomplete = "off";
    this.name.placeholder = "NAME";
    this.name.addEventListener("input", () => {
      const name = this.name.value.trim();
      const word = PLAIN.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
      this.command.textContent = this.command.dataset.command.replace("NAME", () => (name ? word : "NAME"));
      this.look();
    });
    label.append(this.name);
    line.append(label);
    this.command.before(line);
    this.line = line;
  }

  addCopy() {
    if (!navigator.clipboard) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy the command";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(this.command.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy the command"), 1500);
    });
    this.line.append(button);
  }

  waits() {
    if (!this.told) this.connected.textContent = "Waiting for your machine …";
  }

  // The machines that came since the page was opened; only the one of that name, if one was given.
  look() {
    const name = this.name.value.trim();
    const rows = [...this.querySelectorAll("[data-joined]")].filter(
      (row) => Number(row.dataset.joined) > this.since && (!name || row.dataset.name === name),
    );
    const told = rows.map((row) => row.dataset.key).join(" ");
    if (told === this.told) return;
    this.told = told;
    if (!rows.length) {
      this.waits();
      return;
    }
    const links = rows.map((row) => {
      const link = document.createElement("a");
      link.href = row.querySelector("a").getAttribute("href");
      link.textContent = row.dataset.name;
      return link;
    });
    const words = [];
    links.forEach((link, index) => words.push(index ? ", " : "", link));
    const one = rows.length === 1;
    this.connected.replaceChildren(
      one && name ? "Your machine is connected: " : one ? "A machine is connected: " : "These machines are connected: ",
      ...words,
      ". It is given work as soon as there is some.",
    );
  }
}

customElements.define("joined-watch", JoinedWatch);
