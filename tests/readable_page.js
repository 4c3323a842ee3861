// What a reader of this page could not read: a list of complaints, each "what: where". WCAG 2.2 AA for contrast.
const complaints = new Set();
const complain = (what, text) => complaints.add(`${what}: ${text.trim().slice(0, 90)}`);
const SLACK = 1.5; // pixels: rounding of layout
const SMALLEST = 11; // pixels as rendered: the text of a chart

if (document.documentElement.scrollWidth > window.innerWidth) complain("wider than the window", document.title);

const isShown = (element) =>
  element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) &&
  !element.closest(".visually-hidden, .skip, noscript") && getComputedStyle(element).clipPath === "none" &&
  ![...ancestors(element)].some((one) => getComputedStyle(one).clipPath !== "none");
function* ancestors(element) {
  for (let one = element.parentElement; one; one = one.parentElement) yield one;
}
const texts = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode;
  const parent = node.parentElement;
  if (node.data.trim() && !parent.closest("script, style, title, option") && isShown(parent)) texts.push(node);
}
const boxOf = (node, from = 0, to = node.data.length) => {
  const range = document.createRange();
  range.setStart(node, from);
  range.setEnd(node, to);
  return range;
};

// Text that is cut: by an ancestor that hides what goes beyond it, without a way to scroll or an ellipsis.
for (const element of document.body.querySelectorAll("*")) {
  if (element.closest("svg") || !element.textContent.trim() || !isShown(element)) continue;
  const { overflowX, overflowY, textOverflow, display } = getComputedStyle(element);
  if (display === "inline") continue;
  const hides = (overflow) => ["hidden", "clip"].includes(overflow);
  const wide = hides(overflowX) && element.scrollWidth > element.clientWidth + SLACK && textOverflow !== "ellipsis";
  const high = hides(overflowY) && element.scrollHeight > element.clientHeight + SLACK;
  if (wide || high) complain("cut", element.textContent);
}
// Text that leaves the page at the side, in no part that scrolls.
const scrolls = (element) => [...ancestors(element)].some((one) => ["auto", "scroll"].includes(getComputedStyle(one).overflowX));
for (const node of texts) {
  const { left, right } = boxOf(node).getBoundingClientRect();
  const beyond = left < -SLACK || right > document.documentElement.clientWidth + SLACK;
  if (beyond && !scrolls(node.parentElement)) complain("outside the page", node.data);
  // A word of usual length that is broken without a hyphen: its column is too narrow.
  if (node.parentElement.closest("svg")) continue;
  for (const word of node.data.matchAll(/[\p{L}\p{N}_.]{2,14}/gu)) {
    const whole = !/[\p{L}\p{N}_.]/u.test((node.data[word.index - 1] ?? " ") + (node.data[word.index + word[0].length] ?? " "));
    const lines = new Set([...boxOf(node, word.index, word.index + word[0].length).getClientRects()].map((box) => Math.round(box.top)));
    if (whole && lines.size > 1) complain("a word broken to letters", word[0]);
  }
}

// Charts: texts within the drawing, and none upon another.
for (const drawing of document.querySelectorAll("svg")) {
  if (!isShown(drawing.parentElement)) continue;
  const frame = drawing.getBoundingClientRect();
  const shown = [...drawing.querySelectorAll("text")].filter((text) => text.textContent.trim());
  const boxes = shown.map((text) => text.getBoundingClientRect());
  shown.forEach((text, number) => {
    const box = boxes[number];
    const scale = Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b);
    const size = Number.parseFloat(getComputedStyle(text.querySelector("tspan") ?? text).fontSize) * scale;
    if (size < SMALLEST) complain(`${size.toFixed(1)} pixels of text in a chart`, text.textContent);
    if (box.left < frame.left - SLACK || box.right > frame.right + SLACK || box.top < frame.top - SLACK || box.bottom > frame.bottom + SLACK) {
      complain("outside its chart", text.textContent);
    }
    for (let other = 0; other < number; other++) {
      const across = Math.min(box.right, boxes[other].right) - Math.max(box.left, boxes[other].left);
      const along = Math.min(box.bottom, boxes[other].bottom) - Math.max(box.top, boxes[other].top);
      // A line's box is higher than its letters.
      if (across > 1 && along > 0.3 * Math.min(box.height, boxes[other].height)) {
        complain("texts upon one another", `${text.textContent} and ${shown[other].textContent}`);
      }
    }
  });
}

