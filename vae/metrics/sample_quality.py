"""One set of pictures against the training pictures, by every measure there are pictures enough for."""

from collections.abc import Callable, Iterable

from torch import Tensor

from vae.metrics.faces import cat_faces
from vae.metrics.memorisation import Nearest, copies, nearest
from vae.metrics.pca_baseline import PCABaseline
from vae.metrics.samples import NEIGHBOURS, frechet_distance, kernel_distance, support
from vae.metrics.sliced_wasserstein import levels, sliced_wasserstein

COMPONENTS = 64  # of the PCA space


class Comparison:
    """What every set is compared with.

    Sets are compared at equal sizes: with as many training pictures as the set has, or fewer of both.

    Args:
        training: `(N, 3, H, W)` in [-1, 1], training pictures in random order.
        eigencats: their PCA; the features are its first 64 coordinates (one for every ten pictures, at most),
            divided by one number, so that their mean variance is 1.
        everything: → batches of all training pictures, to look for copies in.
        inception: pictures → features `(B, 2048)`, if there are weights.
        seed: of the random patches and directions.

    Attributes:
        notes: which measures were left out, and why.
    """

    def __init__(
        self,
        training: Tensor,
        eigencats: PCABaseline,
        everything: Callable[[], Iterable[Tensor]],
        inception: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        self.training = training
        self.eigencats = eigencats
        self.everything = everything
        self.inception = inception
        self.seed = seed
        self.components = min(COMPONENTS, max(1, len(training) // 10), len(eigencats.variances))
        self.heldout: Nearest | None = None
        self.notes: list[str] = []

    def features(self, pictures: Tensor) -> Tensor:
        """The PCA space: `(B, components)`."""
        unit = self.eigencats.variances[: self.components].mean().sqrt()
        return self.eigencats.coordinates(pictures)[:, : self.components] / unit

    def measure(self, pictures: Tensor, name: str, heldout: bool = False) -> tuple[dict[str, float], Nearest]:
        """All measures of one set.

        Args:
            pictures: `(M, 3, H, W)` in [-1, 1].
            name: of the set, for the notes.
            heldout: these are the real held-out pictures, by which copies among others are told from then on.

        Returns:
            name of the measure → value, and the nearest training pictures.
        """
        count = min(len(pictures), len(self.training))
        drawn, real = pictures[:count], self.training[:count]
        values: dict[str, float] = {"pictures": count}
        if not levels(drawn.shape[-1]):
            self._note("sliced Wasserstein distance", name, "its pictures are smaller than 16 pixels")
        elif count < 8:
            self._note("sliced Wasserstein distance", name, f"{count} pictures are fewer than 8")
        else:
            distances = sliced_wasserstein(drawn, real, self.seed)
            values["sliced_wasserstein"] = sum(distances.values()) / len(distances)
            values |= {f"sliced_wasserstein_{side}": value for side, value in distances.items()}
        values |= self._in_space(self.features(drawn), self.features(real), name)
        if self.inception:
            far = self._in_space(self.inception(drawn), self.inception(real), name, full_rank=False)
            values |= {f"inception_{measure}": value for measure, value in far.items()}
        values["cat_detection_rate"] = float(cat_faces(pictures).mean())
        found = nearest(pictures, self.everything())
        if heldout:
            self.heldout = found
        values |= {"nearest_distance": float(found.distance.median()), "nearest_ratio": float(found.ratio.median())}
        if self.heldout is not None:
            values["copies"] = copies(found, self.heldout)
        return values, found

    def _in_space(self, drawn: Tensor, real: Tensor, name: str, full_rank: bool = True) -> dict[str, float]:
        count, dimensions = drawn.shape
        values = {}
        if count > (dimensions if full_rank else 1):
            values["frechet_distance"] = frechet_distance(drawn, real)
        else:
            self._note("Fréchet distance", name, f"{count} pictures are too few for {dimensions} dimensions")
        if count > NEIGHBOURS:
            values["kernel_distance"] = kernel_distance(drawn, real)
            values |= support(drawn, real)._asdict()
        else:
            self._note("precision, recall, density and coverage", name, f"{count} pictures are fewer than 6")
        return values

    def _note(self, measure: str, name: str, reason: str) -> None:
        self.notes.append(f"no {measure} of {name}: {reason}")
