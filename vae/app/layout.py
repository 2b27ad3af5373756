"""The five tabs of the web page: what is on them, and what happens when something is touched.

All that is drawn is made by `vae.app.session`, and its HTML by `vae.app.html`. Pictures travel
inside the HTML, so no file is written for them, and an uploaded file is gone as soon as it has been read.
"""

import html
import random
from pathlib import Path
from urllib.parse import urlencode

import gradio as gr
from torch import Tensor

from vae.app.downloads import data_uri, loop_gif
from vae.app.html import gallery, image, notice, side_by_side, through_the_model
from vae.app.session import MOST_CATS, Studio
from vae.app.uploads import MAX_MEGABYTES, take_upload
from vae.cli.errors import InputError
from vae.visualization.run_gallery import find_runs

SEEDS = 100_000  # seeds are drawn below this: short enough to be told to somebody
MOST_RUNS = 4  # side by side
QUEUE = 100  # what is waiting to be drawn; more is refused

HEAD = '<meta name="referrer" content="no-referrer">'
SHOW_ADDRESS = """(seed, ...positions) => {
    const at = positions.map(position => Math.round(position * 100) / 100).join(",");
    clearTimeout(window.showAddress);  // browsers allow no more than a few a second
    window.showAddress = setTimeout(() => history.replaceState(null, "", `?cat=${seed}&at=${at}`), 300);
}"""
COPY_ADDRESS = """() => { setTimeout(() => navigator.clipboard?.writeText(location.href), 400); }"""


