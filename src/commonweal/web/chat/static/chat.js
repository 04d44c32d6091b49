// The page: who is in, which conversation is open, and what happens when something is asked.

import { Api, ApiError } from "./api.js";
import { codeDialog, parametersDialog, sure, termsDialog, yoursDialog } from "./dialogs.js";
import { $, element } from "./dom.js";
import { improveDialog } from "./improve.js";
import { reviewDialog } from "./review.js";
import { keep, key, parameters, read } from "./settings.js";
import { Shelf } from "./shelf.js";
import { Speech } from "./speech.js";
import { Tree } from "./tree.js";
import { draftsView, liveView, problemView, turnView, unanswered } from "./turns.js";
import { CONSENT, count, credits, problem } from "./words.js";

const PAGE = 30;

class Chat {
  constructor() {
    this.settings = read();
    this.speech = new Speech($("said"));
    this.shelf = new Shelf({ open: (id) => this.openConversation(id), older: () => this.olderConversations() });
    this.models = [];
    this.asking = null; // the AbortController of the answer that is being made
    this.parent = undefined; // where the next message goes, if not at the end
    this.begin();
    const dialogs = [parametersDialog, termsDialog, codeDialog, yoursDialog, improveDialog, reviewDialog];
    for (const dialog of dialogs) dialog(this);
  }

  // Who is in.

  async enter(secret) {
    const api = new Api(secret);
    const [terms, models] = await Promise.all([api.get("community/terms"), api.get("models")]);
    Object.assign(this, { api, terms, models: models.data });
    key.keep(secret);
    $("door").hidden = true;
    $("room").hidden = false;
    $("account").textContent = terms.account;
    for (const id of ["open-improve", "open-review"]) $(id).hidden = !terms.operator;
    this.fillModels();
    this.settingsChanged();
    await this.listConversations();
    $("text").focus();
  }

  leave() {
    key.forget();
    location.reload();
  }

  // After one was promoted.
  async refreshModels() {
    this.models = (await this.api.get("models")).data;
    this.fillModels();
  }

  fillModels() {
    const names = this.models.map((model) => model.id);
    // A link from a model's page names the model; it counts until another is chosen.
    const wanted = new URLSearchParams(location.search).get("model");
    if (names.includes(wanted)) {
      this.settings.model = wanted;
      history.replaceState(null, "", location.pathname);
    }
    const options = () => names.map((name) => element("option", { value: name }, name));
    $("model").replaceChildren(...options());
    $("rival").replaceChildren(...options());
    if (!names.includes(this.settings.model)) this.settings.model = names[0] ?? "";
    if (!names.includes(this.settings.rival)) {
      this.settings.rival = names.find((name) => name !== this.settings.model) ?? this.settings.model;
    }
    $("model").value = this.settings.model;
    $("rival").value = this.settings.rival;
    $("send").disabled = !names.length;
  }

  settingsChanged() {
    const model = this.models.find((one) => one.id === this.settings.model);
    $("facts").textContent = model ? facts(model) : "Nobody serves a model here yet: commonweal models publish makes one known.";
    $("open-terms").textContent = CONSENT[this.settings.consent](this.settings.licence);
    $("rival-picker").hidden = !$("blind").checked;
    const trusted = this.settings.trusted;
    const [first, ...others] = (this.terms?.read_by ?? "").split(". ");
    $("read-by").textContent = trusted ? "Only a machine of the operator, or your own, will read what you write." : `${first}.`;
    $("read-by").title = others.join(". ");
    keep(this.settings);
  }

  // Conversations.

  begin() {
    this.stop();
    this.asking = null;
    this.busy(false);
    Object.assign(this, { conversation: null, tree: new Tree(), feedback: new Map(), comparisons: new Map() });
    this.leaveBranch();
    this.render();
  }

  async listConversations() {
    const page = await this.api.get(`community/conversations?limit=${PAGE}`);
    this.shelf.fill(page.data, { more: page.has_more, current: this.conversation?.id });
  }

