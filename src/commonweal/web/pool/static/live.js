// A page that goes on: news of the hub come as Server-Sent Events and change the parts of the page that they name.
// A connection that is lost is made again, later and later; nothing is asked for while the page is not to be seen.

import { morph } from "./morph.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const SAY_EVERY = 20000;

const WORDS = { live: "Live", lost: "The hub does not answer. Trying again." };

class LivePage extends HTMLElement {
  connectedCallback() {
    this.wait = FIRST_WAIT;
    this.points = [];
    this.saidAt = 0;
    this.state = this.querySelector(".live-state");
    this.seen = () => (document.hidden ? this.close() : this.open());
    document.addEventListener("visibilitychange", this.seen);
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", this.seen);
    this.seen();
  }

  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.seen);
    this.close();
  }

  open() {
    if (this.source) return;
    const address = new URL(this.dataset.news, location.href);
    address.searchParams.set("after", this.points.at(-1)?.[0] ?? -1);
    const source = new EventSource(address);
    this.source = source;
    source.addEventListener("open", () => {
      this.wait = FIRST_WAIT;
      this.tell("live");
    });
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.tell("lost");
      // A browser tries again by itself after a break, but not after an answer that is none.
      if (source.readyState === EventSource.CLOSED) this.later();
    });
    source.addEventListener("parts", (event) => this.change(JSON.parse(event.data)));
    source.addEventListener("points", (event) => {
      const last = this.points.at(-1)?.[0] ?? -1;
      this.points.push(...JSON.parse(event.data).filter(([number]) => number > last));
      this.dispatchEvent(new CustomEvent("points"));
    });
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  later() {
    this.close();
    this.timer = setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }

  change(parts) {
    for (const [name, html] of Object.entries(parts)) {
      const part = this.querySelector(`live-part[data-part="${name}"]`);
      if (!part) continue;
      const wanted = document.createElement("template");
      wanted.innerHTML = html;
      morph(part, wanted.content);
    }
    this.dispatchEvent(new CustomEvent("news"));
    this.say();
  }

  // Readers of screens hear that a page is live or lost, and now and then how it stands; never every number.
  tell(state) {
    if (this.state.dataset.state === state) return;
    this.state.dataset.state = state;
    this.state.textContent = WORDS[state];
  }

  say() {
    const said = this.querySelector("[data-say]")?.textContent;
    if (!said || said === this.said || Date.now() - this.saidAt < SAY_EVERY) return;
    if (this.said !== undefined) {
      this.saidAt = Date.now();
      if (!this.voice) {
        this.voice = document.createElement("p");
        this.voice.className = "unseen";
        this.voice.setAttribute("role", "status");
        this.append(this.voice);
      }
      this.voice.textContent = said;
    }
    this.said = said;
  }
}

customElements.define("live-page", LivePage);
