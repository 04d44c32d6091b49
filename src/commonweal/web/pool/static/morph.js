// Makes what stands on a page like what is wanted, and keeps every element that stays: its focus, its place in a
// selection and how far it was scrolled survive. Elements with a data-key are known by it, others by their place.

export function morph(from, to) {
  let place = from.firstChild;
  const keyed = new Map([...from.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  for (const wanted of [...to.childNodes]) {
    const key = wanted.dataset?.key;
    const have = key ? keyed.get(key) : alike(place, wanted) ? place : null;
    if (!have) {
      from.insertBefore(wanted, place);
      continue;
    }
    if (have === place) place = place.nextSibling;
    else from.insertBefore(have, place);
    if (key) keyed.delete(key);
    change(have, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function alike(one, other) {
  if (!one || one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
  return !one.dataset?.key;
}

function change(have, wanted) {
  if (have.nodeType !== Node.ELEMENT_NODE) {
    if (have.data !== wanted.data) have.data = wanted.data;
    return;
  }
  if (have.isEqualNode(wanted)) return;
  for (const { name, value } of [...wanted.attributes]) {
    if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  for (const { name } of [...have.attributes]) if (!wanted.hasAttribute(name)) have.removeAttribute(name);
  morph(have, wanted);
}
