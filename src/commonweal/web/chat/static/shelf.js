// The list of conversations, which on a narrow screen is a drawer.

import { $, button, element } from "./dom.js";

const NARROW = matchMedia("(max-width: 899px)");

export class Shelf {
  constructor({ open, older }) {
    this.open = open;
    this.found = [];
    $("open-shelf").addEventListener("click", () => this.draw(true));
    $("close-shelf").addEventListener("click", () => this.draw(false));
    $("veil").addEventListener("click", () => this.draw(false));
    $("more").addEventListener("click", older);
    $("shelf").addEventListener("keydown", (event) => event.key === "Escape" && this.draw(false));
    NARROW.addEventListener("change", () => this.draw(false));
    this.draw(false);
  }

  // Open or shut the drawer. Beside a wide page there is none.
  draw(open) {
    const narrow = NARROW.matches;
    const was = document.body.classList.contains("shelf-open");
    document.body.classList.toggle("shelf-open", open && narrow);
    $("shelf").inert = narrow && !open;
    $("talk").inert = narrow && open;
    $("veil").hidden = !(open && narrow);
    $("open-shelf").setAttribute("aria-expanded", String(open && narrow));
    if (open && narrow) $("new").focus();
    else if (was) $("open-shelf").focus();
  }

  get oldest() {
    return this.found.at(-1)?.updated;
  }

  fill(page, { more, current, add = false }) {
    this.found = add ? [...this.found, ...page] : page;
    const items = this.found.map((one) => {
      const title = one.title || "Untitled";
      const attributes = one.id === current ? { "aria-current": "page", title } : { title };
      return element("li", {}, button(title, () => this.open(one.id), { dir: "auto", ...attributes }));
    });
    $("conversations").replaceChildren(...items);
    $("more").hidden = !more;
  }
}
