"""The report of a run: `report.html`, a page that needs no other file."""

import io
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from vae.cli.errors import InputError
from vae.runs.files import atomic_write
from vae.runs.safe_parsing import read_json, read_text, read_yaml
from vae.visualization.curves import read_curves
from vae.visualization.metrics_table import SPLITS, Table, describe, table
from vae.visualization.rendering import data_uri, encode_webp, render


class Caption(NamedTuple):
    """The text that accompanies a figure."""

    title: str
    text: str
    alt: str
    kind: str = ""  # "wide" or "small": the room that the figure takes


# In the order of the page: the figures that people look at first come first.
CAPTIONS = {
    "samples.png": Caption("New cats", "Drawn with the run's own sampler.", "sheet of new cats drawn by the model"),
    "reconstructions.png": Caption(
        "Reconstructions",
        "Test images, which the model did not see in training: original on the left, reconstruction on the right.",
        "pairs of a test image and its reconstruction",
    ),
    "interpolation.png": Caption(
        "Interpolations",
        "From one test image to another through the latent space.",
        "rows of images that turn from one cat's face into another",
        "wide",
    ),
    "loop.gif": Caption(
        "Loop", "From new cat to new cat.", "animation of a cat's face that turns into others and back", "small"
    ),
    "film.gif": Caption(
        "The training as a film",
        "Reconstructions of the same images, from the first epoch to the last.",
        "animation of reconstructions that sharpen while the model trains",
        "small",
    ),
    "traversals.png": Caption(
        "Traversals",
        "Each row follows one of the strongest directions of the latent space, from −3 to 3 standard deviations.",
        "rows of faces, each row changing in one way from left to right",
        "wide",
    ),
    "nearest.png": Caption(
        "Nearest neighbours",
        "The new cats most similar to a training image, next to that image. Copies would show here.",
        "pairs of a new cat and the nearest training image",
    ),
    "means.png": Caption(
        "Mean face and σ",
        "Mean and standard deviation of every pixel, of training images and of new cats.",
        "mean face and map of the standard deviations; training images above, new cats below",
    ),
    "latent_map.png": Caption(
        "Map of the latent space",
        "Training images at the position of their latents, projected to two dimensions.",
        "map of small images of cats, similar ones close to each other",
        "wide",
    ),
    "alignment.png": Caption(
        "Alignment", "Photo, landmarks, face.", "rows of a photo, the photo with its landmarks, and the aligned face"
    ),
}
CURVES = Caption("", "Over the epochs.", "curves of loss, reconstruction and KL over the epochs", "plot")


def write_report(run: Path | str, figures: Path | None = None, out: Path | None = None) -> Path:
    """Write `report.html` about a run and return its path.

    Args:
        run: the folder of the run.
        figures: the folder of its figures; None for `figures` in the run.
        out: the folder of the report and of newly measured metrics; None for the run.

    Raises:
        InputError: there is no such run, it holds no trained model, or one of its files cannot be read.
    """
    run = Path(run).expanduser()
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run} holds no trained model (config.yaml is missing): train one with `make train`")
    figures = figures or run / "figures"
    data = read_yaml(run / "config.yaml").get("data")
    if not isinstance(data, dict):
        raise InputError(f"{run / 'config.yaml'} has no data: train the run again, or use another one")
    out = out or run
    (columns, rows), notes = _metrics(out if (out / "metrics.json").is_file() else run)
    images = embed_figures(figures)
    curves = figures / "curves.png"
    sections = {"Images": images, "Curves": curves.is_file(), "Metrics": rows, "Configuration": True}
    page = {
        "title": f"Run {run.resolve().name}",
        "about": f"{data.get('name')} at {data.get('image_size')}×{data.get('image_size')} pixels",
        "sections": [name for name, shown in sections.items() if shown],
        "images": images,
        "curves": embed(curves, CURVES) if curves.is_file() else None,
        "columns": columns,
        "rows": rows,
        "notes": notes,
        **_origin(run),
    }
    with atomic_write(out / "report.html") as path:
        path.write_text(render("report.html", page), encoding="utf-8")
    return out / "report.html"


