"""A map of the latent space: pictures where their latents lie."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vae.cli.errors import InputError
from vae.runs.files import atomic_write
from vae.visualization.images import to_uint8

SIDE = 1400  # of the map, in pixels
THUMBNAIL = 48
METHODS = ("pca", "tsne", "umap")


def flatten(z: Tensor, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Latents in two dimensions.

    Args:
        z: `(N, *latent)`, N ≥ 3.
        method: `pca`, the directions of the largest variance; `tsne` (van der Maaten & Hinton 2008); `umap` (McInnes et
            al. 2018), if umap-learn is installed.
        seed: of tsne and umap.

    Returns:
        `(N, 2)` float64.

    Raises:
        InputError: an unknown method, one that is not installed, or too few latents.
    """
    if method not in METHODS:
        raise InputError(f"latent_map must be one of {', '.join(METHODS)}, not {method!r}")
    if len(z) < 3:
        raise InputError(f"a latent map needs three pictures or more, not {len(z)}")
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
        raise InputError("latent_map=umap needs umap-learn (pip install umap-learn); or take latent_map=tsne")
    from umap import UMAP

    return UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed).fit_transform(points)


def save_latent_map(z: Tensor, pictures: Tensor, path: Path | str, method: str = "pca", seed: int = 0) -> Path:
    """Draw pictures where their latents lie; one that would cover another is a dot.

    Args:
        z: `(N, *latent)`.
        pictures: `(N, 3, H, W)` in [-1, 1].
        path: the picture to write.
        method: see `flatten`.
        seed: see `flatten`.
    """
    points = flatten(z, method, seed)
    centre, reach = np.median(points, axis=0), np.abs(points - np.median(points, axis=0))
    scale = np.quantile(reach, 0.98, axis=0).clip(1e-12)  # the few far away go to the edge
    free = SIDE - THUMBNAIL
    places = np.clip((points - centre) / scale / 2 + 0.5, 0, 1) * free
    places[:, 1] = free - places[:, 1]
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    shown: list[np.ndarray] = []
    hidden = []
    for index, place in enumerate(places.round().astype(int)):
        if shown and (np.abs(np.stack([places[i] for i in shown]) - place).max(axis=1) < THUMBNAIL).any():
            hidden.append(place)
        else:
            shown.append(index)
    for x, y in hidden:
        sheet.paste(
            (190, 190, 190),
            (x + THUMBNAIL // 2 - 2, y + THUMBNAIL // 2 - 2, x + THUMBNAIL // 2 + 2, y + THUMBNAIL // 2 + 2),
        )
    for index, levels in zip(shown, to_uint8(pictures[shown]), strict=True):
        thumbnail = Image.fromarray(levels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        x, y = places[index].round().astype(int)
        sheet.paste(thumbnail, (int(x), int(y)))
    with atomic_write(path) as temporary:
        sheet.save(temporary)
    return Path(path)
