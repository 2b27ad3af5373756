"""A run on one page: `report.html`, which needs no other file."""

import base64
import io
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from vae.cli.errors import InputError
from vae.runs.files import atomic_write
from vae.runs.safe_parsing import read_json, read_text, read_yaml

TEMPLATE = Path(__file__).with_name("report.html")
SPLITS = {"train/": "training", "val/": "validation", "test/": "test"}


class Caption(NamedTuple):
    """What is said of a figure."""

    title: str
    text: str
    alt: str
    kind: str = ""  # "wide", "small": how much room it takes


# In the order of the page; the pictures that people look at first, first.
CAPTIONS = {
    "samples.png": Caption("New cats", "by the run's own sampler.", "sheet of new cats drawn by the model"),
    "reconstructions.png": Caption(
        "Reconstructions",
        "Test pictures, which the model has not seen in training: original left, reconstruction right.",
        "pairs of a test picture and its reconstruction",
    ),
    "interpolation.png": Caption(
        "Interpolations",
        "From one test picture to another through the latent space.",
        "rows of pictures that turn from one cat's face into another",
        "wide",
    ),
    "loop.gif": Caption(
        "Loop", "From new cat to new cat.", "animation of a cat's face that turns into others and back", "small"
    ),
    "film.gif": Caption(
        "The training as a film",
        "Reconstructions of the same pictures, from the first epoch to the last.",
        "animation of reconstructions that sharpen while the model trains",
        "small",
    ),
    "traversals.png": Caption(
        "Traversals",
        "Along the strongest directions of the latent space, one a row, from −3 to 3 standard deviations.",
        "rows of faces, each row changing in one way from left to right",
        "wide",
    ),
    "nearest.png": Caption(
        "Nearest neighbours",
        "The new cats that are most like a training picture, each beside that picture: copies would show here.",
        "pairs of a new cat and the training picture nearest to it",
    ),
    "means.png": Caption(
        "Mean face and σ",
        "Mean and standard deviation of every pixel, of training pictures and of new cats.",
        "mean face and map of the standard deviations, of training pictures above and of new cats below",
    ),
    "latent_map.png": Caption(
        "Map of the latent space",
        "Training pictures where their latents lie, flattened to two dimensions.",
        "map with small pictures of cats, similar ones close to each other",
        "wide",
    ),
    "alignment.png": Caption(
        "Alignment", "Photo, landmarks, face.", "rows of a photo, the photo with its landmarks, and the aligned face"
    ),
}
CURVES = Caption("", "Over the epochs.", "curves of loss, reconstruction and KL over the epochs")


def write_report(run: Path | str, figures: Path | None = None) -> Path:
    """Write `report.html` into a run folder, from what lies there.

    Args:
        run: its folder.
        figures: where its pictures are; None for `figures` in it.

    Raises:
        InputError: there is no such run, or it holds no trained model.
    """
    from jinja2 import Environment

    run = Path(run).expanduser()
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run} holds no trained model (config.yaml is missing): train one with `make train`")
    figures = figures or run / "figures"
    data = read_yaml(run / "config.yaml").get("data")
    if not isinstance(data, dict):
        raise InputError(f"{run / 'config.yaml'} has no data: train the run again, or take another one")
    page = {
        "title": f"Run {run.resolve().name}",
        "about": f"{data.get('name')} at {data.get('image_size')}×{data.get('image_size')} pixels",
        "pictures": images(figures),
        "curves": [embedded(path, CURVES) for path in [figures / "curves.png"] if path.is_file()],
        **_measures(run),
        **_origin(run),
    }
    parts = {"pictures": "Pictures", "curves": "Curves", "rows": "Measures", "options": "Configuration"}
    page["parts"] = [(name.lower(), name) for key, name in parts.items() if page[key]]
    template = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    with atomic_write(run / "report.html") as path:
        path.write_text(template.render(page), encoding="utf-8")
    return run / "report.html"


