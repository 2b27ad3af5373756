"""The tab of a photo: its face is found, corrected by hand, drawn faithfully, edited and morphed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from vae.app.faces import crop, find_faces, parse_landmarks, put_cat_back, remarks
from vae.app.guests import Guest
from vae.app.html import image_entry, notice
from vae.app.page import QUIET, STREAMED, Page, errors_as_notice, upload_box
from vae.app.photo_html import MAX_IN_PHOTO, first_sight, links, neighbours, photo_with_points, progress
from vae.app.photo_html import drawing as drawing_html
from vae.app.session import MAX_SLIDERS, Session
from vae.app.tabs.my_film import add_my_film
from vae.app.uploads import MAX_MEGABYTES, is_projected_cat, read_upload
from vae.cli.errors import InputError
from vae.data.image_bytes import decode_image
from vae.metrics.reconstruction import psnr
from vae.visualization.images import to_uint8

REACH = 3.0  # standard deviations from the middle of a slider to its ends
POINTS_JS = Path(__file__).parents[1] / "points.js"
DOWNLOADS = {  # file → text of its link
    "cat.png": "Picture (PNG)",
    "photo.jpg": "In your photo (JPEG)",
    "cat.safetensors": "The cat itself (cat.safetensors)",
}


def add_my_cat(page: Page) -> None:
    """Add the tab."""
    key = gr.State()  # of the visitor, see `vae.app.guests`
    with gr.Row(elem_classes="my-tab"):
        with gr.Column(scale=2, min_width=300, elem_classes="my-side"):
            upload = upload_box("A photo of your cat", "my-upload")
            camera = gr.UploadButton("Take a photo", elem_id="my-camera", elem_classes="camera")
            gr.Markdown(
                f"JPEG, PNG or WebP, up to {MAX_MEGABYTES} MB, or the cat.safetensors of an earlier cat. The file is "
                "deleted as soon as it has been read; the photo stays in this machine's memory for an hour at most.",
                elem_classes="small",
            )
            photo = gr.HTML(
                notice("Choose a photo: the page finds the face, and the model learns to draw it.", "hint"),
                elem_id="my-photo",
                js_on_load=POINTS_JS.read_text(encoding="utf-8"),
            )
            draw = gr.Button("Draw my cat", variant="primary", visible=False, elem_id="my-draw")
            face = gr.HTML(elem_id="my-face")
        with gr.Column(scale=3, min_width=320, elem_classes="my-result"):
            drawn = gr.HTML(elem_id="my-cat")
            with gr.Column(visible=False, elem_id="my-tools") as tools:
                files = gr.HTML(elem_id="my-files")
                with gr.Row(elem_classes="my-sliders"):
                    sliders = [
                        gr.Slider(-REACH, REACH, 0, step=0.05, elem_id=f"my-direction-{number}", min_width=260)
                        for number in range(1, MAX_SLIDERS + 1)
                    ]
                reset = gr.Button("Reset sliders", size="sm", elem_id="my-reset")
                film = add_my_film(page, key)
            with gr.Accordion(
                "Training cats that look like it", open=False, visible=False, elem_id="my-neighbours"
            ) as similar:
                nearest = gr.HTML(elem_id="my-nearest")

    def nothing_drawn() -> dict[Any, Any]:
        return {drawn: "", tools: gr.Column(visible=False), film: ""}

    def with_face() -> dict[Any, Any]:
        """Show what can be done with a face that is aligned but not drawn."""
        folded = gr.Accordion(open=False, visible=True)
        return {draw: gr.Button(visible=True), similar: folded, nearest: "", **nothing_drawn()}

    def without_face() -> dict[Any, Any]:
        return {draw: gr.Button(visible=False), similar: gr.Accordion(visible=False), **nothing_drawn()}

    def show_drawing(session: Session, key: str, guest: Guest) -> dict[Any, Any]:
        """Return the drawing of a projected cat, with its sliders in the middle."""
        guest.edited = guest.projected
        labels = session.direction_labels
        shown = [gr.Slider(value=0, label=label, visible=True) for label in labels]
        hidden = [gr.Slider(value=0, visible=False)] * (MAX_SLIDERS - len(labels))
        return {
            drawn: _drawing(session, guest),
            files: _links(key, guest),
            tools: gr.Column(visible=True),
            draw: gr.Button(visible=False),
            **dict(zip(sliders, [*shown, *hidden], strict=True)),
        }

    def take(model: str, old_key: str | None, path: str | None) -> dict[Any, Any]:
        """Read an uploaded photo or projected cat."""
        try:
            data, session = read_upload(path), page.catalog.session(model)
            if is_projected_cat(data):
                guest = Guest(model=model, projected=session.load_cat(data))
                new_key = page.guests.enter(old_key, guest)
                text = notice("This cat comes from its file, so there is no photo to draw it from.", "hint")
                shown = {photo: text, face: "", **without_face(), **show_drawing(session, new_key, guest)}
            else:
                guest = Guest(model=model, photo=decode_image(data))
                new_key = page.guests.enter(old_key, guest)
                shown = show_photo(session, guest)
            return {upload: None, camera: None, key: new_key, film: "", **shown}
        except InputError as error:
            return {upload: None, camera: None, photo: notice(str(error)), face: "", **without_face()}

    def show_photo(session: Session, guest: Guest) -> dict[Any, Any]:
        """Find the faces in a photo."""
        faces = find_faces(guest.photo, session.model.config.data)
        guest.landmarks = faces.landmarks
        shown = photo_with_points(guest.photo, faces)
        if not faces.certain:
            return {photo: shown, face: "", **without_face()}
        return {photo: shown, face: align(session, guest), **with_face()}

    def align(session: Session, guest: Guest) -> str:
        """Align the face of a guest and return it, and how the model draws it without being tuned."""
        data = session.model.config.data
        guest.x, aligned = crop(guest.photo, guest.landmarks, data)
        return first_sight(guest.x, session.model.reconstruct(guest.x), remarks(aligned, data.image_size))

    def drag(model: str, key: str | None, event: gr.EventData) -> dict[Any, Any]:
        """Align the face again by the points that have been dragged."""
        try:
            guest, session = page.guests.get(key), page.catalog.session(model)
            sent = event._data if isinstance(event._data, dict) else {}
            if guest.photo is None:
                return {face: gr.skip()}
            guest.landmarks = parse_landmarks(sent.get("points"), guest.photo)
            guest.projected = guest.edited = guest.film = None
            return {face: align(session, guest), **with_face()}
        except InputError as error:
            return {face: notice(str(error)), **without_face()}

    def project(model: str, key: str | None) -> Iterator[dict[Any, Any]]:
        """Project the face onto the model, and show how far it is."""
        try:
            guest, session = page.guests.get(key), page.catalog.session(model)
            if guest.x is None:
                raise InputError("There is no face to draw. Please choose a photo.")
            if not session.training_latents.is_floating_point():
                raise InputError("This model has discrete latents, which fit no single cat. Please choose another one.")
            x = guest.x
            yield {**nothing_drawn(), draw: gr.Button(visible=False)}
            for report in page.projections.project(session.model, x):
                yield {drawn: progress(x, report, page.projections.steps)}
            if guest.x is x:  # The points have not been dragged in the meantime.
                guest.projected = report.result
                yield show_drawing(session, key, guest)
        except InputError as error:
            yield {**nothing_drawn(), drawn: notice(str(error)), draw: gr.Button(visible=True)}

    @errors_as_notice
    def edit(model: str, key: str | None, *positions: float) -> str:
        guest, session = _drawn_guest(page, model, key)
        guest.edited = session.moved(guest.projected, list(positions[: len(session.direction_labels)]))
        return _drawing(session, guest)

    def restart(model: str, key: str | None) -> dict[Any, Any]:
        """Put the sliders back into the middle."""
        try:
            guest, session = _drawn_guest(page, model, key)
            return show_drawing(session, key, guest)
        except InputError as error:
            return {drawn: notice(str(error))}

    def change_model(model: str, key: str | None) -> dict[Any, Any]:
        """Align the photo for another model; a cat that was projected onto the old one is dropped."""
        try:
            guest, session = page.guests.get(key), page.catalog.session(model)
            if guest.photo is None:
                text = notice("This cat belongs to another model. Please choose a photo.", "hint")
                return {photo: text, **without_face()}
            page.guests.enter(key, fresh := Guest(model=model, photo=guest.photo))
            return show_photo(session, fresh)
        except InputError:
            return without_face()

    @errors_as_notice
    def show_neighbours(model: str, key: str | None) -> str:
        guest, session = page.guests.get(key), page.catalog.session(model)
        if guest.x is None:
            raise InputError("There is no photo to compare. Please choose one.")
        return neighbours(session, guest.x)

    mine, panels = [page.model, key], [drawn, tools, files, film, nearest, similar, draw]
    drawing = draw.click(project, mine, [*panels, *sliders], concurrency_limit=None, **STREAMED)
    for box in (upload, camera):
        outputs = [upload, camera, key, photo, face, *panels, *sliders]
        box.upload(take, [*mine, box], outputs, cancels=[drawing], **(QUIET | {"show_progress": "minimal"}))
    photo.release(drag, mine, [face, *panels], cancels=[drawing], trigger_mode="always_last", **QUIET)
    page.model.input(change_model, mine, [photo, face, *panels], cancels=[drawing], **QUIET)
    moves = [slider.input for slider in sliders]
    gr.on(moves, edit, [*mine, *sliders], drawn, trigger_mode="always_last", **QUIET)
    reset.click(restart, mine, [*panels, *sliders], **QUIET)
    similar.expand(show_neighbours, mine, nearest, **QUIET)


def _drawn_guest(page: Page, model: str, key: str | None) -> tuple[Guest, Session]:
    guest = page.guests.get(key)
    if guest.projected is None or guest.model != model:
        raise InputError("There is no drawn cat of yours. Please press “Draw my cat”.")
    return guest, page.catalog.session(model)


def _drawing(session: Session, guest: Guest) -> str:
    """Return the cat as the model draws it now, alone and in its photo."""
    x = guest.edited.draw(session.model)
    caption = "drawn by the model"
    if guest.x is not None and guest.edited is guest.projected:
        caption += f", {float(psnr(x, guest.x)):.1f} dB"
    images = [image_entry(to_uint8(x)[0], caption, "your cat")]
    if guest.landmarks is not None:
        images.append(image_entry(put_cat_back(guest, session.model, MAX_IN_PHOTO), "in your photo"))
    return drawing_html(images)


def _links(key: str, guest: Guest) -> str:
    names = [name for name in DOWNLOADS if name != "photo.jpg" or guest.landmarks is not None]
    return links(key, {name: DOWNLOADS[name] for name in names})
