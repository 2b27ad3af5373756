"""The measures of a run as one table."""

from typing import NamedTuple


class Row(NamedTuple):
    """One measure."""

    key: str  # in metrics.json
    label: str
    digits: int
    better: str = ""  # "↑" the more the better, "↓" the less


ROWS = [
    Row("psnr", "PSNR, dB", 2, "↑"),
    Row("ssim", "SSIM", 3, "↑"),
    Row("ms_ssim", "MS-SSIM", 3, "↑"),
    Row("l1", "L1, of [0, 1]", 4, "↓"),
    Row("elbo", "ELBO, nats", 0, "↑"),
    Row("iwae", "importance-weighted bound, nats", 0, "↑"),
    Row("iwae_se", "its standard error, nats", 0),
    Row("bits_per_dim", "bits per dimension (ELBO)", 3, "↓"),
    Row("iwae_bits_per_dim", "bits per dimension (importance-weighted)", 3, "↓"),
    Row("kl", "KL, nats", 1),
    Row("active_units", "active units", 0),
    Row("mutual_information", "mutual information, nats", 2),
    Row("aggregate_frechet", "aggregate posterior to prior, Fréchet", 2, "↓"),
    Row("aggregate_mmd", "aggregate posterior to prior, MMD²", 4, "↓"),
    Row("sliced_wasserstein", "sliced Wasserstein ×10³", 1, "↓"),
    Row("frechet_distance", "Fréchet (PCA space)", 2, "↓"),
    Row("kernel_distance", "kernel distance (PCA space)", 3, "↓"),
    Row("precision", "precision (PCA space)", 2, "↑"),
    Row("recall", "recall (PCA space)", 2, "↑"),
    Row("density", "density (PCA space)", 2, "↑"),
    Row("coverage", "coverage (PCA space)", 2, "↑"),
    Row("inception_frechet_distance", "FID (Inception)", 2, "↓"),
    Row("inception_kernel_distance", "KID (Inception)", 4, "↓"),
    Row("inception_precision", "precision (Inception)", 2, "↑"),
    Row("inception_recall", "recall (Inception)", 2, "↑"),
    Row("inception_density", "density (Inception)", 2, "↑"),
    Row("inception_coverage", "coverage (Inception)", 2, "↑"),
    Row("cat_detection_rate", "seen as a cat", 2, "↑"),
    Row("nearest_distance", "nearest training picture, of [0, 1]", 4),
    Row("nearest_ratio", "nearest / second nearest", 3),
    Row("copies", "copies", 3, "↓"),
    Row("images", "images", 0),
]


def columns(measures: dict) -> dict[str, dict]:
    """Title → measures: the run with its own sampler, with others, and the yardsticks."""
    found = {f"{measures.get('sampler', 'model')}": measures, **measures.get("samplers", {})}
    found |= {"PCA": measures.get("pca", {}), "real": measures.get("real", {})}
    return {title: column for title, column in found.items() if column}


def rows(measures: dict) -> list[tuple[Row, list[str]]]:
    """The rows that have a value in any column, and their cells as text."""
    found = []
    for row in _with_levels(measures):
        cells = [_text(column.get(row.key), row.digits) for column in columns(measures).values()]
        if any(cells):
            found.append((row, cells))
    return found


def markdown(measures: dict) -> str:
    """The table, in Markdown that is aligned for the eye, and below it what there is to say."""
    head = ["", *columns(measures)]
    body = [[f"{row.label} {row.better}".rstrip(), *cells] for row, cells in rows(measures)]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [line(head), line(rule), *(line(cells) for cells in body)]
    return "\n".join([*lines, "", *(f"- {note}" for note in measures.get("notes", []))]).rstrip() + "\n"


def _with_levels(measures: dict) -> list[Row]:
    """`ROWS`, with a row for each level of the sliced Wasserstein distance."""
    keys = {key for column in columns(measures).values() for key in column if key.startswith("sliced_wasserstein_")}
    sides = sorted((int(key.rpartition("_")[2]) for key in keys), reverse=True)
    levels = [Row(f"sliced_wasserstein_{side}", f"· at {side}×{side} pixels", 1, "↓") for side in sides]
    place = next(i for i, row in enumerate(ROWS) if row.key == "sliced_wasserstein") + 1
    return [*ROWS[:place], *levels, *ROWS[place:]]


def _text(value: object, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
