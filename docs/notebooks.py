"""Run the notebooks and store small outputs, which the web shows: `python docs/notebooks.py [NAME …]`.

Progress bars are dropped, and large images become JPEG.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image
from tqdm import tqdm

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MAX_PNG_BYTES = 30_000  # larger images become JPEG
JPEG_QUALITY = 80
MAX_WIDTH = 800  # pixels of an image
CELL_SECONDS = 3600  # that a cell may take


def main(names: list[str]) -> None:
    """Run the named notebooks, or all of them, in the root of the repository."""
    paths = [NOTEBOOKS / f"{name}.ipynb" for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in tqdm(paths, desc="notebooks"):
        notebook = nbformat.read(path, as_version=4)
        resources = {"metadata": {"path": str(NOTEBOOKS.parent)}}
        NotebookClient(notebook, timeout=CELL_SECONDS, resources=resources).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":
                cell.outputs = [shrink(output) for output in cell.outputs if is_result(output)]
        notebook.metadata.pop("widgets", None)
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size // 1000} KB")


def is_result(output: nbformat.NotebookNode) -> bool:
    """Return whether an output is more than progress or a warning."""
    return output.output_type != "stream" or (output.name == "stdout" and bool(_last_lines(output.text).strip()))


def shrink(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an output without overwritten lines, its image as JPEG if that is smaller."""
    if output.output_type == "stream":
        output.text = _last_lines(output.text)
    data = output.get("data", {})
    if len(encoded := data.get("image/png", "")) > MAX_PNG_BYTES * 4 / 3:
        image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
        image.thumbnail((MAX_WIDTH, image.height))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
        del data["image/png"]
        data["image/jpeg"] = base64.b64encode(buffer.getvalue()).decode()
    return output


def _last_lines(text: str) -> str:
    """Return what a terminal would show: of overwritten lines the last, and no progress bars."""
    lines = [line.rpartition("\r")[2] for line in text.replace("\x1b[A", "").split("\n")]
    return "\n".join(line for line in lines if "it/s]" not in line and "?it/s" not in line)


if __name__ == "__main__":
    main(sys.argv[1:])
