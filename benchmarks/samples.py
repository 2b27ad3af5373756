"""Samples of a model, at its own size and enlarged, beside real faces that it has not seen.

Enlarged samples are compared with faces that are sharp at that size: whose photo has a pixel for each of the face.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.judge import STEPS, Judge
from benchmarks.measuring import Row, row
from vae.cli.locations import REFINER
from vae.data.datamodule import FaceDataModule, to_images
from vae.data.loading import heldout_images, load_datamodule, training_images
from vae.data.sharp_crops import native_sides
from vae.data.store import FaceStore
from vae.metrics.memorisation import nearest_images
from vae.metrics.pca_baseline import PCABaseline
from vae.metrics.sample_quality import SampleQuality
from vae.models.refiner import enlarge, load_refiner
from vae.models.serialization import load
from vae.visualization.images import grid, save_image

SAMPLES = 1024
LARGE = 256  # pixels of enlarged samples
COMPONENTS = 64
SHOWN = 12


def sharp_faces(store: FaceStore, splits: tuple[str, ...], size: int) -> Tensor:
    """Return the faces that are sharp at `size` pixels, `(N, 3, size, size)` in [-1, 1]."""
    rows = np.flatnonzero(np.isin(store.split, splits) & (native_sides(store) >= size))
    if not len(rows):
        return torch.empty(0, 3, size, size)
    faces = [cv2.resize(np.asarray(store.faces[at]), (size, size), interpolation=cv2.INTER_AREA) for at in rows]
    return to_images(torch.from_numpy(np.stack(faces)))


class Measure:
    """Measures of some images against real held-out faces of their size.

    Args:
        real: held-out faces, `(N, 3, S, S)` in [-1, 1].
        train: training faces.
        datamodule: of all training images, which are searched for copies; None for images of another size.
        judge: of structure.
    """

    def __init__(self, real: Tensor, train: Tensor, datamodule: FaceDataModule | None, judge: Judge) -> None:
        searched = (lambda: datamodule.images("train", mirrored=datamodule.flip > 0)) if datamodule else lambda: [train]
        self.quality = SampleQuality(real, PCABaseline(train, COMPONENTS), searched)
        self.quality.heldout = nearest_images(real, searched())
        self.judge = judge

    def __call__(self, images: Tensor, name: str) -> dict[str, float]:
        """Measure images `(M, 3, S, S)` in [-1, 1]."""
        small = F.interpolate(images, size=(64, 64), mode="area")
        return self.quality.evaluate(images, name)[0] | self.judge.measure(small)


def measure(options) -> tuple[list[Row], dict]:
    """Rows of samples over real training faces, both against real held-out ones; all measures beside them."""
    if options.run is None:
        print("samples: left out; name a trained run whose data is at hand, --run models/latest")
        return [], {}
    model = load(options.run)
    datamodule = load_datamodule(model.config.data, options.processed)
    store = FaceStore(datamodule.folder)
    count = 32 if options.small else SAMPLES
    drawn = model.sample(count, seed=0).clamp(-1, 1)
    real, train = heldout_images(datamodule), training_images(datamodule, 10**6)
    small = F.interpolate(real, size=(64, 64), mode="area")
    judge = Judge(store, small, 5 if options.small else STEPS)
    at_size = Measure(real, train, datamodule, judge)
    found = {"samples": at_size(drawn, "samples"), "training faces": at_size(train[:count], "training faces")}
    side = drawn.shape[-1]
    rows = _rows(f"{side} px", found["samples"], found["training faces"], side, ("≤ 1.6×", "≥ 0.95×"))
    sharp, others = (sharp_faces(store, splits, LARGE) for splits in (("val", "test"), ("train",)))
    if REFINER.is_dir() and len(sharp) and len(others):
        at_large = Measure(sharp, others, None, judge)
        refined = load_refiner(REFINER).refine(drawn[: len(sharp)], LARGE)
        enlarged = enlarge(drawn[: len(sharp)], LARGE).clamp(-1, 1)
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(others)))
        kinds = {"refined": refined, "enlarged": enlarged, "sharp training faces": others[order]}
        large = {name: at_large(images, name) for name, images in kinds.items()}
        rows += _rows(
            f"refined to {LARGE} px", large["refined"], large["sharp training faces"], LARGE, ("≤ 1.3×", "≥ 0.9×")
        )
        rows += _rows(f"enlarged to {LARGE} px", large["enlarged"], large["sharp training faces"], LARGE, None)
        sheet = torch.cat([sharp[:SHOWN], refined[:SHOWN], enlarged[:SHOWN]])
        save_image(grid(sheet, columns=SHOWN), options.results / "samples.png")
        found |= large
    return rows, {"heldout": len(real), "measures": found}


def _rows(
    what: str, ours: dict[str, float], real: dict[str, float], side: int, goals: tuple[str, str] | None
) -> list[Row]:
    """Return the rows of one set of samples beside those of real faces; `goals` are those of distance and coverage."""
    finest = f"sliced_wasserstein_{side}"
    distance, coverage = goals or (None, None)
    bounds = {"in_place": "≥ 0.92×", "density": "≥ 0.7", "coverage": coverage, "copies": "≤ 0.02"}
    rows = [
        row(
            f"distance, {what}", [(ours["sliced_wasserstein"], real["sliced_wasserstein"])], distance, "SWD×10³", "real"
        ),
        row(f"finest level, {what}", [(ours[finest], real[finest])], goals and "≤ 2.5×", "SWD×10³", "real"),
    ]
    for name, bound in bounds.items():
        rows.append(row(f"{name}, {what}", [(ours[name], real[name] or 1)], goals and bound, "", "real"))
    return rows
