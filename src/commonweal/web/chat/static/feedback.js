// What is said of an answer: thumbs with reasons and a comment, and the answer as it should have been.

import { button, element } from "./dom.js";
import { problem, reason } from "./words.js";

// The buttons for an answer, and the place below them where its forms open.
export function feedbackOn(chat, message) {
  const place = element("div", { class: "form-place" });
  const good = button("Good", () => rate(1), { "aria-pressed": "false" });
  const bad = button("Bad", () => rate(-1), { "aria-pressed": "false" });
  const edit = button("Edit to ideal", () => amend(), { "aria-pressed": "false" });

  const given = () => chat.feedback.get(message.id) ?? {};
  const mark = () => {
    good.setAttribute("aria-pressed", String(given().thumb?.rating === 1));
    bad.setAttribute("aria-pressed", String(given().thumb?.rating === -1));
    edit.setAttribute("aria-pressed", String(Boolean(given().edit)));
    edit.textContent = given().edit ? "Your ideal" : "Edit to ideal";
  };
  const keep = (kind, value) => {
    chat.feedback.set(message.id, { ...given(), [kind]: value });
    mark();
  };
  const close = (back) => {
    place.replaceChildren();
    back?.focus();
  };
  const attempt = async (work, said) => {
    try {
      await work();
    } catch (error) {
      place.querySelector("[role=alert]")?.remove();
      place.append(element("p", { class: "problem", role: "alert" }, `${said} ${problem(error)}`));
    }
  };
  const put = (rating, reasons, comment) =>
    attempt(async () => {
      const sent = { rating, reasons, comment };
      keep("thumb", await chat.api.send("PUT", `community/messages/${message.id}/thumb`, sent));
    }, "Your rating was not kept.");

  async function rate(rating) {
    const before = given().thumb;
    if (before?.rating !== rating) await put(rating, [], "");
    if (given().thumb?.rating === rating) place.replaceChildren(why(rating));
  }

  function why(rating) {
    const thumb = given().thumb;
    const known = rating > 0 ? chat.terms.reasons.up : chat.terms.reasons.down;
    const boxes = known.map((name) => {
      const box = element("input", { type: "checkbox", value: name });
      box.checked = thumb.reasons.includes(name);
      return element("label", { class: "chip" }, box, reason(name));
    });
    const comment = element("textarea", { rows: "2", dir: "auto", "aria-label": "Comment", placeholder: "Comment" });
    comment.value = thumb.comment;
    const save = async () => {
      const reasons = boxes.map((label) => label.firstChild).filter((box) => box.checked);
      await put(rating, reasons.map((box) => box.value), comment.value);
      if (!place.querySelector("[role=alert]")) close(rating > 0 ? good : bad);
    };
    const remove = () =>
      attempt(async () => {
        await chat.api.send("DELETE", `community/messages/${message.id}/thumb`);
        keep("thumb", null);
        close(rating > 0 ? good : bad);
      }, "Your rating is still there.");
    return element(
      "fieldset",
      { class: "form" },
      element("legend", {}, rating > 0 ? "Kept as good. What was good?" : "Kept as bad. What was wrong?"),
      element("div", { class: "chips" }, ...boxes),
      comment,
      element(
        "div",
        { class: "buttons" },
        button("Take back", remove),
        button("Close", () => close(rating > 0 ? good : bad)),
        button("Save", save, { class: "primary" }),
      ),
    );
  }

  function amend() {
    const text = element("textarea", { rows: "8", dir: "auto", "aria-label": "The answer as it should have been" });
    text.value = given().edit?.ideal ?? message.content;
    const save = () =>
      attempt(async () => {
        const sent = { content: text.value };
        keep("edit", await chat.api.send("PUT", `community/messages/${message.id}/ideal`, sent));
        close(edit);
      }, "Your answer was not kept.");
    const remove = () =>
      attempt(async () => {
        await chat.api.send("DELETE", `community/messages/${message.id}/ideal`);
        keep("edit", null);
        close(edit);
      }, "Your answer is still there.");
    place.replaceChildren(
      element(
        "fieldset",
        { class: "form" },
        element("legend", {}, "The answer as it should have been"),
        text,
        element(
          "div",
          { class: "buttons" },
          given().edit ? button("Take back", remove) : null,
          button("Cancel", () => close(edit)),
          button("Save", save, { class: "primary" }),
        ),
      ),
    );
    text.focus();
    text.setSelectionRange(0, 0);
  }

  mark();
  return { buttons: [good, bad, edit], place };
}
