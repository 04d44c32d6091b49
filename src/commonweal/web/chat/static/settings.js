// What this browser remembers: the key for as long as the tab is open, the parameters for longer.

const KEY = "commonweal.key";
const SETTINGS = "commonweal.settings";

const DEFAULTS = {
  model: "",
  rival: "",
  temperature: 0.7,
  maxTokens: 512,
  seed: null,
  system: "",
  trusted: false,
  consent: "none",
  licence: null,
};

export const key = {
  read: () => sessionStorage.getItem(KEY),
  keep: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export function read() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(SETTINGS) ?? "{}") };
  } catch {
    return { ...DEFAULTS };
  }
}

export function keep(settings) {
  localStorage.setItem(SETTINGS, JSON.stringify(settings));
}

// Of a small window an answer may take the half: what is asked needs a place too.
export function answerTokens(settings, window) {
  return window ? Math.min(settings.maxTokens, Math.max(1, Math.floor(window / 2))) : settings.maxTokens;
}

// What a request is sent of them, to models the smallest window of which is known.
export function parameters(settings, window) {
  return {
    temperature: settings.temperature,
    max_tokens: answerTokens(settings, window),
    trusted: settings.trusted,
    ...(settings.seed === null ? {} : { seed: settings.seed }),
    ...(settings.system ? { system: settings.system } : {}),
  };
}
