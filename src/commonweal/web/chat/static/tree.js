// The messages of a conversation as a tree, and which branch is shown.

export class Tree {
  constructor() {
    this.messages = new Map();
    this.children = new Map(); // parent id or null -> ids
    this.shown = new Map(); // parent id or null -> the child that is shown
  }

  add(message) {
    const known = this.messages.has(message.id);
    this.messages.set(message.id, message);
    if (known) return;
    if (!this.children.has(message.parent)) this.children.set(message.parent, []);
    this.children.get(message.parent).push(message.id);
    this.shown.set(message.parent, message.id);
  }

  get(id) {
    return this.messages.get(id);
  }

  siblings(message) {
    return this.children.get(message.parent) ?? [];
  }

  show(id) {
    this.shown.set(this.get(id).parent, id);
  }

  // From the root to the last message that is shown.
  path() {
    const found = [];
    let at = this.shown.get(null);
    while (at !== undefined) {
      found.push(this.get(at));
      at = this.shown.get(at);
    }
    return found;
  }
}
