// What the tests of the page's looks ask it. Each gives a list of what is wrong.

// What is in front: the open dialog, or all.
const front = () => document.querySelector('dialog[open]') || document.body;
const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0;

const parts = (color) => {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { rgb: [red, green, blue], alpha };
};
const over = (front, back) => front.rgb.map((value, at) => value * front.alpha + back[at] * (1 - front.alpha));

// The colour behind an element's text.
function behind(element) {
  const layer = parts(getComputedStyle(element).backgroundColor);
  if (layer.alpha === 1) return layer.rgb;
  return over(layer, element.parentElement ? behind(element.parentElement) : [255, 255, 255]);
}

// The contrast of WCAG.
function contrast(one, other) {
  const light = (rgb) => {
    const [red, green, blue] = rgb.map((value) => value / 255).map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05);
}

// Texts that are hard to read, and the number of those that were looked at.
window.faint = () => {
  const texts = [];
  const walk = document.createTreeWalker(front(), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (walk.currentNode.data.trim() && shown(element)) texts.push([element, null, walk.currentNode.data]);
  }
  for (const element of front().querySelectorAll('*')) {
    if (!shown(element)) continue;
    for (const pseudo of ['::before', '::after']) {
      const { content } = getComputedStyle(element, pseudo);
      if (content.startsWith('"')) texts.push([element, pseudo, content]);
    }
    if (element.placeholder) texts.push([element, '::placeholder', element.placeholder]);
  }
  const found = texts.map(([element, pseudo, text]) => {
    const back = behind(element);
    const color = over(parts(getComputedStyle(element, pseudo).color), back);
    return { text, ratio: contrast(color, back) };
  });
  return { count: found.length, texts: found.filter((one) => one.ratio < 4.5) };
};

// Shows a badge, a state and an event of each kind, looks at them, and takes them away.
window.faintTones = () => {
  const made = [];
  const make = (into, name, style, inner) => {
    const node = document.createElement(name);
    node.className = style;
    (inner ? node.appendChild(document.createElement(inner)) : node).textContent = 'Sample';
    document.querySelector(into).append(node);
    made.push(node);
  };
  for (const tone of ['', 'good', 'warn', 'bad']) {
    make('.facts .row', 'span', 'badge ' + tone);
    make('.targets tr:last-child', 'td', 'is-' + tone);
    make('#log', 'li', tone, 'span');
  }
  const found = window.faint();
  made.forEach((node) => node.remove());
  return found;
};

const controls = () => [...front().querySelectorAll('button, input, select, [tabindex="0"]')].filter(shown);
// A label does what its checkbox does.
const area = (control) => control.type === 'checkbox' ? control.closest('label') : control;
const named = (control) => `${control.tagName} ${control.id || control.ariaLabel || control.textContent}`;

// Controls that are too small for a finger, outside of the window, or under something else.
window.unreachable = (width) => controls().filter((control) => {
  const target = area(control);
  target.scrollIntoView({ block: 'center' });
  const box = target.getBoundingClientRect();
  const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return box.width < 24 || box.height < 24 || box.left < 0 || box.right > width || box.top < 0 || box.bottom > innerHeight ||
    !(target.contains(hit) || hit?.control === control);
}).map(named);

// What is wider than the window or than the box in which it is.
window.wide = (width) => [...front().querySelectorAll('*')].filter((element) => shown(element) &&
  (element.getBoundingClientRect().right > width + 0.5 || element.tagName !== 'INPUT' && element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== 'inline'))
  .map(named);

// The focused control, and how it shows that.
window.focused = () => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    at: controls().indexOf(element), name: named(element),
    visible: outlineStyle === 'solid' && parseFloat(outlineWidth) >= 2 &&
      contrast(parts(outlineColor).rgb, behind(element.parentElement)) >= 3 && box.bottom > 0 && box.top < innerHeight,
  };
};
window.controlCount = () => controls().length;
