"""Parts that the tabs of the web page share."""

import functools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import Dependency

from vae.app.catalog import Catalog
from vae.app.guests import Guests
from vae.app.html import notice
from vae.app.projections import Projections
from vae.cli.errors import InputError

MAX_RANDOM_SEED = 100_000  # short enough to pass on by word of mouth
MAX_SEED = 2**53  # the largest integer that a browser keeps exactly

# Options of events. Each is answered by the response to its own request: Gradio's client closes its stream of answers
# after the last event that the server knows of, and the answer to an event posted at that moment would never arrive.
PLAIN = {"api_visibility": "private", "queue": False}
QUIET = PLAIN | {"show_progress": "hidden"}
STREAMED = QUIET | {"queue": True}  # for functions that yield


class Page(NamedTuple):
    """The page around the tabs."""

    catalog: Catalog
    guests: Guests
    projections: Projections
    model: gr.Dropdown  # the name of the chosen model
    tabs: gr.Tabs
    loaded: Dependency  # the event after which the chosen model is known

    def on_model(self, function: Callable, inputs: list, outputs: list) -> list[Dependency]:
        """Call a function when the page is opened and whenever another model is chosen."""
        return [trigger(function, inputs, outputs, **QUIET) for trigger in (self.loaded.then, self.model.input)]


def errors_as_notice(draw: Callable[..., str]) -> Callable[..., str]:
    """Wrap a function that returns HTML so that an `InputError` becomes a notice."""

    @functools.wraps(draw)
    def wrapped(*values: Any) -> str:
        try:
            return draw(*values)
        except InputError as error:
            return notice(str(error))

    return wrapped


def new_seed() -> int:
    """Return a random seed."""
    return random.randrange(MAX_RANDOM_SEED)


def upload_box(label: str, name: str) -> gr.File:
    """Return a box for a photo; it takes any type, because Gradio would keep a file that it refuses."""
    return gr.File(label=label, height=150, elem_id=name, elem_classes="upload")
