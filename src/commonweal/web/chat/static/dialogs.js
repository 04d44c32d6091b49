// The dialogs: parameters, terms, code, the user's own data, and the question before something is deleted.

import { $, copy, element } from "./dom.js";
import { answerTokens, keep } from "./settings.js";
import { curl, python } from "./snippet.js";
import { problem } from "./words.js";

export function parametersDialog(chat) {
  const fields = { temperature: $("temperature"), maxTokens: $("max-tokens"), seed: $("seed"), system: $("system") };
  $("open-parameters").addEventListener("click", () => {
    for (const [name, field] of Object.entries(fields)) field.value = chat.settings[name] ?? "";
    $("trusted").checked = chat.settings.trusted;
    $("parameters").showModal();
  });
  $("parameters").querySelector("form").addEventListener("submit", () => {
    const number = (field, otherwise) => (field.value === "" ? otherwise : Number(field.value));
    Object.assign(chat.settings, {
      temperature: number(fields.temperature, 0.7),
      maxTokens: number(fields.maxTokens, 512),
      seed: number(fields.seed, null),
      system: fields.system.value,
      trusted: $("trusted").checked,
    });
    keep(chat.settings);
    chat.settingsChanged();
  });
}

export function termsDialog(chat) {
  const chosen = () => $("consents").querySelector("input:checked")?.value ?? "none";
  const licences = (consent) => chat.terms.consents.find((c) => c.id === consent).licences;
  const showLicences = (licence) => {
    const known = licences(chosen());
    $("licence").replaceChildren(...known.map((name) => element("option", { value: name }, name)));
    if (known.includes(licence)) $("licence").value = licence;
    $("licence-row").hidden = known.length < 2;
  };
  $("open-terms").addEventListener("click", () => {
    $("consents").replaceChildren(
      ...chat.terms.consents.map((consent) => {
        const input = element("input", { type: "radio", name: "consent", value: consent.id });
        input.checked = consent.id === chat.settings.consent;
        return element("label", { class: "choice" }, input, element("span", {}, consent.meaning));
      }),
    );
    showLicences(chat.settings.licence);
    $("terms").returnValue = "";
    $("terms").showModal();
  });
  $("consents").addEventListener("change", () => showLicences(null));
  $("terms").addEventListener("close", () => {
    if ($("terms").returnValue !== "save") return;
    const consent = chosen();
    const known = licences(consent);
    chat.setTerms(consent, known.length > 1 ? $("licence").value : (known[0] ?? null));
  });
}

export function codeDialog(chat) {
  const tabs = { python: $("tab-python"), curl: $("tab-curl") };
  const show = (which) => {
    const base = new URL("v1", location.href).href;
    const messages = chat.said();
    const make = which === "python" ? python : curl;
    const maxTokens = answerTokens(chat.settings, chat.window(chat.settings.model));
    $("snippet").textContent = make(base, { ...chat.settings, maxTokens }, messages);
    $("snippet").setAttribute("aria-labelledby", tabs[which].id);
    for (const [name, tab] of Object.entries(tabs)) {
      tab.setAttribute("aria-selected", String(name === which));
      tab.tabIndex = name === which ? 0 : -1;
    }
  };
  $("open-code").addEventListener("click", () => {
    show("python");
    $("code").showModal();
  });
  for (const [name, tab] of Object.entries(tabs)) {
    tab.addEventListener("click", () => show(name));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = name === "python" ? "curl" : "python";
      show(other);
      tabs[other].focus();
    });
  }
  $("copy-snippet").addEventListener("click", () => copy($("snippet").textContent, $("copy-snippet")));
}

export function yoursDialog(chat) {
  const attempt = async (work) => {
    $("yours-problem").hidden = true;
    try {
      await work();
    } catch (error) {
      $("yours-problem").textContent = problem(error);
      $("yours-problem").hidden = false;
    }
  };
  $("open-account").addEventListener("click", () => {
    $("yours-problem").hidden = true;
    $("yours").showModal();
  });
  $("export").addEventListener("click", () =>
    attempt(async () => {
      const address = URL.createObjectURL(await chat.api.download("community/me"));
      element("a", { href: address, download: "commonweal-my-data.json" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    }),
  );
  $("forget").addEventListener("click", async () => {
    const words = "They are deleted from this hub, and taken out of every data set that has them.";
    if (!(await sure("Delete all your conversations?", words))) return;
    await attempt(async () => {
      await chat.api.send("DELETE", "community/me");
      chat.begin();
      await chat.listConversations();
      $("yours").close();
    });
  });
  $("leave").addEventListener("click", () => {
    $("yours").close();
    chat.leave();
  });
}

// Whether the user means it. `no` and `yes` are what the buttons say.
export function sure(title, text, { no = "Keep", yes = "Delete" } = {}) {
  $("sure-no").textContent = no;
  $("sure-yes").textContent = yes;
  $("sure-title").textContent = title;
  $("sure-text").textContent = text;
  $("sure").returnValue = "no";
  $("sure").showModal();
  return new Promise((answer) => {
    $("sure").addEventListener("close", () => answer($("sure").returnValue === "yes"), { once: true });
  });
}
