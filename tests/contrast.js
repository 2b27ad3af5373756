// Returns every visible text whose contrast with its background is below a minimum (WCAG 2.2, 1.4.3).
(minimum) => {
  const parse = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    const scale = text.startsWith("color(srgb") ? 255 : 1;
    return [...numbers.slice(0, 3).map((value) => value * scale), numbers[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const background = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(parse(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0, 1] : [255, 255, 255, 1];
    return layers.reverse().reduce((below, layer) => over(layer, below), canvas);
  };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const opacity = (element) => {
    let product = 1;
    for (let at = element; at; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
    return product;
  };
  const found = new Map();
  const check = (element, text, color) => {
    const behind = background(element), front = parse(color);
    front[3] *= opacity(element);
    if (front[3] < 0.05) return;  // It is hidden.
    const [low, high] = [luminance(over(front, behind)), luminance(behind)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < minimum) found.set(`${text.trim().slice(0, 40)} (${element.className})`, Math.round(contrast * 100) / 100);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({visibilityProperty: true}) || element.closest("script, style")) continue;
    check(element, node.data, getComputedStyle(element).color);
  }
  for (const input of document.querySelectorAll("input:not([type=range]):not([type=file]), textarea")) {
    if (!input.checkVisibility({visibilityProperty: true})) continue;
    if (!input.value && !input.placeholder) continue;
    check(input, input.value || input.placeholder, getComputedStyle(input, input.value ? null : "::placeholder").color);
  }
  return Object.fromEntries(found);
}
