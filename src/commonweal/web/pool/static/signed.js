// What only the holder of a key may see. The key is the chat page's: it stays in this tab, and goes to this hub alone.

const KEY = "commonweal.key";

class SignedIn extends HTMLElement {
  connectedCallback() {
    this.key = sessionStorage.getItem(KEY) ?? "";
    this.form = this.makeForm();
    this.place = document.createElement("div");
    this.trouble = document.createElement("p");
    this.trouble.className = "failed";
    this.trouble.setAttribute("role", "status");
    this.append(this.form, this.trouble, this.place);
    this.place.addEventListener("click", (event) => {
      const before = event.target.dataset.before;
      if (before) this.more(event.target, before);
    });
    this.shown();
    if (this.key) this.load();
  }

  makeForm() {
    const form = document.createElement("form");
    form.className = "form-line";
    const label = document.createElement("label");
    label.append("Your key");
    this.input = document.createElement("input");
    this.input.type = "password";
    this.input.autocomplete = "off";
    this.input.required = true;
    label.append(this.input);
    this.button = document.createElement("button");
    form.append(label, this.button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.key) this.forget();
      else this.enter(this.input.value.trim());
    });
    return form;
  }

  shown() {
    this.button.textContent = this.key ? "Forget the key" : "Sign in";
    this.input.parentElement.hidden = Boolean(this.key);
    this.input.required = !this.key;
  }

  async enter(key) {
    this.key = key;
    if (await this.load()) sessionStorage.setItem(KEY, key);
    else this.key = "";
    this.input.value = "";
    this.shown();
  }

  forget() {
    sessionStorage.removeItem(KEY);
    this.key = "";
    this.place.replaceChildren();
    this.trouble.textContent = "";
    this.shown();
    this.input.focus();
  }

  async load() {
    const found = await this.ask("");
    if (found) this.place.replaceChildren(found);
    return found !== null;
  }

  async more(button, before) {
    button.disabled = true;
    const found = await this.ask(`?before=${before}`);
    if (found) button.parentElement.replaceWith(found);
    else button.disabled = false;
  }

  async ask(query) {
    this.trouble.textContent = "";
    try {
      const answer = await fetch(new URL(this.dataset.part + query, location.href), {
        headers: { Authorization: `Bearer ${this.key}` },
      });
      const text = await answer.text();
      if (!answer.ok) {
        this.trouble.textContent = JSON.parse(text).error.message;
        return null;
      }
      const wanted = document.createElement("template");
      wanted.innerHTML = text;
      return wanted.content;
    } catch {
      this.trouble.textContent = "The hub does not answer.";
      return null;
    }
  }
}

customElements.define("signed-in", SignedIn);
