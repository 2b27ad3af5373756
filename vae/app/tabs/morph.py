"""The tab of a morph from one cat to another."""

from typing import Any, NamedTuple

import gradio as gr
from torch import Tensor

from vae.app.downloads import loop_gif
from vae.app.faces import crop, find_faces
from vae.app.html import animation, gallery, notice
from vae.app.page import QUIET, Page, new_seed, upload_box
from vae.app.uploads import take_upload
from vae.cli.errors import InputError


class Side(NamedTuple):
    """One of the two cats."""

    z: gr.State  # (1, *latent)
    image: gr.HTML
    another: gr.Button
    upload: gr.File


def add_morph(page: Page) -> None:
    """Add the tab."""

    def side(name: str) -> Side:
        z = gr.State()
        with gr.Column(scale=3, min_width=200, elem_classes="morph-side"):
            image = gr.HTML(elem_id=f"morph-{name}", elem_classes="morph-cat")
            another = gr.Button(f"Another {name} cat", elem_id=f"morph-sample-{name}", min_width=100)
            return Side(z, image, another, upload_box("or your own photo", f"morph-upload-{name}"))

    with gr.Row(elem_classes="morph-tab"):
        first = side("first")
        with gr.Column(scale=4, min_width=260, elem_classes="morph-middle"):
            between = gr.HTML(elem_id="morph-between")
            fraction = gr.Slider(
                0, 1, 0.5, step=0.05, label="From the first cat to the second", elem_id="morph-fraction"
            )
            loop = gr.HTML(elem_id="morph-loop")
        second = side("second")

    def sample(model: str) -> tuple[Any, str]:
        seed = new_seed()
        try:
            session = page.catalog.session(model)
            z = session.latents(1, seed)
            return z, gallery(session.model.decode(z), [f"cat {seed}"], "one")
        except InputError as error:
            return None, notice(str(error))

    def uploaded(model: str, path: str | None) -> tuple[Any, str, None]:
        try:
            photo = take_upload(path)
            session = page.catalog.session(model)
            faces = find_faces(photo, session.model.config.data)
            if not faces.certain:
                return gr.skip(), notice(f"{faces.summary}. Please choose another photo."), None
            z = session.model.encode(crop(photo, faces.landmarks, session.model.config.data)[0])
            return z, gallery(session.model.decode(z), ["your photo, as the model draws it"], "one"), None
        except InputError as error:
            return gr.skip(), notice(str(error)), None

    def draw(model: str, start: Tensor | None, end: Tensor | None, fraction: float) -> str:
        if start is None or end is None:
            return ""
        caption = f"{fraction:.0%} of the way"
        return gallery(page.catalog.session(model).morph(start, end, fraction), [caption], "one")

    def animate(model: str, start: Tensor | None, end: Tensor | None) -> str:
        if start is None or end is None:
            return ""
        return animation(loop_gif(page.catalog.session(model).morph_frames(start, end)))

    drawing = {"fn": draw, "inputs": [page.model, first.z, second.z, fraction], "outputs": between, **QUIET}
    animating = {"fn": animate, "inputs": [page.model, first.z, second.z], "outputs": loop, **QUIET}
    for z, image, another, upload in (first, second):
        another.click(sample, page.model, [z, image], **QUIET).then(**drawing).then(**animating)
        upload.upload(uploaded, [page.model, upload], [z, image, upload], **QUIET).then(**drawing).then(**animating)
    fraction.input(**drawing, trigger_mode="always_last")

    def sample_both(model: str) -> tuple:
        return *sample(model), *sample(model)

    for changed in page.on_model(sample_both, [page.model], [*first[:2], *second[:2]]):
        changed.then(**drawing).then(**animating)
