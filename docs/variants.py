"""Write the table and the pictures of the page on variants from a sweep: `python -m docs.variants SWEEP [TIMED]`.

The table goes between the two marks in `docs/source/variants.md`, the pictures into
`docs/source/images/variants-*.jpg`. With a sweep TIMED, of trainings that ran one after the other on an idle machine,
the table has the time of a step.
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from docs.images import write_jpeg
from vae.cli.errors import InputError
from vae.models.samplers.choices import choose_samplers
from vae.models.serialization import load
from vae.runs.records import read_result
from vae.runs.safe_parsing import read_yaml
from vae.runs.sweeps import members
from vae.visualization.images import grid, to_uint8

PAGE = Path(__file__).parent / "source" / "variants.md"
BEGIN, END = "<!-- the table of docs/variants.py -->\n", "<!-- its end -->\n"
HEAD = "variant | PSNR, dB ↑ | bits/dim ↓ | SWD ↓ | sampler | SWD of the prior | density | coverage ↑ | cats seen ↑"
SHOWN = 12  # new cats of each variant
ROWS = 24  # variants on a picture


def main(sweep: str, timed: str | None = None) -> None:
    runs = {variant(run): run for run in members(Path(sweep)) if (run / "metrics.json").exists()}
    if not runs:
        raise InputError(f"{sweep} holds no measured runs: make sweep 'variant=glob(*)'")
    clocked = {variant(run): run for run in members(Path(timed))} if timed else {}
    rows, strips = [], []
    for name, run in runs.items():
        metrics = json.loads((run / "metrics.json").read_text())
        step = [_text(1000 * read_result(clocked[name])["step_seconds"], 0)] if clocked else []
        rows.append((metrics["best"]["sliced_wasserstein"], [*cells(name, metrics), *step]))
        strips.append((name, strip(run, metrics["best_sampler"])))
        print(name)
    lines = [f"| {HEAD} |", "|---|--:|--:|--:|---|--:|--:|--:|--:|"]
    if clocked:
        lines = [lines[0] + " step, ms |", lines[1] + "--:|"]
    lines += ["| " + " | ".join(row) + " |" for _, row in sorted(rows)]
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Variants compared\n\n"
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + rest.partition(END)[2], encoding="utf-8")
    for start in range(0, len(strips), ROWS):
        write_jpeg(f"variants-{start // ROWS + 1}", sheet(strips[start : start + ROWS]))


def variant(run: Path) -> str:
    """Return the name of the variant of a run."""
    return read_yaml(run / ".hydra" / "hydra.yaml")["hydra"]["runtime"]["choices"]["variant"]


def cells(name: str, metrics: dict) -> list[str]:
    """Return the row of a variant."""
    best, prior = metrics["best"], {metrics["sampler"]: metrics, **metrics["samplers"]}.get("prior", {})
    numbers = [metrics.get("psnr"), metrics.get("bits_per_dim"), best["sliced_wasserstein"]]
    psnr, bits, distance = (_text(number, digits) for number, digits in zip(numbers, (1, 2, 1), strict=True))
    rest = [prior.get("sliced_wasserstein"), *(best.get(key) for key in ("density", "coverage", "cat_detection_rate"))]
    rest = [_text(number, digits) for number, digits in zip(rest, (1, 2, 2, 2), strict=True)]
    return [f"`{name}`", psnr, bits, distance, f"`{metrics['best_sampler']}`", *rest]


def strip(run: Path, sampler: str) -> Image.Image:
    """Draw new cats of a run in a row, by its best sampler."""
    model = load(run)
    own, others = choose_samplers(model.latent, model.config.sampler, [sampler])
    if sampler != own:
        model = load(run, sampler=others[sampler])
    return Image.fromarray(to_uint8(grid(model.sample(SHOWN, seed=0), columns=SHOWN)))


def sheet(strips: list[tuple[str, Image.Image]]) -> Image.Image:
    """Put strips below each other, each after its name."""
    width, height = strips[0][1].size
    margin, font = 150, ImageFont.load_default(15)
    image = Image.new("RGB", (margin + width, height * len(strips)), "white")
    for row, (name, picture) in enumerate(strips):
        image.paste(picture, (margin, row * height))
        ImageDraw.Draw(image).text((4, (row + 0.5) * height), name, "black", font, anchor="lm")
    return image


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
