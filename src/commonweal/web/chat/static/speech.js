// An answer for those who listen: each sentence is announced when it is complete, politely, once.

const END = /[.!?…。！？]["'”’)]*\s|\n/g;
const MOST = 6; // announcements that stay in the page

export class Speech {
  constructor(place) {
    this.place = place;
    this.rest = "";
  }

  begin() {
    this.rest = "";
    this.place.replaceChildren();
  }

  more(text) {
    this.rest += text;
    let end = 0;
    for (const match of this.rest.matchAll(END)) end = match.index + match[0].length;
    if (end) this.#say(this.rest.slice(0, end));
    this.rest = this.rest.slice(end);
  }

  end() {
    this.#say(this.rest);
    this.rest = "";
  }

  say(words) {
    this.#say(words);
  }

  #say(text) {
    if (!text.trim()) return;
    const line = document.createElement("p");
    line.textContent = text.trim();
    this.place.append(line);
    while (this.place.children.length > MOST) this.place.firstElementChild.remove();
  }
}