  async olderConversations() {
    const page = await this.api.get(`community/conversations?limit=${PAGE}&before=${this.shelf.oldest}`);
    this.shelf.fill(page.data, { more: page.has_more, current: this.conversation?.id, add: true });
  }

  async openConversation(id) {
    this.begin();
    this.shelf.draw(false);
    try {
      this.take(await this.api.get(`community/conversations/${id}`));
      await this.listConversations();
    } catch (error) {
      this.render();
      $("turns").append(problemView(problem(error), () => this.openConversation(id)));
    }
    $("log").scrollTop = $("log").scrollHeight;
    $("text").focus();
  }

  take({ messages, feedback, comparisons, ...conversation }) {
    const tree = new Tree();
    for (const message of messages) tree.add(message);
    Object.assign(this, { conversation, tree, feedback: new Map(), comparisons: new Map() });
    for (const given of feedback) {
      if (given.kind === "choice") continue;
      const known = this.feedback.get(given.message) ?? {};
      this.feedback.set(given.message, { ...known, [given.kind]: given });
    }
    for (const comparison of comparisons) {
      this.comparisons.set(comparison.id, comparison);
      if (comparison.choice) tree.show(comparison.choice === "second" ? comparison.second : comparison.first);
    }
    Object.assign(this.settings, { consent: conversation.consent, licence: conversation.licence });
    this.settingsChanged();
    this.render();
  }

  async deleteConversation() {
    const words = "It is deleted from this hub, and taken out of every data set that has it.";
    if (!(await sure("Delete this conversation?", words))) return;
    try {
      await this.api.send("DELETE", `community/conversations/${this.conversation.id}`);
      this.begin();
      await this.listConversations();
    } catch (error) {
      $("turns").append(problemView(problem(error), null));
    }
    $("text").focus();
  }

  async setTerms(consent, licence) {
    const before = { consent: this.settings.consent, licence: this.settings.licence };
    Object.assign(this.settings, { consent, licence });
    this.settingsChanged();
    if (!this.conversation) return;
    try {
      await this.api.send("PATCH", `community/conversations/${this.conversation.id}`, { consent, licence });
    } catch (error) {
      Object.assign(this.settings, before);
      this.settingsChanged();
      $("turns").append(problemView(`Your choice was not kept. ${problem(error)}`, null));
    }
  }

  // What is shown.

  render() {
    const path = this.tree.path();
    const views = [];
    for (const message of path) {
      const comparison = this.comparisons.get(message.drafts);
      if (comparison && !comparison.choice) views.push(draftsView(this, comparison));
      else views.push(turnView(this, message));
    }
    const last = path.at(-1);
    if (last?.role === "user" && !last.withheld && !this.asking) views.push(unanswered(() => this.again(last.id)));
    $("turns").replaceChildren(...views);
    $("empty").hidden = path.length > 0 || this.asking !== null;
    $("delete").hidden = !this.conversation;
    document.title = `${this.conversation?.title || "Chat"} · Commonweal`;
  }

  show(id) {
    this.tree.show(id);
    this.render();
  }

  // The branch as it would be sent by program, up to what is typed or was asked last.
  said() {
    const said = this.tree.path().map(({ role, content }) => ({ role, content }));
    const typed = $("text").value.trim();
    if (said.at(-1)?.role === "assistant" && !typed) said.pop();
    if (typed || !said.length) said.push({ role: "user", content: typed || "Hello" });
    return this.settings.system ? [{ role: "system", content: this.settings.system }, ...said] : said;
  }

  // Asking.

  askDifferently(message) {
    this.parent = message.parent;
    $("text").value = message.content;
    $("branch").hidden = false;
    grow();
    $("text").focus();
  }

  leaveBranch() {
    this.parent = undefined;
    $("branch").hidden = true;
  }

