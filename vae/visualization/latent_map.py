"""A map of the latent space: images at the position of their latents."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vae.cli.errors import InputError
from vae.runs.files import atomic_write
from vae.visualization.images import to_uint8

MAP_SIDE, THUMBNAIL_SIDE, DOT_SIDE = 1400, 48, 4  # pixels
DOT_COLOR = (190, 190, 190)
METHODS = ("pca", "tsne", "umap")


def project(z: Tensor, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Project latents to two dimensions.

    Args:
        z: `(N, *latent)`, N ≥ 3.
        method: `pca` for the directions of largest variance; `tsne` (van der Maaten & Hinton 2008); `umap` (McInnes et
            al. 2018), if umap-learn is installed.
        seed: of tsne and umap.

    Returns:
        `(N, 2)` float64.

    Raises:
        InputError: the method is unknown or not installed, or there are too few latents.
    """
    if method not in METHODS:
        raise InputError(f"latent_map must be one of {', '.join(METHODS)}, not {method!r}")
    if len(z) < 3:
        raise InputError(f"a latent map needs three images or more, not {len(z)}")
    points = z.flatten(1).double().cpu().numpy()
    if points.shape[1] == 1:
        return np.column_stack([points, np.zeros_like(points)])
    if method == "pca":
        from sklearn.decomposition import PCA

        return PCA(2, random_state=seed).fit_transform(points)
    if method == "tsne":
        from sklearn.manifold import TSNE

        return TSNE(perplexity=min(30, (len(points) - 1) / 3), random_state=seed).fit_transform(points)
    if find_spec("umap") is None:
        raise InputError("latent_map=umap needs umap-learn: pip install umap-learn, or use latent_map=tsne")
    from umap import UMAP

    return UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed).fit_transform(points)


def save_latent_map(z: Tensor, images: Tensor, path: Path | str, method: str = "pca", seed: int = 0) -> Path:
    """Draw images at the position of their latents; an image that would cover another becomes a dot.

    Args:
        z: `(N, *latent)`.
        images: `(N, 3, H, W)` in [-1, 1].
        path: the file to write.
        method: see `project`.
        seed: see `project`.
    """
    points = project(z, method, seed)
    centre = np.median(points, axis=0)
    reach = np.quantile(np.abs(points - centre), 0.98, axis=0).clip(1e-12)  # Outliers are moved to the edge.
    free = MAP_SIDE - THUMBNAIL_SIDE
    corners = np.clip((points - centre) / reach / 2 + 0.5, 0, 1) * free
    corners[:, 1] = free - corners[:, 1]
    corners = corners.round().astype(int)
    sheet = Image.new("RGB", (MAP_SIDE, MAP_SIDE), "white")
    shown: list[int] = []
    for index, corner in enumerate(corners):
        if (np.abs(corners[shown] - corner).max(axis=1) < THUMBNAIL_SIDE).any():
            x, y = (corner + (THUMBNAIL_SIDE - DOT_SIDE) // 2).tolist()
            sheet.paste(DOT_COLOR, (x, y, x + DOT_SIDE, y + DOT_SIDE))
        else:
            shown.append(index)
    for index, levels in zip(shown, to_uint8(images[shown]), strict=True):
        thumbnail = Image.fromarray(levels).resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        sheet.paste(thumbnail, tuple(corners[index].tolist()))
    with atomic_write(path) as temporary:
        sheet.save(temporary)
    return Path(path)