def embed_figures(folder: Path) -> list[dict[str, Any]]:
    """Return the figures in a folder for the template: samples of every sampler, then the others in their order."""
    known = dict(CAPTIONS)
    for path in sorted(folder.glob("samples_*.png")):
        name = path.stem.removeprefix("samples_")
        known[path.name] = Caption("New cats", f"Drawn with the sampler {name}.", f"new cats of the sampler {name}")
    names = sorted(known, key=lambda name: -1 if name.startswith("samples") else list(known).index(name))
    return [embed(folder / name, known[name]) for name in names if (folder / name).is_file()]


def embed(path: Path, caption: Caption) -> dict[str, Any]:
    """Return a figure for the template, its file as a `data:` address; PNG becomes WebP where that is smaller.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        data, media = path.read_bytes(), f"image/{path.suffix[1:]}"
        with Image.open(io.BytesIO(data), formats=["PNG", "GIF"]) as image:
            width, height = image.size
            if path.suffix == ".png" and len(webp := encode_webp(image)) < len(data):
                data, media = webp, "image/webp"
    except Exception as error:  # Pillow's readers raise any exception on a broken file.
        raise InputError(f"{path} cannot be read as an image ({error}): remove it and draw it again") from None
    about = {"title": caption.title, "caption": caption.text, "alt": caption.alt, "kind": caption.kind}
    return {"source": data_uri(data, media), "width": width, "height": height, **about}


def _metrics(run: Path) -> tuple[Table, list[str]]:
    """Return the table of `make evaluate` and its notes; before an evaluation, the values logged last."""
    if (run / "metrics.json").is_file():
        metrics = read_json(run / "metrics.json")
        try:
            return table(metrics), list(metrics.get("notes", []))
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise InputError(f"{run / 'metrics.json'} holds no metrics: run `make evaluate run={run}` again") from None
    log = run / "metrics.csv"
    logged = {name: points[-1][1] for name, points in (read_curves(log) if log.is_file() else {}).items()}
    splits = [split for split in SPLITS if any(name.startswith(f"{split}/") for name in logged)]
    names = sorted({name.partition("/")[2] for name in logged if name.partition("/")[0] in SPLITS})
    cells = {name: [logged.get(f"{split}/{name}") for split in splits] for name in names}
    rows = [
        (describe(name), ["" if value is None else f"{value:.5g}" for value in values])
        for name, values in cells.items()
    ]
    note = "Logged at the end of the training. `make evaluate` also measures the samples."
    return Table([SPLITS[split] for split in splits], rows), [note] if rows else []


def _origin(run: Path) -> dict[str, Any]:
    """Return the configuration of a run, and the command and commit that made it."""
    options = next(
        path for path in (run / "options.yaml", run / ".hydra" / "config.yaml", run / "config.yaml") if path.is_file()
    )
    command, environment = None, ""
    if (run / "environment.yaml").is_file():
        made = read_yaml(run / "environment.yaml")
        typed, commit = made.get("command"), made.get("git_commit")
        if isinstance(typed, list):
            kept = [str(word) for word in typed if not str(word).startswith(("run_dir=", "resume="))]
            command = " ".join(["make train", *map(shlex.quote, kept)])
        if commit:
            environment = f"at commit {str(commit)[:10]}" + " with changes" * bool(made.get("git_changes"))
    return {"options": read_text(options), "command": command, "environment": environment}


def draw_and_write(
    run: Path, figures: Path, processed_dir: str | None = None, seed: int = 0, out: Path | None = None
) -> Path:
    """Draw the figures of a trained model, new cats with its own sampler and with the prior, and write the report."""
    from vae.data.loading import load_datamodule
    from vae.models.serialization import load
    from vae.visualization.figures import RunFigures, draw

    model = load(run)
    datamodule = load_datamodule(model.config.data, processed_dir)
    draw(RunFigures(run, model, datamodule, figures, samplers=["prior"], seed=seed), progress=True)
    return write_report(run, figures, out)
