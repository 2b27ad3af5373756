"""The tab of new cats and their downloads."""

from urllib.parse import urlencode

import gradio as gr
from omegaconf import OmegaConf

from vae.app.html import gallery
from vae.app.page import MAX_SEED, PLAIN, QUIET, Page, errors_as_notice, new_seed
from vae.app.session import MAX_CATS
from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS

MAX_PAGE_TEMPERATURE = 1.5  # of the slider; cats become unrecognisable above


def add_new_cats(page: Page) -> None:
    """Add the tab; it opens with the cats that `make predict` draws."""
    options = OmegaConf.load(CONFIGS / "predict.yaml")
    samplers = page.catalog.session().samplers
    with gr.Row(elem_classes="split"):
        with gr.Column(scale=1, min_width=260):
            draw_others = gr.Button("Draw other cats", variant="primary", elem_id="draw")
            count = gr.Slider(1, MAX_CATS, options.num_images, step=1, label="How many", elem_id="count")
            temperature = gr.Slider(
                0,
                MAX_PAGE_TEMPERATURE,
                options.temperature,
                step=0.05,
                label="Temperature",
                info="low: typical cats · high: daring cats",
            )
            sampler = gr.Dropdown(samplers, value=samplers[0], label="Sampler", info="the source of the latents")
            seed = gr.Number(
                options.seed,
                precision=0,
                minimum=0,
                maximum=MAX_SEED,
                label="Seed",
                info="the same seed gives the same cats",
                elem_id="seed",
            )
        with gr.Column(scale=3, min_width=320, elem_classes="cats-first"):
            sheet = gr.HTML(elem_id="new-cats")

    @errors_as_notice
    def draw(model: str, count: float, seed: int, temperature: float, sampler: str) -> str:
        session = page.catalog.session(model)
        sampler = sampler if sampler in session.samplers else session.own_sampler
        cats = session.cats(int(count), seed, temperature, sampler)
        query = {"model": model, "count": int(count), "seed": seed, "temperature": temperature, "sampler": sampler}
        downloads = [
            {"address": f"cats.{kind}?{urlencode(query)}", "name": "", "text": text}
            for kind, text in (("png", "Download the sheet (PNG)"), ("zip", "Download every cat (ZIP)"))
        ]
        return gallery(cats, downloads=downloads)

    def samplers_of(model: str) -> gr.Dropdown:
        try:
            session = page.catalog.session(model)
        except InputError:  # `draw` reports it.
            return gr.skip()
        return gr.Dropdown(choices=session.samplers, value=session.own_sampler)

    drawing = {"fn": draw, "inputs": [page.model, count, seed, temperature, sampler], "outputs": sheet}
    drawing |= PLAIN | {"trigger_mode": "always_last"}
    draw_others.click(new_seed, outputs=seed, **QUIET).then(**drawing, show_progress="hidden")
    for changed in page.on_model(samplers_of, [page.model], [sampler]):
        changed.then(**drawing, show_progress="minimal")
    for trigger in (seed.submit, seed.blur):  # The box then shows the seed within its limits.
        clamped = trigger(lambda value: value, seed, seed, trigger_mode="always_last", **QUIET)
        clamped.then(**drawing, show_progress="minimal")
    for trigger in (count.release, temperature.release, sampler.input):
        trigger(**drawing, show_progress="minimal")
