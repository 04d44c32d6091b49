// Training on feedback: which model, guarded by what; how far it is; what was decided.

import { sure } from "./dialogs.js";
import { $, button, element, shown } from "./dom.js";
import { decisionView } from "./measures.js";
import { problem } from "./words.js";

const LOOK = 1000; // milliseconds
const PAGE = 10;
const STAGES = [
  ["queued", "Queued"],
  ["building", "Data set"],
  ["training", "Training"],
  ["scoring", "Scoring"],
  ["guarding", "Guards"],
];
const ENDED = { promoted: "Promoted", refused: "Refused", failed: "Failed", cancelled: "Cancelled" };

export function improveDialog(chat) {
  const dialog = $("improve");
  let guards = [];
  const chosen = new Set();
  let shownOne = null; // the improvement that is looked at
  let last = null; // the id behind which older ones follow
  let timer = null; // of the next look

  const fail = (error) => {
    $("improve-problem").textContent = error ? problem(error) : "";
    $("improve-problem").hidden = !error;
  };
  const attempt = async (work) => {
    try {
      fail(null);
      return await work();
    } catch (error) {
      fail(error);
      $("improve-problem").scrollIntoView({ block: "nearest" });
    }
  };

  function drawGuards() {
    const words = $("guard-search").value.toLowerCase().split(/\s+/);
    const found = guards.filter((guard) => {
      const text = `${guard.name} ${guard.title} ${guard.about}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    $("guards").replaceChildren(...found.map(guardView));
    if (!found.length) $("guards").append(element("li", { class: "small none" }, "No scenario has these words."));
    drawChosen();
  }

  function guardView(guard) {
    const box = element("input", { type: "checkbox", value: guard.name });
    box.checked = chosen.has(guard.name);
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(guard.name);
      else chosen.delete(guard.name);
      drawChosen();
    });
    const about = element(
      "span",
      { class: "guard-about" },
      element("span", { class: "guard-title" }, guard.title),
      element("span", { class: "small" }, guard.offline ? guard.name : `${guard.name} · downloads its data`),
    );
    return element("li", {}, element("label", { class: "choice", title: guard.about }, box, about));
  }

  function drawChosen() {
    const names = [...chosen];
    $("guards-chosen").textContent = names.length ? `Chosen: ${names.join(", ")}` : "None chosen: only feedback decides.";
  }

  // One improvement, as it is now.
  function draw(one) {
    const open = one.finished === null;
    const parts = [
      element("h3", {}, `${one.model}: ${open ? "under way" : ENDED[one.state].toLowerCase()}`),
      stagesView(one),
      one.detail ? element("p", { class: "small" }, ...shown(one.detail)) : null,
      one.error ? errorView(one.error) : null,
      one.decision ? element("p", { class: `verdict ${one.state}` }, ...shown(sentence(one.decision.reason))) : null,
      one.candidate && !open ? element("p", { class: "small" }, ...shown(whereIs(one))) : null,
      one.decision ? decisionView(one.decision) : null,
      one.dataset ? dataView(one) : null,
      linesView(one),
      open ? element("div", { class: "buttons" }, button("Cancel it", () => cancel(one), { class: "bad" })) : null,
    ];
    const before = $("improvement");
    const kept = new Set([...before.querySelectorAll("details[open]")].map((details) => details.dataset.kind));
    const focused = before.contains(document.activeElement) ? document.activeElement.textContent : null;
    before.replaceChildren(...parts.filter((part) => part !== null));
    for (const details of before.querySelectorAll("details")) if (kept.has(details.dataset.kind)) details.open = true;
    if (focused) {
      const same = [...before.querySelectorAll("button, summary")].find((one) => one.textContent === focused);
      (same ?? before).focus();
    }
    $("train").disabled = open;
  }

  function dataView(one) {
    const count = one.feedback === 1 ? "1 piece" : `${one.feedback} pieces`;
    const place = element("pre", { class: "manifest", tabindex: "0", "aria-label": "Manifest" }, "…");
    const details = element(
      "details",
      { "data-kind": "manifest" },
      element("summary", {}, `${count} of feedback went in: data set ${one.dataset}`),
      place,
      button("Download the manifest", () => attempt(() => download(one.dataset)), { class: "link" }),
    );
    details.addEventListener("toggle", async () => {
      if (!details.open || place.dataset.read) return;
      place.dataset.read = "yes";
      await attempt(async () => {
        const { manifest } = await chat.api.get(`community/datasets/${one.dataset}`);
        place.textContent = JSON.stringify(manifest, null, 2);
      });
    });
    return details;
  }

  async function download(dataset) {
    const address = URL.createObjectURL(await chat.api.download(`community/datasets/${dataset}`));
    element("a", { href: address, download: `${dataset}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  async function cancel(one) {
    const words = "Its fine-tuning job is stopped too. What was trained until now is paid.";
    if (!(await sure("Cancel this improvement?", words, { no: "Go on", yes: "Cancel it" }))) return;
    await attempt(async () => look(await chat.api.send("POST", `community/improvements/${one.id}/cancel`)));
  }

  // Show one, and go on looking while it is not over.
  function look(one) {
    const ended = shownOne?.id === one.id && shownOne.finished === null && one.finished !== null;
    const same = shownOne && JSON.stringify(shownOne) === JSON.stringify(one);
    shownOne = one;
    if (!same) draw(one);
    const told = `${one.model}: ${ENDED[one.state] ?? STAGES.find(([state]) => state === one.state)[1]}`;
    if ($("improve-said").textContent !== told) $("improve-said").textContent = told;
    clearTimeout(timer);
    if (one.finished === null) timer = setTimeout(() => again(one.id), LOOK);
    if (!ended) return;
    attempt(() => list());
    if (one.state === "promoted") attempt(() => chat.refreshModels());
  }

  async function again(id) {
    if (!dialog.open || shownOne?.id !== id) return;
    try {
      const one = await chat.api.get(`community/improvements/${id}`);
      fail(null);
      if (shownOne?.id === id) look(one);
    } catch (error) {
      fail(error); // the hub may be starting anew: it goes on where it was
      timer = setTimeout(() => again(id), 3 * LOOK);
    }
  }

  async function list(more = false) {
    const behind = more && last ? `&after=${last}` : "";
    const page = await chat.api.get(`community/improvements?limit=${PAGE}${behind}`);
    const rows = page.data.map((one) => {
      const state = ENDED[one.state] ?? "Under way";
      const told = `${one.model} · ${state} · ${new Date(one.created * 1000).toLocaleString()}`;
      const open = button(told, () => {
        look(one);
        $("improvement").focus();
        $("improvement").scrollIntoView({ block: "start" });
      }, { class: "link" });
      return element("li", {}, open);
    });
    if (more) $("improvements").append(...rows);
    else $("improvements").replaceChildren(...rows);
    last = page.last_id;
    $("improved").hidden = !$("improvements").children.length;
    $("more-improvements").hidden = !page.has_more;
    return page.data;
  }

  $("open-improve").addEventListener("click", async () => {
    chat.shelf.draw(false);
    fail(null);
    const trainable = chat.models.filter((model) => model.commonweal.kind !== "fronted");
    const own = trainable.filter((model) => model.owned_by === chat.terms.account);
    $("improve-model").replaceChildren(...own.map(({ id }) => element("option", { value: id }, id)));
    if (own.some(({ id }) => id === chat.settings.model)) $("improve-model").value = chat.settings.model;
    $("train").disabled = !own.length;
    dialog.showModal();
    await attempt(async () => {
      const [known, [newest]] = await Promise.all([chat.api.get("community/guards"), list()]);
      guards = known.data;
      drawGuards();
      if (newest && newest.finished === null) look(newest);
      else if (shownOne) look(await chat.api.get(`community/improvements/${shownOne.id}`));
    });
  });
  $("guard-search").addEventListener("input", drawGuards);
  $("guard-search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault(); // it searches, and does not train
  });
  $("improve-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("train").disabled) return;
    $("train").disabled = true;
    const sent = {
      model: $("improve-model").value,
      guards: [...chosen],
      instances: Number($("improve-instances").value),
    };
    const made = await attempt(() => chat.api.send("POST", "community/improvements", sent));
    if (!made) return ($("train").disabled = false);
    look(made);
    $("improvement").scrollIntoView({ block: "start" });
    await attempt(() => list());
  });
  $("more-improvements").addEventListener("click", () => attempt(() => list(true)));
  $("close-improve").addEventListener("click", () => dialog.close());
}

function stagesView(one) {
  const reached = STAGES.filter(([state]) => state in one.stages).length;
  const over = one.finished !== null;
  const items = STAGES.map(([state, words], place) => {
    const now = !over && state === one.state;
    const done = place < reached && !now;
    const stopped = done && (one.state === "failed" || one.state === "cancelled") && place === reached - 1;
    const kind = now ? "now" : stopped ? "stopped" : done ? "done" : "ahead";
    return element("li", { class: kind, "aria-current": now ? "step" : null }, words);
  });
  const end = element("li", { class: over ? `end ${one.state}` : "ahead" }, ENDED[one.state] ?? "Decision");
  return element("ol", { class: "stages" }, ...items, end);
}

function linesView(one) {
  if (!one.lines.length) return null;
  const lines = one.lines.map(({ at, text }) => {
    const time = element("time", { datetime: new Date(at * 1000).toISOString() }, new Date(at * 1000).toLocaleTimeString());
    return element("li", {}, time, element("span", {}, ...shown(text)));
  });
  return element(
    "details",
    { "data-kind": "lines" },
    element("summary", {}, "What was said"),
    element("ol", { class: "lines" }, ...lines),
  );
}

function whereIs({ model, current, candidate, state }) {
  if (state === "promoted") return `${model}:latest is now ${candidate}. It was compared with ${current}.`;
  return `The candidate is kept as ${candidate}. It was compared with ${current}.`;
}

function errorView({ message, hint }) {
  const first = element("p", {}, ...shown(sentence(message)));
  return element("div", { class: "problem" }, first, hint ? element("p", {}, ...shown(sentence(hint))) : null);
}

function sentence(text) {
  const ended = /[.?!]$/.test(text) ? text : `${text}.`;
  return ended[0].toUpperCase() + ended.slice(1);
}
