"""The mean face and the standard deviation of every pixel."""

from pathlib import Path

from torch import Tensor

from vae.runs.files import atomic_write
from vae.visualization.images import to_uint8


def save_pixel_statistics(sets: dict[str, Tensor], path: Path | str) -> Path:
    """Draw the mean and the standard deviation of sets of images, one row for each set, on one colour scale.

    Args:
        sets: title → `(B, 3, H, W)` in [-1, 1], B ≥ 2.
        path: the file to write.
    """
    from matplotlib.figure import Figure

    deviations = {title: ((images.clamp(-1, 1) + 1) / 2).std(0).mean(0) for title, images in sets.items()}
    largest = max(float(deviation.max()) for deviation in deviations.values())
    figure = Figure(figsize=(6.4, 2.9 * len(sets)), layout="constrained")
    panels = figure.subplots(len(sets), 2, squeeze=False)
    for (mean, sigma), (title, images) in zip(panels, sets.items(), strict=True):
        mean.imshow(to_uint8(images.mean(0)))
        mean.set_title(f"mean of {len(images)} {title}", fontsize=10)
        heatmap = sigma.imshow(deviations[title].numpy(), cmap="magma", vmin=0, vmax=largest)
        sigma.set_title(f"σ of {title}", fontsize=10)
        for panel in (mean, sigma):
            panel.set_axis_off()
    figure.colorbar(heatmap, ax=panels[:, 1], label="standard deviation, grey values in [0, 1]")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return Path(path)
