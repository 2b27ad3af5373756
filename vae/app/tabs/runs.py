"""The tab of runs side by side."""

import gradio as gr

from vae.app.html import compare_runs
from vae.app.page import QUIET, Page

MAX_RUNS = 4  # side by side


def add_runs(page: Page, tab: gr.Tab) -> None:
    """Add the tab; it lists new runs whenever it is opened."""
    chosen = gr.Dropdown(
        list(page.catalog.folders()),
        value=[page.catalog.default],
        multiselect=True,
        max_choices=MAX_RUNS,
        label=f"Runs, up to {MAX_RUNS} side by side",
        elem_id="choose-runs",
        allow_custom_value=False,
    )
    shown = gr.HTML(elem_id="runs")

    def show(chosen: list[str]) -> str:
        folders = page.catalog.folders()
        return compare_runs({name: folders[name] for name in chosen[:MAX_RUNS] if name in folders})

    tab.select(lambda: gr.Dropdown(choices=list(page.catalog.folders())), outputs=chosen, **QUIET)
    chosen.change(show, chosen, shown, **QUIET)
    page.loaded.then(show, chosen, shown, **QUIET)
