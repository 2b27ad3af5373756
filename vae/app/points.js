// Drags the points over a photo, and opens the camera. `element` and `trigger` come from gr.HTML.
let dragged = null;

const move = (point, x, y) => {
  const box = point.ownerSVGElement.viewBox.baseVal;
  point.dataset.x = Math.min(box.x + box.width, Math.max(box.x, x));
  point.dataset.y = Math.min(box.y + box.height, Math.max(box.y, y));
  point.setAttribute("transform", `translate(${point.dataset.x} ${point.dataset.y})`);
};
const release = (svg) => {
  const points = [...svg.querySelectorAll(".point")];
  trigger("release", { points: points.map((point) => [Number(point.dataset.x), Number(point.dataset.y)]) });
};
const choose = (face) => {
  const svg = face.ownerSVGElement, points = svg.querySelectorAll(".point");
  JSON.parse(face.dataset.points).forEach(([x, y], i) => move(points[i], x, y));
  release(svg);
};

element.addEventListener("pointerdown", (event) => {
  dragged = event.target.closest(".point");
  if (!dragged) return;
  event.preventDefault();
  dragged.focus();
  element.setPointerCapture(event.pointerId);
});
element.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const place = new DOMPoint(event.clientX, event.clientY);
  const { x, y } = place.matrixTransform(dragged.ownerSVGElement.getScreenCTM().inverse());
  move(dragged, x, y);
});
for (const end of ["pointerup", "pointercancel"]) {
  element.addEventListener(end, () => {
    if (dragged) release(dragged.ownerSVGElement);
    dragged = null;
  });
}
element.addEventListener("click", (event) => {
  const face = event.target.closest(".other-face");
  if (face) choose(face);
});
element.addEventListener("keydown", (event) => {
  const face = event.target.closest(".other-face"), point = event.target.closest(".point");
  if (face && ["Enter", " "].includes(event.key)) {
    event.preventDefault();
    choose(face);
  }
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!point || !(event.key in ways)) return;
  event.preventDefault();
  const [x, y] = ways[event.key], step = point.ownerSVGElement.viewBox.baseVal.width / (event.shiftKey ? 800 : 160);
  move(point, Number(point.dataset.x) + x * step, Number(point.dataset.y) + y * step);
});
element.addEventListener("keyup", (event) => {
  const point = event.target.closest(".point");
  if (point && event.key.startsWith("Arrow")) release(point.ownerSVGElement);
});

const openCamera = (event) => {
  const input = event.target.closest("#my-camera")?.parentElement.querySelector(":scope > input[type=file]");
  input?.setAttribute("accept", "image/*");
  input?.setAttribute("capture", "environment");
};
document.addEventListener("click", openCamera, { capture: true });  // before Gradio opens the input
