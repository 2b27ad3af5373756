"""The film from a projected cat to another cat, in the tab of a photo."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from vae.app.downloads import loop_gif
from vae.app.faces import crop, find_faces
from vae.app.guests import Guest
from vae.app.html import notice
from vae.app.page import QUIET, STREAMED, Page, new_seed, upload_box
from vae.app.photo_html import drawing, links, progress
from vae.app.session import Session
from vae.app.uploads import is_projected_cat, read_upload
from vae.cli.errors import InputError
from vae.data.image_bytes import decode_image
from vae.models.projected import Projected
from vae.visualization.rendering import data_uri

DOWNLOADS = {"morph.mp4": "Film (MP4)", "morph.gif": "Film (GIF)"}  # file → text of its link


def add_my_film(page: Page, key: gr.State) -> gr.HTML:
    """Add the controls, and return the element of the film."""
    with gr.Accordion("Morph it to another cat", open=True, elem_id="my-morph"):
        with gr.Row():
            drawn = gr.Button("To a new cat", elem_id="my-morph-drawn", min_width=140)
            upload = upload_box("To a second photo", "my-morph-upload")
        film = gr.HTML(elem_id="my-film")

    def to_drawn(model: str, key: str | None) -> str:
        """Morph to a cat that the model makes up."""
        try:
            guest, session = page.guests.get(key), page.catalog.session(model)
            return show(session, key, guest, Projected(session.latents(1, new_seed())))
        except InputError as error:
            return notice(str(error))

    def to_photo(model: str, key: str | None, path: str | None) -> Iterator[dict[Any, Any]]:
        """Project a second photo and morph to it."""
        try:
            data = read_upload(path)
            guest, session = page.guests.get(key), page.catalog.session(model)
            if is_projected_cat(data):
                other = session.load_cat(data)
            else:
                photo = decode_image(data)
                faces = find_faces(photo, session.model.config.data)
                if not faces.certain:
                    raise InputError(f"{faces.summary}. Please choose another photo.")
                x, _ = crop(photo, faces.landmarks, session.model.config.data)
                yield {upload: None}
                for report in page.projections.project(session.model, x):
                    yield {film: progress(x, report, page.projections.steps)}
                other = report.result
            yield {film: show(session, key, guest, other), upload: None}
        except InputError as error:
            yield {film: notice(str(error)), upload: None}

    def show(session: Session, key: str, guest: Guest, other: Projected) -> str:
        if guest.edited is None:
            raise InputError("There is no drawn cat of yours. Please press “Draw my cat”.")
        guest.film = session.film(guest.edited, other)
        address = data_uri(loop_gif(guest.film), "image/gif")
        image = {"source": address, "alt": "the morph, back and forth", "caption": "back and forth"}
        return drawing([image]) + links(key, DOWNLOADS)

    drawn.click(to_drawn, [page.model, key], film, **QUIET)
    upload.upload(to_photo, [page.model, key, upload], [film, upload], concurrency_limit=None, **STREAMED)
    return film
