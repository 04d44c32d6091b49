// What an edit changed, word by word.

const MOST = 4_000_000; // cells of the table: two texts of 2,000 words

// [["same" | "gone" | "new", text], ...], or null where the texts are too long to be compared.
export function difference(before, after) {
  const a = before.match(/\s+|\S+/g) ?? [];
  const b = after.match(/\s+|\S+/g) ?? [];
  if ((a.length + 1) * (b.length + 1) > MOST) return null;
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width); // common words from here to both ends
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * width + j] =
        a[i] === b[j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const parts = [];
  const add = (kind, text) => {
    const last = parts.at(-1);
    if (last?.[0] === kind) last[1] += text;
    else parts.push([kind, text]);
  };
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add("same", a[i++]);
      j++;
    } else if (j === b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      add("gone", a[i++]);
    } else {
      add("new", b[j++]);
    }
  }
  return parts;
}
