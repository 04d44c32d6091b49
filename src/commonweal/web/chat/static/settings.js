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

// What a request is sent of them.
export function parameters(settings) {
  return {
    temperature: settings.temperature,
    max_tokens: settings.maxTokens,
    trusted: settings.trusted,
    ...(settings.seed === null ? {} : { seed: settings.seed }),
    ...(settings.system ? { system: settings.system } : {}),
  };
}
