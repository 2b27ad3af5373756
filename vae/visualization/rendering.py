"""Render pages from templates; each page is one file without links to others."""

import base64
import io
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

TEMPLATES = Path(__file__).with_name("templates")
WEBP_QUALITY = 90


def render(template: str, context: Mapping[str, Any], folder: Path = TEMPLATES) -> str:
    """Render a template with the values in `context`; in `.html` templates all values are escaped."""
    return environment(folder).get_template(template).render(context)


@cache
def environment(folder: Path) -> Environment:
    """Return the environment of the templates in a folder; those of this package can be extended and imported."""
    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["code"] = mark_code
    return made


def mark_code(text: object) -> Markup:
    """Return text as HTML, with the words in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def data_uri(data: bytes, media: str = "image/png") -> str:
    """Return bytes as a `data:` address."""
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def encode_webp(image: Image.Image) -> bytes:
    """Return an image as the bytes of a WebP file."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=WEBP_QUALITY)
    return buffer.getvalue()