  submit() {
    const content = $("text").value;
    if (!content.trim() || this.asking || !this.settings.model) return;
    const last = this.tree.path().at(-1);
    const after = last?.role === "user" ? last.parent : (last?.id ?? null);
    const parent = this.parent === undefined ? after : this.parent;
    $("text").value = "";
    grow();
    this.leaveBranch();
    this.ask({ content, parent });
  }

  again(parent) {
    if (!this.asking) this.ask({ parent });
  }

  async ask(body) {
    const control = new AbortController();
    this.asking = control;
    this.busy(true);
    this.speech.begin();
    const blind = $("blind").checked;
    let failed = null;
    try {
      this.showWaiting(body);
      await this.ensureConversation();
      await (blind ? this.askTwo(body, control.signal) : this.askOne(body, control.signal));
    } catch (error) {
      if (error.name !== "AbortError") failed = error;
    }
    if (this.asking !== control) return; // another conversation was opened meanwhile
    this.asking = null;
    this.busy(false);
    await this.settle(control.signal.aborted, failed, body);
  }

  // The question as it was typed, below what it follows, while nothing has come back.
  showWaiting(body) {
    const path = this.tree.path();
    const at = path.findIndex((message) => message.id === body.parent);
    const kept = body.parent === null ? [] : path.slice(0, at + 1);
    $("turns").replaceChildren(...kept.map((message) => turnView(this, message)));
    if (body.content) {
      const text = element("div", { class: "text plain", dir: "auto" }, body.content);
      $("turns").append(element("article", { class: "question", "aria-label": "You" }, text));
    }
    $("empty").hidden = true;
    this.toEnd();
  }

  async ensureConversation() {
    if (this.conversation) return;
    const { consent, licence } = this.settings;
    this.conversation = await this.api.send("POST", "community/conversations", { consent, licence });
  }

  // The tokens that the smallest of these models reads; 0 where none says.
  window(...names) {
    const known = this.models.filter((model) => names.includes(model.id) && model.commonweal.window);
    return known.length ? Math.min(...known.map((model) => model.commonweal.window)) : 0;
  }

  async askOne(body, signal) {
    const live = liveView(this.settings.model);
    this.live = { text: () => live.text, id: null };
    $("turns").append(live.view);
    this.toEnd();
    const model = this.settings.model;
    const sent = { model, ...parameters(this.settings, this.window(model)), ...body };
    const events = this.api.stream(`community/conversations/${this.conversation.id}/messages`, sent, signal);
    for await (const event of events) {
      if (event.type === "began") {
        this.live.id = event.answer;
        this.tree.add(event.user);
        this.tree.show(event.user.id);
      } else if (event.type === "delta") {
        live.more(event.text);
        this.speech.more(event.text);
      } else {
        this.speech.end();
        this.tree.add(event.message);
        this.tree.show(event.message.id);
      }
    }
  }

  async askTwo(body, signal) {
    const waiting = element("p", { class: "note waiting" }, "Waiting for two drafts");
    $("turns").append(waiting);
    this.toEnd();
    const models = [this.settings.model, this.settings.rival];
    const sent = { models, ...parameters(this.settings, this.window(...models)), ...body };
    const made = await this.api.send("POST", `community/conversations/${this.conversation.id}/drafts`, sent);
    if (signal.aborted) return;
    const { user, drafts, ...comparison } = made;
    for (const message of [user, ...drafts]) this.tree.add(message);
    this.tree.show(user.id);
    this.comparisons.set(comparison.id, comparison);
    this.speech.say("Two drafts are there to compare.");
  }

