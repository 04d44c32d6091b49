// What the page says: errors in words, numbers with their units.

export function problem(error) {
  const wait = error.wait ? ` Try again in ${error.wait} ${error.wait === 1 ? "second" : "seconds"}.` : "";
  switch (error.code) {
    case "insufficient_quota":
      return "Your account has not enough credits for this. Lend a machine to earn some, or ask the operator.";
    case "overloaded":
    case "rate_limit_exceeded":
      return `All machines are busy.${wait || " Try again in a moment."}`;
    case "context_length_exceeded":
      return "This conversation is longer than the model can read. Ask for a shorter answer, or begin a new one.";
    case "worker_lost":
      return "The machine that was answering is gone. What came so far is kept.";
    case "broken_off":
      return "The connection broke off. What came so far is kept.";
    case "invalid_api_key":
      return "This key is not valid here.";
    case "storage_full":
      return "The hub has no space left. Its operator must make some.";
  }
  if (error.status === 0) return "The hub cannot be reached. Is it running, and is this computer online?";
  if (error.status === 503) return error.message || "No machine serves this model now.";
  return error.message || `The hub answered with an error (${error.status}).`;
}

export const CONSENT = {
  none: () => "Kept for you only",
  improve: () => "May train this hub’s models",
  publish: (licence) => `May be published, ${licence}`,
};

export function reason(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

export function credits(micro) {
  return (micro / 1e6).toLocaleString("en", { maximumFractionDigits: 6 });
}

export function count(number) {
  if (number >= 1e9) return `${(number / 1e9).toFixed(1)} billion`;
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)} million`;
  return number.toLocaleString("en");
}

// The figures of an answer: [[value, what it is], ...].
export function figures(spent) {
  if (!spent) return [];
  const found = [];
  const first = spent.first_token_seconds;
  const making = first === null ? spent.seconds : Math.max(spent.seconds - first, 1e-3);
  if (spent.completion_tokens > 1) found.push([(spent.completion_tokens / making).toFixed(1), "tokens/s"]);
  if (first !== null) found.push([`${first.toFixed(2)} s`, "to first token"]);
  found.push([spent.completion_tokens.toLocaleString("en"), spent.completion_tokens === 1 ? "token" : "tokens"]);
  if (spent.microcredits !== null) found.push([credits(spent.microcredits), "credits"]);
  return found;
}

export const FINISH = {
  length: "It reached the most tokens that you allow.",
  stopped: "You stopped it.",
  error: "It broke off.",
};