def theme() -> gr.themes.Base:
    """Warm colours and the reader's own fonts."""
    return gr.themes.Soft(
        primary_hue="orange",
        secondary_hue="orange",
        neutral_hue="stone",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def build(studio: Studio, models: Path) -> gr.Blocks:
    """The page of a run; `models` is where the tab Runs looks."""
    with gr.Blocks(title="VAE Cats", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.HTML(_head(studio))
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("New cats", id="new"):
                new_cats(page, studio)
            with gr.Tab("Slider cat", id="slider"):
                slider_cat(page, tabs, studio)
            with gr.Tab("Morph", id="morph"):
                morph(page, studio)
            with gr.Tab("My cat", id="mine"):
                my_cat(studio)
            with gr.Tab("Runs", id="runs") as tab:
                runs(tab, page, studio, models)
    page.queue(max_size=QUEUE)
    return page


def _head(studio: Studio) -> str:
    size, data = studio.size, html.escape(str(studio.model.config.data.name))
    return (
        '<header class="masthead"><h1>VAE Cats</h1>'
        f"<p>Cats that nobody has ever seen, drawn at {size}×{size} by <b>{html.escape(str(studio.run))}</b>, "
        f"a model that learnt from the data set <b>{data}</b>.</p></header>"
    )


def new_cats(page: gr.Blocks, studio: Studio) -> None:
    """A sheet of new cats and its downloads."""
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            again = gr.Button("Draw other cats", variant="primary", elem_id="draw")
            count = gr.Slider(1, MOST_CATS, 24, step=1, label="How many")
            temperature = gr.Slider(
                0, 1.5, 0.9, step=0.05, label="Temperature", info="low: typical cats · high: daring ones"
            )
            sampler = gr.Dropdown(
                studio.samplers, value=studio.own_sampler, label="Sampler", info="where the latents come from"
            )
            seed = gr.Number(7, precision=0, minimum=0, label="Seed", info="the same seed gives the same cats")
        with gr.Column(scale=3, min_width=320):
            sheet = gr.HTML(elem_id="new-cats")

    def draw(count: int, seed: int, temperature: float, sampler: str) -> str:
        try:
            cats = studio.cats(int(count), int(seed or 0), temperature, sampler)
        except InputError as error:
            return notice(str(error))
        query = urlencode({"count": int(count), "seed": int(seed or 0), "temperature": temperature, "sampler": sampler})
        links = (
            f'<p class="downloads"><a href="cats.png?{query}" download>Download the sheet (PNG)</a>'
            f'<a href="cats.zip?{query}" download>Download every cat (ZIP)</a></p>'
        )
        return gallery(cats, [""] * len(cats)) + links

    options = {"fn": draw, "inputs": [count, seed, temperature, sampler], "outputs": sheet, "api_visibility": "private"}
    again.click(_new_seed, outputs=seed, api_visibility="private").then(**options, show_progress="hidden")
    for trigger in (count.release, temperature.release, seed.submit, seed.blur, sampler.input, page.load):
        trigger(**options, show_progress="minimal", trigger_mode="always_last")


def slider_cat(page: gr.Blocks, tabs: gr.Tabs, studio: Studio) -> None:
    """One cat, moved along directions of the latent space."""
    count = len(studio.directions.scale)
    unnamed = iter(range(1, count + 1))
    labels = [name or f"Direction {next(unnamed)}" for name in studio.directions.names]
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            cat = gr.HTML(elem_id="slider-cat")
            with gr.Row():
                randomise = gr.Button("Another cat", variant="primary", elem_id="randomise")
                reset = gr.Button("Reset the sliders", elem_id="reset")
            seed = gr.Number(17, precision=0, minimum=0, label="Seed", info="of the cat before the sliders move it")
            share = gr.Button("Copy the link to this cat", size="sm", elem_id="share")
        with gr.Column(scale=2, min_width=320):
            gr.Markdown(
                "Each slider is a direction in which the training cats differ, those with a name first, then the "
                "strongest. Beside it stand the average cat's ends of that way."
            )
            sliders = []
            ends = studio.model.decode(studio.directions.latents(_ends(count)))
            for index, part in enumerate(studio.directions.share.tolist()):
                with gr.Row(elem_classes="direction"):
                    gr.HTML(image(ends[2 * index], f"{labels[index]} at −3"), min_width=44, elem_classes="end")
                    sliders.append(
                        gr.Slider(
                            -3,
                            3,
                            0,
                            step=0.05,
                            label=labels[index],
                            info=f"{part:.1%} of the differences",
                            elem_id=f"direction-{index + 1}",
                            min_width=140,
                        )
                    )
                    gr.HTML(image(ends[2 * index + 1], f"{labels[index]} at +3"), min_width=44, elem_classes="end")

    def draw(seed: int, *positions: float) -> str:
        try:
            return gallery(studio.slider_cat(int(seed or 0), list(positions)), ["the cat of the sliders"], "one")
        except InputError as error:
            return notice(str(error))

    def positions(seed: int) -> list:
        try:
            at = [max(-3.0, min(3.0, round(x, 2))) for x in studio.slider_positions(int(seed or 0))]
        except InputError as error:
            return [notice(str(error)), *[gr.skip()] * count]
        return [draw(seed, *at), *at]

    def from_address(request: gr.Request) -> list:
        """The cat that the address names, `?cat=17&at=0.5,-1,…`, or that of seed 17."""
        query = request.query_params
        try:
            wanted = min(max(0, int(query.get("cat", 17))), 2**53)
            at = [max(-3.0, min(3.0, float(x))) for x in query["at"].split(",")][:count] if "at" in query else []
        except ValueError:
            wanted, at = 17, []
        drawn = positions(wanted)
        if len(at) == count:
            drawn = [draw(wanted, *at), *at]
        return [wanted, gr.Tabs(selected="slider") if "cat" in query else gr.skip(), *drawn]

    private = {"api_visibility": "private", "show_progress": "hidden"}
    show = {"fn": None, "inputs": [seed, *sliders], "js": SHOW_ADDRESS, "api_visibility": "private"}
    gr.on(
        [slider.input for slider in sliders],
        draw,
        inputs=[seed, *sliders],
        outputs=cat,
        trigger_mode="always_last",
        **private,
    ).then(**show)
    moved = {"fn": positions, "inputs": seed, "outputs": [cat, *sliders], **private}
    randomise.click(_new_seed, outputs=seed, **private).then(**moved).then(**show)
    gr.on([reset.click, seed.submit], **moved).then(**show)
    share.click(None, inputs=[seed, *sliders], js=SHOW_ADDRESS).then(None, js=COPY_ADDRESS)
    page.load(from_address, outputs=[seed, tabs, cat, *sliders], **private)


def _ends(count: int) -> Tensor:
    import torch

    return torch.stack([torch.stack([-3 * row, 3 * row]) for row in torch.eye(count)]).flatten(0, 1)


def morph(page: gr.Blocks, studio: Studio) -> None:
    """A way from one cat to another."""
    start, end = gr.State(), gr.State()

    def side(name: str, state: gr.State) -> tuple:
        with gr.Column(scale=3, min_width=200):
            picture = gr.HTML(elem_id=f"morph-{name}")
            sample = gr.Button(f"Another {name} cat", elem_id=f"morph-sample-{name}")
            return state, picture, sample, _upload("or your own photo", f"morph-upload-{name}")

    with gr.Row():
        first = side("first", start)
        with gr.Column(scale=4, min_width=260):
            between = gr.HTML(elem_id="morph-between")
            share = gr.Slider(0, 1, 0.5, step=0.05, label="From the first cat to the second", elem_id="morph-share")
            loop = gr.HTML(elem_id="morph-loop")
        second = side("second", end)

    def show(z: Tensor, caption: str) -> tuple[Tensor, str]:
        return z, gallery(studio.model.decode(z), [caption], "one")

    def sampled() -> tuple[Tensor, str]:
        seed = _new_seed()
        return show(studio.latents(1, seed, 0.9), f"cat {seed}")

    def uploaded(path: str | None):
        try:
            z = studio.model.encode(studio.face(take_upload(path)).x)
        except InputError as error:
            return gr.skip(), notice(str(error)), None
        return *show(z, "your photo, as the model draws it"), None

    def draw(start: Tensor, end: Tensor, share: float) -> str:
        return gallery(studio.morph(start, end, share), [f"{share:.0%} of the way"], "one")

    def film(start: Tensor, end: Tensor) -> str:
        address = data_uri(loop_gif(studio.way(start, end)), "image/gif")
        return (
            f'<div class="one small"><figure><img src="{address}" alt="the way there and back">'
            f"<figcaption>there and back</figcaption></figure></div>"
            f'<p class="downloads"><a href="{address}" download="morph.gif">'
            "Download the loop (GIF)</a></p>"
        )

    private = {"api_visibility": "private", "show_progress": "hidden"}
    both = {"fn": draw, "inputs": [start, end, share], "outputs": between, **private}
    whole = {"fn": film, "inputs": [start, end], "outputs": loop, **private}
    for state, picture, sample, upload in (first, second):
        sample.click(sampled, outputs=[state, picture], **private).then(**both).then(**whole)
        upload.upload(uploaded, upload, [state, picture, upload], **private).then(**both).then(**whole)
    share.input(**both, trigger_mode="always_last")

    def two() -> tuple:
        return *sampled(), *sampled()

    page.load(two, outputs=[*first[:2], *second[:2]], **private).then(**both).then(**whole)


def _upload(label: str, name: str) -> gr.File:
    # Any type may be dropped: Gradio would keep a file that it refuses, `take_upload` removes it.
    return gr.File(label=label, height=150, elem_id=name)


def my_cat(studio: Studio) -> None:
    """A photo through the eyes of the model."""
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            upload = _upload("A photo of your cat", "my-upload")
            gr.Markdown(
                f"JPEG, PNG or WebP, up to {MAX_MEGABYTES} MB. The photo stays on this machine, and is forgotten "
                "as soon as it has been drawn."
            )
        with gr.Column(scale=3, min_width=320):
            seen = gr.HTML(notice("Drop a photo to see what the model makes of it.", "hint"), elem_id="my-cat")

    def look(path: str | None) -> tuple[str, None]:
        try:
            return through_the_model(studio, take_upload(path)), None
        except InputError as error:
            return notice(str(error)), None

    upload.upload(look, upload, [seen, upload], api_visibility="private", show_progress="minimal")


def runs(tab: gr.Tab, page: gr.Blocks, studio: Studio, models: Path) -> None:
    """Runs side by side."""

    def names() -> dict[str, Path]:
        found = [studio.run.resolve(), *(folder.resolve() for folder in find_runs(models))]
        return {_short(folder, models): folder for folder in dict.fromkeys(found)}

    here = _short(studio.run.resolve(), models)
    chosen = gr.Dropdown(
        list(names()),
        value=[here],
        multiselect=True,
        max_choices=MOST_RUNS,
        label=f"Runs, up to {MOST_RUNS} side by side",
        elem_id="choose-runs",
        allow_custom_value=False,
    )
    shown = gr.HTML(elem_id="runs")

    def show(chosen: list[str]) -> str:
        known = names()
        return side_by_side({name: known[name] for name in chosen or [] if name in known})

    private = {"api_visibility": "private", "show_progress": "hidden"}
    tab.select(lambda: gr.Dropdown(choices=list(names())), outputs=chosen, **private)
    chosen.change(show, chosen, shown, **private)
    page.load(show, chosen, shown, **private)


def _short(folder: Path, models: Path) -> str:
    models = models.resolve()
    return folder.relative_to(models).as_posix() if folder.is_relative_to(models) else folder.name


def _new_seed() -> int:
    return random.randrange(SEEDS)
