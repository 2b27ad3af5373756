"""The live demo of the documentation: the page of `make web`, made while mkdocs builds."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from mkdocs.structure.files import File, Files

from vae.cli.compose import compose
from vae.cli.errors import EnvironmentProblem
from vae.write_web_page import write_web_page

DEMO = """[Open it on its own](../demo/index.html){ .md-button }

<iframe class="demo" src="../demo/index.html" title="Cats drawn in the browser" loading="lazy"></iframe>
"""
MISSING = "*The demo was left out: onnxruntime-web could not be downloaded when these pages were built.*"


@cache
def demo() -> Path | None:
    """Write the page of the model in the box once; returns its folder, or None without a network."""
    try:
        return write_web_page(compose("web", "run=models/cats64", f"out={mkdtemp()}")).parent
    except EnvironmentProblem as error:
        print(f"The live demo is left out: {error}")
        return None


def on_files(files: Files, config: object) -> Files:
    """Add the files of the page below `demo/`."""
    for path in sorted(demo().iterdir()) if demo() else ():
        files.append(File.generated(config, f"demo/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the demo in its place."""
    return markdown.replace("<!-- demo -->", DEMO if demo() else MISSING)