def images(folder: Path) -> list[dict[str, Any]]:
    """The figures in a folder, ready for the page: the known ones in their order, samples of other samplers beside."""
    known = dict(CAPTIONS)
    for path in sorted(folder.glob("samples_*.png")):
        name = path.stem.removeprefix("samples_")
        known[path.name] = Caption(f"New cats, sampler={name}", "", f"sheet of new cats drawn with the sampler {name}")
    names = sorted(known, key=lambda name: -1 if name.startswith("samples") else list(known).index(name))
    return [embedded(folder / name, known[name]) for name in names if (folder / name).is_file()]


def embedded(path: Path, caption: Caption) -> dict[str, Any]:
    """A picture as an address that holds it; what is large becomes WebP.

    Raises:
        InputError: it cannot be read.
    """
    try:
        data, media = path.read_bytes(), f"image/{path.suffix[1:]}"
        with Image.open(io.BytesIO(data), formats=["PNG", "GIF"]) as picture:
            width, height = picture.size
            if path.suffix == ".png":
                buffer = io.BytesIO()
                picture.convert("RGB").save(buffer, "WEBP", quality=90)
                if buffer.tell() < len(data):
                    data, media = buffer.getvalue(), "image/webp"
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        raise InputError(f"{path} cannot be read as a picture ({error}): remove it, and draw it again") from None
    source = f"data:{media};base64,{base64.b64encode(data).decode()}"
    about = {"title": caption.title, "caption": caption.text, "alt": caption.alt, "kind": caption.kind}
    return {"source": source, "width": width, "height": height, **about}


def _measures(run: Path) -> dict[str, Any]:
    """The table of `make evaluate`; before that, what the training has logged last."""
    from vae.visualization.images import read_curves
    from vae.visualization.table import columns, rows

    if (run / "metrics.json").is_file():
        measures = read_json(run / "metrics.json")
        try:
            found = [(f"{row.label} {row.better}".rstrip(), cells) for row, cells in rows(measures)]
            return {"columns": list(columns(measures)), "rows": found, "notes": list(measures.get("notes", []))}
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise InputError(f"{run / 'metrics.json'} holds no measures: run `make evaluate run={run}` again") from None
    else:
        log = run / "metrics.csv"
        logged = {name: points[-1][1] for name, points in (read_curves(log) if log.is_file() else {}).items()}
    names = sorted({name.partition("/")[2] for name in logged if name.startswith(tuple(SPLITS))})
    splits = {split: title for split, title in SPLITS.items() if any(name.startswith(split) for name in logged)}
    found = [
        (name, [f"{logged[split + name]:.5g}" if split + name in logged else "" for split in splits]) for name in names
    ]
    note = "As logged at the end of the training; `make evaluate` measures the samples too."
    return {"columns": list(splits.values()), "rows": found, "notes": [note] if found else []}


def _origin(run: Path) -> dict[str, Any]:
    """The whole configuration, and the command that made the run."""
    whole_config = next(
        path for path in (run / "options.yaml", run / ".hydra" / "config.yaml", run / "config.yaml") if path.is_file()
    )
    line, environment = None, ""
    if (run / "environment.yaml").is_file():
        made = read_yaml(run / "environment.yaml")
        typed, commit = made.get("command"), made.get("git_commit")
        if isinstance(typed, list):
            kept = [str(word) for word in typed if not str(word).startswith(("run_dir=", "resume="))]
            line = " ".join(["make train", *map(shlex.quote, kept)])
        if commit:
            environment = f"at commit {str(commit)[:10]}" + " with changes" * bool(made.get("git_changes"))
    return {"options": read_text(whole_config), "command": line, "environment": environment}


def draw_and_write(run: Path, figures: Path, processed_dir: str | None = None, seed: int = 0) -> Path:
    """Draw the figures of a trained model, new cats by its own sampler and by the prior, and write the report."""
    from vae.data.loading import load_datamodule
    from vae.models.serialization import load
    from vae.visualization.figures import RunFigures, draw

    model = load(run)
    datamodule = load_datamodule(model.config.data, processed_dir)
    draw(RunFigures(run, model, datamodule, figures, wanted=["prior"], seed=seed), progress=True)
    return write_report(run, figures)
