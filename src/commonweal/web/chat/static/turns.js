// A message as it is shown: a question, an answer with its figures and buttons, or two drafts to compare.

import { button, copy, element, shown } from "./dom.js";
import { feedbackOn } from "./feedback.js";
import { update } from "./markdown.js";
import { FINISH, figures, problem } from "./words.js";

export function turnView(chat, message) {
  return message.role === "user" ? question(chat, message) : answer(chat, message);
}

function question(chat, message) {
  const text = message.withheld
    ? element("p", { class: "note" }, `Withheld until a person has looked at it (${message.flags.join(", ")}).`)
    : element("div", { class: "text plain", dir: "auto" }, ...shown(message.content));
  const buttons = message.withheld ? [] : [button("Ask differently", () => chat.askDifferently(message), { class: "link" })];
  return element(
    "article",
    { class: "question", "aria-label": "You" },
    text,
    element("div", { class: "acts" }, siblings(chat, message), ...buttons),
  );
}

function answer(chat, message) {
  const body = element("div", { class: "text", dir: "auto" });
  const notes = [];
  if (message.withheld) {
    notes.push(`This answer is withheld until a person has looked at it (${message.flags.join(", ")}).`);
  } else update(body, message.content);
  for (const call of message.tool_calls ?? []) notes.push(`It asks for the tool ${call.name}(${call.arguments}).`);
  for (const run of message.tool_runs ?? []) notes.push(`The hub ran ${run.name}(${run.arguments}): ${run.output}`);
  const sources = [...new Set((message.passages ?? []).map((passage) => passage.filename))];
  if (sources.length) notes.push(`It was given passages of ${sources.join(", ")}.`);
  if (FINISH[message.finish]) notes.push(FINISH[message.finish]);
  const { buttons, place } = feedbackOn(chat, message);
  const copying = button("Copy", () => copy(message.content, copying));
  return element(
    "article",
    { class: "answer", "aria-label": `Answer of ${message.source.model}` },
    body,
    ...notes.map((note) => element("p", { class: "note" }, ...shown(note))),
    chosenNote(chat, message),
    measures(message),
    element(
      "div",
      { class: "acts" },
      siblings(chat, message),
      ...(message.withheld ? [] : buttons),
      button("Again", () => chat.again(message.parent)),
      message.withheld ? null : copying,
    ),
    place,
  );
}

function measures(message) {
  const told = figures(message.spent).map(([value, what]) =>
    element("span", {}, element("b", {}, value), ` ${what}`),
  );
  return element("p", { class: "measures" }, element("span", { class: "model" }, message.source.model), ...told);
}

// Which of several answers, or questions, this is, and the way to the others.
function siblings(chat, message) {
  const all = chat.tree.siblings(message);
  if (all.length < 2) return null;
  const at = all.indexOf(message.id);
  const go = (step) => chat.show(all[at + step]);
  const what = message.role === "user" ? "question" : "answer";
  return element(
    "span",
    { class: "siblings" },
    button("‹", () => go(-1), { "aria-label": `The ${what} before`, disabled: at === 0 }),
    element("span", { "aria-label": `${what} ${at + 1} of ${all.length}` }, `${at + 1}/${all.length}`),
    button("›", () => go(1), { "aria-label": `The next ${what}`, disabled: at === all.length - 1 }),
  );
}

function chosenNote(chat, message) {
  const comparison = chat.comparisons.get(message.drafts);
  if (!comparison?.choice) return null;
  const model = (id) => chat.tree.get(id)?.source?.model ?? "another model";
  const drafts = `draft A was by ${model(comparison.first)}, draft B by ${model(comparison.second)}.`;
  const words = { first: "You found A better: ", second: "You found B better: ", tie: "You found them alike: " };
  return element("p", { class: "note" }, words[comparison.choice] + drafts);
}

// An answer that is being made; `more` adds to it.
export function liveView(model) {
  const body = element("div", { class: "text", dir: "auto" });
  const waiting = element("p", { class: "note waiting" }, `Waiting for ${model}`);
  const view = element("article", { class: "answer live", "aria-label": `Answer of ${model}`, "aria-busy": "true" }, body, waiting);
  let text = "";
  let drawn = null;
  const draw = () => {
    drawn = null;
    update(body, text);
    view.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  };
  return {
    view,
    more(piece) {
      waiting.remove();
      text += piece;
      drawn ??= requestAnimationFrame(draw);
    },
    get text() {
      return text;
    },
  };
}

// Two drafts whose models nobody is told yet.
export function draftsView(chat, comparison) {
  const comment = element("input", { type: "text", dir: "auto", placeholder: "Why? (if you like)", "aria-label": "Why?" });
  const place = element("div");
  const choose = async (choice) => {
    try {
      await chat.choose(comparison, choice, comment.value);
    } catch (error) {
      place.replaceChildren(element("p", { class: "problem", role: "alert" }, problem(error)));
    }
  };
  const draft = (id, name) => {
    const body = element("div", { class: "text", dir: "auto" });
    update(body, chat.tree.get(id).content);
    return element("section", { "aria-label": `Draft ${name}` }, element("h2", {}, `Draft ${name}`), body);
  };
  return element(
    "article",
    { class: "drafts", "aria-label": "Two drafts to compare" },
    element("div", { class: "columns" }, draft(comparison.first, "A"), draft(comparison.second, "B")),
    comment,
    element(
      "div",
      { class: "choices" },
      button("A is better", () => choose("first")),
      button("Alike", () => choose("tie")),
      button("B is better", () => choose("second")),
    ),
    place,
  );
}

export function problemView(words, again) {
  return element(
    "div",
    { class: "problem", role: "alert" },
    element("p", {}, words),
    again ? button("Try again", again) : null,
  );
}

export function unanswered(again) {
  return element("p", { class: "note" }, "This question has no answer. ", button("Ask for one", again, { class: "link" }));
}