  // After an answer, however it ended: what the hub has kept is what is shown.
  async settle(stopped, failed, body) {
    if (failed instanceof ApiError && failed.code === "invalid_api_key") return this.leave();
    const answer = this.live?.id;
    this.live = null;
    if (this.conversation && (stopped || failed)) await this.readAgain(stopped ? answer : null);
    this.render();
    if (failed) {
      const user = this.tree.path().at(-1);
      const lost = body.content && !(user?.role === "user" && (user.content === body.content || user.withheld));
      if (lost && !$("text").value) $("text").value = body.content;
      if (user?.role === "user") $("turns").lastElementChild?.matches(".note") && $("turns").lastElementChild.remove();
      const again = user?.role === "user" && !user.withheld ? () => this.again(user.id) : null;
      $("turns").append(problemView(failed instanceof ApiError ? problem(failed) : String(failed), again));
      if (!(failed instanceof ApiError)) throw failed;
    }
    this.toEnd();
    $("text").focus();
    this.listConversations().catch(() => {}); // the list is as it was
  }

  // The conversation as the hub has it; a stopped answer is written down a moment after the connection was closed.
  async readAgain(awaited) {
    for (let tries = 0; tries < 8; tries++) {
      try {
        const found = await this.api.get(`community/conversations/${this.conversation.id}`);
        if (!awaited || found.messages.some((message) => message.id === awaited) || tries === 7) {
          return this.take(found);
        }
      } catch {
        return;
      }
      await new Promise((wake) => setTimeout(wake, 100 * (tries + 1)));
    }
  }

  stop() {
    this.asking?.abort();
    if (this.asking) this.speech.say("Stopped.");
  }

  async choose(comparison, choice, comment) {
    const made = await this.api.send("POST", `community/comparisons/${comparison.id}`, { choice, comment });
    const { messages, feedback: _, ...decided } = made;
    for (const message of messages) this.tree.add(message);
    this.comparisons.set(decided.id, decided);
    this.tree.show(choice === "second" ? decided.second : decided.first);
    this.render();
    $("text").focus();
  }

  busy(on) {
    $("send").hidden = on;
    $("stop").hidden = !on;
    $("log").setAttribute("aria-busy", String(on));
  }

  toEnd() {
    $("log").scrollTop = $("log").scrollHeight;
  }
}

function facts(model) {
  const { parameters: size, window: context, price_out: price } = model.commonweal;
  const told = [model.id];
  if (size) told.push(`${count(size)} parameters`);
  if (context) told.push(`reads ${count(context)} tokens`);
  told.push(`${credits(price)} credits for 1,000 tokens`);
  return told.join(" · ");
}

// The field is as high as its text, up to the limit that the style sets.
function grow() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

const chat = new Chat();

async function login(secret) {
  $("login-problem").hidden = true;
  try {
    await chat.enter(secret);
  } catch (error) {
    key.forget();
    $("door").hidden = false;
    $("room").hidden = true;
    $("login-problem").textContent = error instanceof ApiError ? problem(error) : String(error);
    $("login-problem").hidden = false;
    $("key").focus();
    if (!(error instanceof ApiError)) throw error;
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  login($("key").value.trim());
  $("key").value = "";
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  chat.submit();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    chat.submit();
  }
});
$("text").addEventListener("input", grow);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (chat.asking) chat.stop();
  else if (!$("branch").hidden) chat.leaveBranch();
});
$("stop").addEventListener("click", () => chat.stop());
$("leave-branch").addEventListener("click", () => chat.leaveBranch());
$("new").addEventListener("click", () => {
  chat.begin();
  chat.shelf.draw(false);
  chat.listConversations().catch(() => {});
  $("text").focus();
});
$("delete").addEventListener("click", () => chat.deleteConversation());
$("blind").addEventListener("change", () => chat.settingsChanged());
for (const name of ["model", "rival"]) {
  $(name).addEventListener("change", () => {
    chat.settings[name] = $(name).value;
    chat.settingsChanged();
  });
}
// While an answer grows, its end stays in view for who is at the end.
$("turns").addEventListener("grown", () => {
  const log = $("log");
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 160) chat.toEnd();
});

const known = key.read();
if (known) login(known);
else {
  $("door").hidden = false;
  $("key").focus();
}
