"use strict";
// The page and its service worker. The worker keeps the files of the page, so that it works offline once loaded.
// VERSION and FILES are written by `make web`.
const VERSION = "/*version*/";
const FILES = [/*files*/];

if (typeof document === "undefined") {
  self.addEventListener("install", (event) =>
    event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting())));
  self.addEventListener("activate", (event) =>
    event.waitUntil(caches.keys()
      .then((names) => Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name))))
      .then(() => self.clients.claim())));
  self.addEventListener("fetch", (event) =>
    event.respondWith(caches.match(event.request, { ignoreSearch: true }).then((found) => found || fetch(event.request))));
} else {
  start().catch((error) => {
    document.getElementById("status").textContent = `The model cannot be loaded: ${error.message}`;
  });
}

async function start() {
  const byId = (id) => document.getElementById(id);
  const SHEET = 12; // cats on the sheet of new ones
  const REACH = 3; // standard deviations that a slider goes to either side

  ort.env.wasm.numThreads = 1; // several need headers that a static server does not send
  const options = { executionProviders: ["wasm"] };
  const [model, decoder, sampler] = await Promise.all([
    fetch("model.json").then((response) => response.json()),
    ort.InferenceSession.create("decoder.onnx", options),
    ort.InferenceSession.create("sampler.onnx", options),
  ]);
  const size = model.image_size;
  const width = model.latent.reduce((product, side) => product * side, 1); // numbers in one latent
  const directions = model.directions;

  // Latents are Float32Arrays of `width` numbers.

  async function sample(seed) {
    const temperature = new ort.Tensor("float32", [Number(byId("temperature").value)], []);
    const { z } = await sampler.run({ seed: new ort.Tensor("int64", [BigInt(seed)], [1]), temperature });
    return z.data.slice();
  }

  async function draw(z, canvas) {
    const { x } = await decoder.run({ z: new ort.Tensor("float32", z, [1, ...model.latent]) });
    const image = new ImageData(size, size);
    const plane = size * size;
    for (let pixel = 0; pixel < plane; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        image.data[4 * pixel + channel] = Math.round((x.data[channel * plane + pixel] + 1) * 127.5);
      }
      image.data[4 * pixel + 3] = 255;
    }
    canvas.width = canvas.height = size;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function dot(a, b) {
    return a.reduce((sum, value, i) => sum + value * b[i], 0);
  }

  // The coordinate of a latent along direction k, in standard deviations of the training set.
  function coordinate(z, k) {
    return dot(z.map((value, i) => value - directions.mean[i]), directions.filters[k]) / directions.scale[k];
  }

  function moved(z, positions) {
    const result = z.slice();
    positions.forEach((position, k) => {
      const step = (position - coordinate(z, k)) * directions.scale[k];
      directions.axes[k].forEach((value, i) => { result[i] += step * value; });
    });
    return result;
  }

  // Spherical interpolation (White 2016), as `vae.models.vae.interpolate_latents` does it.
  function between(a, b, share) {
    const cosine = dot(a, b) / Math.max(Math.sqrt(dot(a, a) * dot(b, b)), 1e-8);
    const angle = Math.acos(Math.min(Math.max(cosine, -1 + 1e-6), 1 - 1e-6));
    const [from, to] = [Math.sin((1 - share) * angle), Math.sin(share * angle)].map((s) => s / Math.sin(angle));
    return a.map((value, i) => from * value + to * b[i]);
  }

  const sliders = directions.names.map((name, k) => {
    const [low, high] = name.split(" – ");
    const row = document.createElement("div");
    row.className = "direction";
    const input = Object.assign(document.createElement("input"), { type: "range", min: -REACH, max: REACH, step: 0.01 });
    input.setAttribute("aria-label", `From ${low} to ${high}`);
    const ends = [low, high].map((text) => Object.assign(document.createElement("span"), { textContent: text }));
    row.append(ends[0], input, ends[1]);
    byId("sliders").append(row);
    return input;
  });
  byId("change").parentElement.hidden = sliders.length === 0;

  let base; // the latent of the chosen seed
  let positions; // where the sliders stand; those that were not touched keep the exact coordinate
  let second; // the latent to morph into
  let seeds = [];

  // At most one drawing runs and one waits: while a slider moves, the frames in between are left out.
  let drawing = null;
  let waiting = false;
  function show() {
    byId("cat").dataset.state = "drawing";
    if (drawing) { waiting = true; return drawing; }
    drawing = (async () => {
      do {
        waiting = false;
        const begin = performance.now();
        const first = moved(base, positions);
        const share = Number(byId("share").value);
        await draw(share > 0 ? between(first, second, share) : first, byId("cat"));
        byId("cat").dataset.milliseconds = performance.now() - begin;
        if (share === 0) await draw(first, byId("first"));
      } while (waiting);
      byId("cat").dataset.state = "drawn";
    })().finally(() => { drawing = null; });
    return drawing;
  }

  async function choose(seed) {
    byId("cat").dataset.state = "drawing";
    base = await sample(seed);
    positions = sliders.map((_, k) => coordinate(base, k));
    sliders.forEach((slider, k) => { slider.value = positions[k]; });
    byId("share").value = 0;
    history.replaceState(null, "", `#${seed}`);
    byId("sheet").childNodes.forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.seed === String(seed)));
    });
    byId("cat").dataset.seed = seed;
    await show();
  }

  async function fill() {
    const buttons = seeds.map((seed) => {
      const button = document.createElement("button");
      button.dataset.seed = seed;
      button.setAttribute("aria-label", `Cat ${seed}`);
      button.append(document.createElement("canvas"));
      button.addEventListener("click", () => choose(seed));
      return button;
    });
    byId("sheet").replaceChildren(...buttons);
    for (const button of buttons) await draw(await sample(button.dataset.seed), button.firstChild);
  }

  const random = () => crypto.getRandomValues(new Uint32Array(1))[0];
  async function others() {
    seeds = Array.from({ length: SHEET }, random);
    await fill();
  }
  async function another() {
    const seed = random();
    second = await sample(seed);
    await draw(second, byId("second"));
    byId("second").dataset.seed = seed;
    if (Number(byId("share").value) > 0) await show();
  }

  byId("new").addEventListener("click", () => choose(random()));
  byId("others").addEventListener("click", others);
  byId("other").addEventListener("click", another);
  byId("reset").addEventListener("click", () => choose(byId("cat").dataset.seed));
  byId("share").addEventListener("input", show);
  sliders.forEach((slider, k) => slider.addEventListener("input", () => { positions[k] = Number(slider.value); show(); }));
  byId("temperature").addEventListener("input", () => {
    document.querySelector("output").textContent = byId("temperature").value;
  });
  byId("temperature").addEventListener("change", async () => { await choose(byId("cat").dataset.seed); await fill(); });
  document.querySelector("output").textContent = byId("temperature").value;
  byId("save").addEventListener("click", () => byId("cat").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `cat-${byId("cat").dataset.seed}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));

  const wanted = /^#(\d{1,10})$/.exec(location.hash);
  await choose(wanted ? Number(wanted[1]) : random());
  byId("status").hidden = true;
  document.querySelector("main").hidden = false;
  document.body.dataset.ready = performance.now();
  await another();
  await others();
  document.body.dataset.idle = "";
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("page.js");
}
