// Elements of the page. Text comes in as text alone: labels and names are never markup.

export const at = (id) => document.getElementById(id);

export function element(kind, change = {}, ...children) {
  const made = Object.assign(document.createElement(kind), change);
  made.append(...children);
  return made;
}

export function button(text, key, change = {}) {
  const made = element("button", change, `${text} `);
  if (key) made.append(element("kbd", {}, key));
  return made;
}

export function say(text, bad = false) {
  at("message").textContent = text;
  at("message").className = bad ? "bad" : "";
}

export const said = () => at("message").textContent;

export function image(url, change = {}) {
  return element("img", {draggable: false, ...change, src: url});
}
