"""The mean face, and how much every pixel varies around it."""

from pathlib import Path

from torch import Tensor

from vae.runs.files import atomic_write
from vae.visualization.images import to_uint8


def save_means(sets: dict[str, Tensor], path: Path | str) -> Path:
    """Draw mean and standard deviation of sets of pictures, one row a set, with one scale for all.

    Args:
        sets: title → `(B, 3, H, W)` in [-1, 1], B ≥ 2.
        path: the picture to write.
    """
    from matplotlib.figure import Figure

    spreads = {title: ((pictures.clamp(-1, 1) + 1) / 2).std(0).mean(0) for title, pictures in sets.items()}
    most = max(float(spread.max()) for spread in spreads.values())
    figure = Figure(figsize=(6.4, 2.9 * len(sets)), layout="constrained")
    panels = figure.subplots(len(sets), 2, squeeze=False)
    for (mean, sigma), (title, pictures) in zip(panels, sets.items(), strict=True):
        mean.imshow(to_uint8(pictures.mean(0)))
        mean.set_title(f"mean of {len(pictures)} {title}", fontsize=10)
        drawn = sigma.imshow(spreads[title].numpy(), cmap="magma", vmin=0, vmax=most)
        sigma.set_title(f"σ of {title}", fontsize=10)
        for panel in (mean, sigma):
            panel.set_axis_off()
    figure.colorbar(drawn, ax=panels[:, 1], label="standard deviation, grey values in [0, 1]")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return Path(path)
