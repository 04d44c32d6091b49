// What was decided of an improvement: the gate's verdict, and the table of every measure that it rests on.

import { element, shown } from "./dom.js";

const OUTCOME = {
  better: "Better",
  worse: "Worse",
  same: "No difference beyond noise",
  unknown: "Cannot be told",
};

export function decisionView(decision) {
  const rows = decision.measures.map((measure) => {
    const { name, metric, outcome, current, candidate, change } = measure;
    const cells = [
      ["Measure", [element("span", { class: "measure-name" }, ...shown(name)), element("span", { class: "small" }, metric)]],
      ["Current", [number(current?.value)]],
      ["Candidate", [number(candidate?.value)]],
      ["Difference", interval(change)],
      ["Verdict", [element("span", { class: `outcome ${outcome}` }, OUTCOME[outcome]), why(measure)]],
    ];
    return element("tr", {}, ...cells.map(([label, inside], column) => cell(label, inside, column === 0)));
  });
  const heads = ["Measure", "Current", "Candidate", "Difference", "Verdict"];
  return element(
    "table",
    { class: "measures-table" },
    element("caption", { class: "unseen" }, "Every measure of both versions"),
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows),
  );
}

function cell(label, inside, first) {
  const content = element("span", { class: "cell" }, ...inside);
  return element(first ? "th" : "td", { scope: first ? "row" : null, "data-label": label }, content);
}

// Only where the numbers do not say it.
function why({ name, outcome, words }) {
  if (outcome !== "unknown") return null;
  return element("span", { class: "small" }, ...shown(words.replace(`${name}: `, "")));
}

function interval(change) {
  if (!change) return ["–"];
  const ends = `${signed(change.low)} to ${signed(change.high)}`;
  return [element("span", {}, signed(change.mean)), element("span", { class: "small" }, `${ends}, n = ${change.n}`)];
}

function number(value) {
  return value === null || value === undefined ? "–" : plain(value);
}

function signed(value) {
  if (value === null || value === undefined) return "?";
  return `${value < 0 ? "\u2212" : "+"}${plain(Math.abs(value))}`;
}

function plain(value) {
  const text = value !== 0 && Math.abs(value) < 0.001 ? value.toPrecision(2) : value.toFixed(3);
  return text.replace("-", "\u2212");
}
