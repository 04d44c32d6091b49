// Answers as formatted text: paragraphs, headings, lists, quotations, code, emphasis, links. Everything becomes elements
// and text nodes made here; there is no way from a text to markup. No HTML, no images. A link shows its whole address.

import { button, copy, element, shown } from "./dom.js";

const FENCE = /^ {0,3}(```+|~~~+)\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^ {0,3}>\s?(.*)$/;

// Show `text` in `place`, changing only the blocks that are not there yet: an answer grows at its end.
export function update(place, text) {
  const wanted = blocks(text);
  const have = place.blocks ?? [];
  for (let i = 0; i < wanted.length; i++) {
    if (have[i] === wanted[i].source) continue;
    const node = build(wanted[i]);
    if (i < place.children.length) place.children[i].replaceWith(node);
    else place.append(node);
  }
  while (place.children.length > wanted.length) place.lastElementChild.remove();
  place.blocks = wanted.map((block) => block.source);
}

function blocks(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const found = [];
  let at = 0;
  const take = (kind, while_) => {
    const from = at;
    at++;
    while (at < lines.length && while_(lines[at])) at++;
    found.push({ kind, lines: lines.slice(from, at) });
  };
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    if (!line.trim()) at++;
    else if (fence) {
      const from = at++;
      const closing = (l) => l.trim().startsWith(fence[1]) && !l.trim().replaceAll(fence[1][0], "");
      while (at < lines.length && !closing(lines[at])) at++;
      found.push({ kind: "code", language: fence[2].trim(), lines: lines.slice(from + 1, at) });
      at++;
    } else if (HEADING.test(line)) take("heading", () => false);
    else if (RULE.test(line)) take("rule", () => false);
    else if (QUOTE.test(line)) take("quote", (l) => QUOTE.test(l));
    else if (ITEM.test(line)) take("list", (l) => l.trim() && (ITEM.test(l) || /^\s+\S/.test(l)));
    else if (isTable(lines, at)) take("table", (l) => l.includes("|"));
    else take("paragraph", (l) => l.trim() && !starts(l));
  }
  for (const block of found) block.source = `${block.kind}\n${block.language ?? ""}\n${block.lines.join("\n")}`;
  return found;
}

const starts = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));
const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
const isTable = (lines, at) =>
  lines[at].includes("|") && at + 1 < lines.length && cells(lines[at + 1]).every((cell) => /^:?-+:?$/.test(cell));

function build(block) {
  switch (block.kind) {
    case "code":
      return code(block.lines.join("\n"), block.language);
    case "heading": {
      const [, marks, words] = HEADING.exec(block.lines[0]);
      return element(`h${Math.min(6, marks.length + 2)}`, { dir: "auto" }, ...inline(words));
    }
    case "rule":
      return element("hr");
    case "quote": {
      const place = element("blockquote");
      update(place, block.lines.map((line) => QUOTE.exec(line)[1]).join("\n"));
      return place;
    }
    case "list":
      return list(block.lines);
    case "table":
      return table(block.lines);
    default:
      return element("p", { dir: "auto" }, ...broken(block.lines));
  }
}

function broken(lines) {
  return lines.flatMap((line, i) => (i ? [element("br"), ...inline(line)] : inline(line)));
}

function code(text, language) {
  const copying = button("Copy", () => copy(text, copying), { class: "link" });
  const head = element("figcaption", {}, element("span", {}, ...shown(language || "code")), copying);
  return element("figure", { class: "code" }, head, element("pre", { tabindex: "0" }, element("code", {}, ...shown(text))));
}

// Items by their indentation: what is indented more belongs to the item before.
function list(lines) {
  const items = [];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && (!items.length || match[1].length < items[0].indent + 2)) {
      items.push({ indent: match[1].length, mark: match[2], first: match[3], rest: [] });
    } else items.at(-1).rest.push(line.slice(Math.min(line.search(/\S/), items.at(-1).indent + 2)));
  }
  const ordered = /\d/.test(items[0].mark);
  const start = ordered ? parseInt(items[0].mark, 10) : 1;
  const made = element(ordered ? "ol" : "ul", ordered && start !== 1 ? { start } : {});
  for (const item of items) {
    const within = element("div");
    if (item.rest.length) update(within, item.rest.join("\n"));
    made.append(element("li", { dir: "auto" }, ...inline(item.first), ...within.childNodes));
  }
  return made;
}

function table(lines) {
  const [head, , ...rows] = lines.map(cells);
  const row = (tag, texts) =>
    element("tr", {}, ...head.map((_, i) => element(tag, { dir: "auto" }, ...inline(texts[i] ?? ""))));
  const made = element("table", {}, element("thead", {}, row("th", head)), element("tbody", {}, ...rows.map((r) => row("td", r))));
  return element("div", { class: "table", tabindex: "0" }, made);
}

// Within a line. Each pattern is bounded, so that no text takes longer than its length says.
const SPAN = new RegExp(
  [
    "(?<tick>`{1,3})(?<code>[^`]{1,2000})\\k<tick>(?!`)",
    "!?\\[(?<label>[^\\[\\]]{0,300})\\]\\((?<href>https?://[^\\s()<>]{1,2000})\\)",
    "(?<url>https?://[^\\s<>\"'`]{1,2000}[^\\s<>\"'`.,;:!?)\\]])",
    "\\*\\*(?<strong>[^*\\s](?:[^*]{0,500}[^*\\s])?)\\*\\*",
    "(?<![\\w*])[*_](?<em>[^*_\\s](?:[^*_]{0,500}[^*_\\s])?)[*_](?![\\w*])",
  ].join("|"),
  "gu",
);

function inline(text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(SPAN)) {
    nodes.push(...shown(text.slice(from, match.index)), span(match));
    from = match.index + match[0].length;
  }
  nodes.push(...shown(text.slice(from)));
  return nodes;
}

function span({ 0: whole, groups }) {
  if (groups.code !== undefined) return element("code", {}, ...shown(groups.code));
  if (groups.href !== undefined) {
    if (whole.startsWith("!")) return element("span", {}, ...shown(whole));
    return link(groups.href, groups.label === groups.href ? "" : groups.label);
  }
  if (groups.url !== undefined) return link(groups.url, "");
  if (groups.strong !== undefined) return element("strong", {}, ...inline(groups.strong));
  return element("em", {}, ...inline(groups.em));
}

// Where a link leads is always told.
function link(href, label) {
  const attributes = { href, rel: "noopener noreferrer nofollow", target: "_blank", dir: "ltr" };
  const made = element("a", attributes, ...shown(href));
  return label ? element("span", {}, ...shown(label), " (", made, ")") : made;
}
