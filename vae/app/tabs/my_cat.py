"""The tab of a photo as the model sees it."""

import gradio as gr

from vae.app.html import notice, photo_page
from vae.app.page import Page, upload_box
from vae.app.uploads import MAX_MEGABYTES, take_upload
from vae.cli.errors import InputError


def add_my_cat(page: Page) -> None:
    """Add the tab."""
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            upload = upload_box("A photo of your cat", "my-upload")
            gr.Markdown(
                f"JPEG, PNG or WebP, up to {MAX_MEGABYTES} MB. The photo stays on this machine and is deleted as "
                "soon as it has been read."
            )
        with gr.Column(scale=3, min_width=320):
            seen = gr.HTML(notice("Drop a photo to see how the model draws it.", "hint"), elem_id="my-cat")

    def look(model: str, path: str | None) -> tuple[str, None]:
        try:
            photo = take_upload(path)
            return photo_page(page.catalog.session(model), photo), None
        except InputError as error:
            return notice(str(error)), None

    upload.upload(look, [page.model, upload], [seen, upload], api_visibility="private", show_progress="minimal")
