"""Numbers from a browser, clamped to their range."""

import math
from typing import Any

import gradio as gr


def clamp(value: Any, minimum: float | None, maximum: float | None, default: float) -> float:
    """Return a number within its range; anything that is not a finite number becomes the default."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    if not math.isfinite(number):
        return default
    return min(math.inf if maximum is None else maximum, max(-math.inf if minimum is None else minimum, number))


def clamp_inputs() -> None:
    """Make Gradio's numbers and sliders clamp a value; by default they print a traceback if it is out of range."""

    def preprocess(self: gr.Number | gr.Slider, payload: Any) -> float:
        default = self.value if isinstance(self.value, int | float) else self.minimum or 0
        number = clamp(payload, self.minimum, self.maximum, default)
        return round(number) if self.precision == 0 else number

    gr.Number.preprocess = gr.Slider.preprocess = preprocess
