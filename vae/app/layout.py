"""The web page: its head with the choice of a model, its tabs, its colours.

`vae.app.session` draws the images and `vae.app.html` writes their HTML. Images travel inside the HTML, so they need no
files; an uploaded file is deleted as soon as it has been read.
"""

from typing import Any

import gradio as gr

from vae.app.catalog import Catalog
from vae.app.guests import Guests
from vae.app.html import masthead, notice
from vae.app.limits import clamp_inputs
from vae.app.page import QUIET, Page
from vae.app.projections import Projections
from vae.app.tabs.morph import add_morph
from vae.app.tabs.my_cat import add_my_cat
from vae.app.tabs.new_cats import add_new_cats
from vae.app.tabs.runs import add_runs
from vae.app.tabs.slider_cat import add_slider_cat
from vae.cli.errors import InputError

HEAD = '<meta name="referrer" content="no-referrer">'
MAX_SESSIONS = 1000  # visitors whose choices are remembered
# The accent is 600 on light and 400 on dark backgrounds, as in documentation and reports; white is readable on 600.
ACCENT = gr.themes.Color(
    name="accent",
    c50="#fdf4ee",
    c100="#fbe6d8",
    c200="#f6ccb0",
    c300="#f3b389",
    c400="#f0935c",
    c500="#cd6530",
    c600="#b4501e",
    c700="#954119",
    c800="#783517",
    c900="#5f2b14",
    c950="#3a1a0c",
)


def theme() -> gr.themes.Base:
    """Return the theme: the colours of the documentation, the fonts of the reader's system."""
    return gr.themes.Soft(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue="stone",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        color_accent="*primary_600",
        block_label_text_color="*primary_600",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )


def build(catalog: Catalog, guests: Guests, projections: Projections) -> gr.Blocks:
    """Return the page."""
    clamp_inputs()
    with gr.Blocks(title="VAE Cats", analytics_enabled=False, delete_cache=(600, 600)) as blocks:
        with gr.Row(elem_classes="top"):
            head = gr.HTML(masthead(catalog.session()), elem_classes="head")
            model = gr.Dropdown(
                list(catalog.folders()), value=catalog.default, label="Model", elem_id="model", min_width=160
            )

        def describe(model: str) -> str:
            try:
                return masthead(catalog.session(model))
            except InputError as error:
                return notice(str(error))

        def open_page(request: gr.Request) -> tuple[Any, str]:
            """Return the model that the address names, or the default, and its description."""
            folders, name = list(catalog.folders()), request.query_params.get("model")
            name = name if name in folders else catalog.default
            return gr.Dropdown(choices=folders, value=name), describe(name)

        model.input(describe, model, head, **QUIET)
        with gr.Tabs(elem_id="tabs") as tabs:
            page = Page(
                catalog, guests, projections, model, tabs, blocks.load(open_page, outputs=[model, head], **QUIET)
            )
            with gr.Tab("New cats", id="new"):
                add_new_cats(page)
            with gr.Tab("Slider cat", id="slider"):
                add_slider_cat(page)
            with gr.Tab("Morph", id="morph"):
                add_morph(page)
            with gr.Tab("Your cat", id="mine"):
                add_my_cat(page)
            with gr.Tab("Runs", id="runs") as tab:
                add_runs(page, tab)
    blocks.state_session_capacity = MAX_SESSIONS
    return blocks
