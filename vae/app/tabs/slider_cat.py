"""The tab of a cat that sliders move along directions of the latent space."""

import json
from typing import Any

import gradio as gr

from vae.app.html import gallery, notice
from vae.app.limits import clamp
from vae.app.page import MAX_SEED, PLAIN, QUIET, Page, errors_as_notice, new_seed
from vae.app.session import MAX_SLIDERS, Session
from vae.cli.errors import InputError

FIRST_SEED = 27
REACH = 3.0  # standard deviations from the middle of a slider to its ends

# The address of the page names the cat. Browsers allow only a few changes of it in a second.
SHOW_ADDRESS = """(model, seed, ...positions) => {
    const place = model === %s ? "" : `model=${encodeURIComponent(model)}&`;
    const at = positions.slice(0, document.querySelectorAll("#tabs .direction").length)
        .map(position => Math.round(position * 100) / 100).join(",");
    clearTimeout(window.showAddress);
    window.showAddress = setTimeout(() => history.replaceState(null, "", `?${place}cat=${seed}&at=${at}`), 300);
}"""
COPY_ADDRESS = """() => { setTimeout(() => navigator.clipboard?.writeText(location.href), 400); }"""


def add_slider_cat(page: Page) -> None:
    """Add the tab; an address such as `?cat=27&at=0.5,-1,…` opens it with that cat."""
    sliders, rows, low_ends, high_ends = [], [], [], []
    with gr.Row(elem_classes="slider-tab"):
        with gr.Column(scale=1, min_width=280, elem_classes="slider-side"):
            cat = gr.HTML(elem_id="slider-cat")
            with gr.Row(elem_classes="slider-buttons"):
                randomise = gr.Button("Another cat", variant="primary", elem_id="randomise", min_width=100)
                reset = gr.Button("Reset sliders", elem_id="reset", min_width=100)
        with gr.Column(scale=2, min_width=320):
            gr.Markdown(
                "Each slider follows a direction in which the training cats differ: first the directions with a "
                "name, then the strongest of the others. The small images show the average cat at both ends."
            )
            for index in range(MAX_SLIDERS):
                with gr.Row(elem_classes="direction") as row:
                    low_ends.append(gr.HTML(min_width=44, elem_classes="end"))
                    name = f"direction-{index + 1}"
                    sliders.append(gr.Slider(-REACH, REACH, 0, step=0.05, elem_id=name, min_width=140))
                    high_ends.append(gr.HTML(min_width=44, elem_classes="end"))
                rows.append(row)
            with gr.Row():
                seed = gr.Number(
                    FIRST_SEED,
                    precision=0,
                    minimum=0,
                    maximum=MAX_SEED,
                    label="Seed",
                    info="of the cat before the sliders move it",
                    min_width=140,
                )
                share = gr.Button("Copy the link to this cat", size="sm", elem_id="share", min_width=140)

    def draw_with(session: Session, seed: int, positions: list[float]) -> str:
        return gallery(session.slider_cat(seed, positions[: len(session.directions.scale)]), kind="one")

    @errors_as_notice
    def draw(model: str, seed: int, *positions: float) -> str:
        return draw_with(page.catalog.session(model), seed, list(positions))

    def start(model: str, seed: int, wanted: list[float] | None = None) -> list[Any]:
        """Return the cat and the positions of all sliders: those wanted, or those of the seed."""
        try:
            session = page.catalog.session(model)
            count = len(session.directions.scale)
            positions = wanted if wanted and len(wanted) == count else session.slider_positions(seed)
            positions = [round(clamp(position, -REACH, REACH, 0), 2) for position in positions]
            return [draw_with(session, seed, positions), *positions, *[0] * (MAX_SLIDERS - count)]
        except InputError as error:
            return [notice(str(error)), *[gr.skip()] * MAX_SLIDERS]

    def show_model(model: str, seed: int, request: gr.Request) -> list[Any]:
        """Return seed, tab, cat, sliders with their names, rows and ends for a model."""
        query, opened = request.query_params, False
        if query.get("model", page.catalog.default) == model and "cat" in query:
            seed, opened = int(clamp(query["cat"], 0, MAX_SEED, FIRST_SEED)), True
        wanted = [clamp(x, -REACH, REACH, 0) for x in query["at"].split(",")] if opened and "at" in query else None
        image, *positions = start(model, seed, wanted)
        tab = gr.Tabs(selected="slider") if opened else gr.skip()
        try:
            named = _named_sliders(page.catalog.session(model))
        except InputError:
            return [seed, tab, image, *[gr.skip()] * 4 * MAX_SLIDERS]
        missing = MAX_SLIDERS - len(named)
        shown = [
            gr.Slider(value=at, label=label, info=info)
            for at, (label, info, _, _) in zip(positions, named, strict=False)
        ]
        return [
            *(seed, tab, image),
            *(*shown, *[gr.skip()] * missing),
            *(gr.Row(visible=index < len(named)) for index in range(MAX_SLIDERS)),
            *(*(low for _, _, low, _ in named), *[""] * missing),
            *(*(high for _, _, _, high in named), *[""] * missing),
        ]

    cat_of = [page.model, seed, *sliders]
    show = {"fn": None, "inputs": cat_of, "js": SHOW_ADDRESS % json.dumps(page.catalog.default), **PLAIN}
    moves = [slider.input for slider in sliders]
    gr.on(moves, draw, inputs=cat_of, outputs=cat, trigger_mode="always_last", **QUIET).then(**show)
    restart = {"fn": start, "inputs": [page.model, seed], "outputs": [cat, *sliders], **QUIET}
    randomise.click(new_seed, outputs=seed, **QUIET).then(**restart).then(**show)
    reset.click(**restart).then(**show)
    seed.submit(lambda value: value, seed, seed, **QUIET).then(**restart).then(**show)
    share.click(None, inputs=cat_of, js=show["js"]).then(None, js=COPY_ADDRESS)
    page.on_model(show_model, [page.model, seed], [seed, page.tabs, cat, *sliders, *rows, *low_ends, *high_ends])


def _named_sliders(session: Session) -> list[tuple[str, str, str, str]]:
    """Return the label, the information and the images at both ends of each slider."""
    shares = [f"{share:.1%} of the variance" for share in session.directions.share.tolist()]
    ends = [[gallery(end[None], kind="end-image") for end in pair] for pair in session.slider_ends()]
    return [(label, share, *pair) for label, share, pair in zip(session.direction_labels, shares, ends, strict=True)]
