// The review queue: what waits for a person, what it is about, and the decision.

import { difference } from "./diff.js";
import { $, button, element, shown } from "./dom.js";
import { problem, reason } from "./words.js";

const PAGE = 20;
const STATUS = { pending: "Waiting", accepted: "Accepted", refused: "Refused" };

export function reviewDialog(chat) {
  const dialog = $("review");
  let status = "pending";
  let last = null;

  const attempt = async (work) => {
    $("review-problem").hidden = true;
    try {
      return await work();
    } catch (error) {
      $("review-problem").textContent = problem(error);
      $("review-problem").hidden = false;
      $("review-problem").scrollIntoView({ block: "nearest" });
    }
  };

  const tabs = Object.keys(STATUS).map((name) => {
    const tab = button(STATUS[name], () => choose(name), { role: "tab", id: `reviews-${name}`, "aria-controls": "reviews" });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
    return tab;
  });
  $("review-status").append(...tabs);

  function count(counts) {
    Object.keys(STATUS).forEach((name, place) => {
      tabs[place].textContent = `${STATUS[name]} (${counts[name].toLocaleString("en")})`;
      tabs[place].setAttribute("aria-selected", String(name === status));
      tabs[place].tabIndex = name === status ? 0 : -1;
    });
    $("reviews").setAttribute("aria-labelledby", `reviews-${status}`);
    $("open-review").textContent = counts.pending ? `Review (${counts.pending.toLocaleString("en")})` : "Review";
  }

  async function list(more = false) {
    const wanted = status;
    const behind = more && last ? `&after=${last}` : "";
    const page = await chat.api.get(`community/reviews?status=${wanted}&limit=${PAGE}${behind}`);
    if (wanted !== status) return;
    const views = page.data.map((one) => reviewView(one));
    if (more) $("reviews").append(...views);
    else $("reviews").replaceChildren(...views);
    last = page.last_id;
    $("more-reviews").hidden = !page.has_more;
    count(page.counts);
    drawEmpty();
  }

  function drawEmpty() {
    if ($("reviews").children.length) return;
    const words = { pending: "Nothing waits for you.", accepted: "Nothing was accepted yet.", refused: "Nothing was refused." };
    $("reviews").replaceChildren(element("p", { class: "small none" }, words[status]));
  }

  async function choose(name) {
    status = name;
    last = null;
    await attempt(() => list());
  }

  function reviewView(one) {
    const why = element("input", { type: "text", "aria-label": "Reason", placeholder: "Reason", maxlength: "2000" });
    const trouble = element("p", { class: "problem", role: "alert", hidden: true });
    const decide = async (to) => {
      trouble.hidden = true;
      if (!why.value.trim() && (to === "refused" || one.status !== "pending")) {
        trouble.textContent = to === "refused" ? "A refusal needs a reason." : "A change of mind needs a reason.";
        trouble.hidden = false;
        return why.focus();
      }
      try {
        const after = await chat.api.send("POST", `community/reviews/${one.id}`, { status: to, why: why.value });
        const next = view.nextElementSibling ?? view.previousElementSibling;
        view.remove();
        count(after.counts);
        $("review-said").textContent = `${STATUS[to]}: ${kindOf(one)} of ${one.account}`;
        (next?.querySelector(".decide button") ?? $("reviews")).focus();
        drawEmpty();
        if (!next && !$("more-reviews").hidden) await attempt(() => list());
      } catch (error) {
        trouble.textContent = problem(error);
        trouble.hidden = false;
      }
    };
    const buttons = [
      one.status === "accepted" ? null : button("Accept", () => decide("accepted"), { class: "primary" }),
      one.status === "refused" ? null : button("Refuse", () => decide("refused"), { class: "bad" }),
    ];
    const view = element(
      "article",
      { class: "review", "aria-label": `${kindOf(one)} of ${one.account}` },
      headView(one),
      ...aboutView(one),
      one.status === "pending" ? null : historyView(one),
      trouble,
      element("div", { class: "decide" }, why, ...buttons),
    );
    return view;
  }

  $("open-review").addEventListener("click", async () => {
    chat.shelf.draw(false);
    dialog.showModal();
    await choose("pending");
  });
  $("more-reviews").addEventListener("click", () => attempt(() => list(true)));
  $("close-review").addEventListener("click", () => dialog.close());
}

function kindOf(one) {
  if (!one.feedback) return "Flagged message";
  return { thumb: "Thumb", edit: "Edit", choice: "Comparison" }[one.feedback.kind];
}

function headView(one) {
  const when = new Date(one.created * 1000);
  const time = element("time", { datetime: when.toISOString() }, when.toLocaleString());
  const because = one.because.map((text) => element("li", {}, ...shown(text)));
  return element(
    "div",
    {},
    element("p", { class: "review-head" }, element("strong", {}, kindOf(one)), ` of ${one.account} · `, time),
    because.length ? element("ul", { class: "because small", "aria-label": "Why a person must look" }, ...because) : null,
  );
}

// The conversation up to the message in question, then what was said of it.
function aboutView(one) {
  const given = one.feedback;
  const subject = one.messages.at(-1);
  const replaced = given?.kind === "edit" || given?.kind === "choice";
  const before = replaced ? one.messages.slice(0, -1) : one.messages;
  const views = before.map((message) => block(message.role === "user" ? "Question" : "Answer", message));
  if (given?.kind === "edit") views.push(...editView(subject.content, given.ideal));
  if (given?.kind === "choice") {
    views.push(block(given.tie ? "One answer" : "The better answer", subject));
    views.push(block(given.tie ? "The other, as good" : "The other answer", { content: one.other ?? "", flags: [] }));
  }
  if (given?.kind === "thumb") {
    const told = [given.rating > 0 ? "Good" : "Bad", ...given.reasons.map(reason)].join(" · ");
    views.push(element("p", { class: "given" }, told));
  }
  if (given?.comment) views.push(block("Comment", { content: given.comment, flags: [] }));
  return views;
}

function block(label, { content, flags }) {
  const head = flags?.length ? `${label} · flagged: ${flags.join(", ")}` : label;
  return element(
    "div",
    { class: "block" },
    element("p", { class: "small label" }, ...shown(head)),
    element("div", { class: "text plain", dir: "auto" }, ...shown(content)),
  );
}

function editView(before, after) {
  const parts = difference(before, after);
  if (!parts) return [block("Answer", { content: before, flags: [] }), block("As it should have been", { content: after, flags: [] })];
  const tags = { same: "span", gone: "del", new: "ins" };
  const text = parts.map(([kind, words]) => element(tags[kind], {}, ...shown(words)));
  return [
    element(
      "div",
      { class: "block" },
      element("p", { class: "small label" }, "Answer, and as it should have been: ", element("del", {}, "gone"), " ", element("ins", {}, "new")),
      element("div", { class: "text plain edit", dir: "auto" }, ...text),
    ),
  ];
}

function historyView(one) {
  const steps = one.history.map(({ status, by, why }) => {
    const told = `${STATUS[status]} by ${by === "auto" ? "the rules" : by}`;
    return element("li", {}, ...shown(why ? `${told}: ${why}` : told));
  });
  return element("ul", { class: "because small", "aria-label": "What was decided" }, ...steps);
}