// Contrast. Any CSS colour as red, green, blue and alpha, by a canvas.
const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
const known = new Map();
const rgba = (colour) => {
  if (!known.has(colour)) {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    known.set(colour, [red, green, blue, alpha / 255]);
  }
  return known.get(colour);
};
const over = ([r, g, b, a], below) => [r, g, b].map((channel, place) => channel * a + below[place] * (1 - a));
const luminance = (colour) => {
  const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const opacityOf = (element, end) => {
  let opacity = 1;
  for (let one = element; one && one !== end; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
  return opacity;
};
const paper = (element) => {
  const layers = [];
  for (let one = element; one; one = one.parentElement) layers.unshift(rgba(getComputedStyle(one).backgroundColor));
  return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
};
// What lies below a point of a drawing, where a picture may be black or white.
const below = (drawing, upon, x, y) => {
  let found = [paper(drawing.parentElement)];
  for (const shape of drawing.querySelectorAll("path, rect, image")) {
    if (!(shape.compareDocumentPosition(upon) & Node.DOCUMENT_POSITION_FOLLOWING) || shape.closest("defs, clipPath")) continue;
    const box = shape.getBoundingClientRect();
    if (x < box.left || x > box.right || y < box.top || y > box.bottom) continue;
    if (shape.tagName === "image") {
      found = [[0, 0, 0], [255, 255, 255]];
      continue;
    }
    const look = getComputedStyle(shape);
    const point = new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse());
    if (look.fill === "none" || !shape.isPointInFill(point)) continue;
    const [r, g, b, a] = rgba(look.fill);
    const layer = [r, g, b, a * Number(look.fillOpacity) * opacityOf(shape, drawing)];
    found = found.map((one) => over(layer, one));
  }
  return found;
};
for (const node of texts) {
  const element = node.parentElement;
  const look = getComputedStyle(element);
  const drawing = element.closest("svg");
  const box = boxOf(node).getBoundingClientRect();
  const scale = drawing ? element.getScreenCTM().a || Math.abs(element.getScreenCTM().b) : 1;
  const size = Number.parseFloat(look.fontSize) * scale;
  const needed = size >= 24 || (size >= 18.66 && Number(look.fontWeight) >= 700) ? 3 : 4.5;
  const [r, g, b, a] = rgba(drawing ? look.fill : look.color);
  const ink = [r, g, b, a * opacityOf(element) * (drawing ? Number(look.fillOpacity) : 1)];
  const grounds = drawing ? below(drawing, element, box.left + box.width / 2, box.top + box.height / 2) : [paper(element)];
  const found = Math.min(...grounds.map((ground) => contrast(over(ink, ground), ground)));
  if (found < needed) complain(`contrast ${found.toFixed(1)} of text`, node.data);
}
// Lines and points of charts; shaded bands and grids are beside what they say.
for (const drawing of document.querySelectorAll(".plot svg")) {
  if (!isShown(drawing.parentElement)) continue;
  const ground = paper(drawing.parentElement);
  for (const mark of drawing.querySelectorAll("path, use")) {
    const own = mark.getAttribute("style") ?? "";
    if (mark.closest("defs, clipPath") || !/var\(--s\d\)|light-dark/.test(own)) continue;
    const look = getComputedStyle(mark);
    const isLine = look.stroke !== "none" && /stroke:(var\(--s\d\)|light-dark)/.test(own);
    if (!isLine) continue;
    const [r, g, b, a] = rgba(look.stroke);
    const found = contrast(over([r, g, b, a * Number(look.strokeOpacity) * opacityOf(mark, drawing)], ground), ground);
    if (found < 3) complain(`contrast ${found.toFixed(1)} of a line`, drawing.parentElement.getAttribute("aria-label") ?? "");
  }
}
// Swatches and other marks that HTML paints.
for (const swatch of document.querySelectorAll(".swatch")) {
  const found = contrast(rgba(getComputedStyle(swatch).backgroundColor).slice(0, 3), paper(swatch.parentElement));
  if (isShown(swatch) && found < 3) complain(`contrast ${found.toFixed(1)} of a swatch`, swatch.parentElement.textContent);
}
return [...complaints];
