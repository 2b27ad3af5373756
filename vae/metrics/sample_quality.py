"""Sample quality: every metric of a set of images against the training images."""

from collections.abc import Callable, Iterable

from torch import Tensor

from vae.metrics.cat_detection import detect_cat_faces
from vae.metrics.feature_space import NEIGHBOURS, frechet_distance, kernel_distance, prdc
from vae.metrics.memorisation import Nearest, copy_rate, nearest_images
from vae.metrics.pca_baseline import PCABaseline
from vae.metrics.sliced_wasserstein import level_sizes, sliced_wasserstein

MAX_COMPONENTS = 64  # of the PCA space
IMAGES_PER_COMPONENT = 10  # training images that each component of the PCA space needs
MIN_PATCH_IMAGES = 8  # images that the sliced Wasserstein distance needs


class SampleQuality:
    """Compares sets of images with the training images, always at equal set sizes.

    Args:
        training: `(N, 3, H, W)` in [-1, 1], training images in random order.
        pca: PCA of them. The feature space is its first coordinates, scaled to mean variance 1.
        all_training: returns batches of all training images, searched for copies.
        inception: images → features `(B, 2048)`, see `vae.metrics.inception`.
        seed: of random patches and directions.

    Attributes:
        components: dimensions of the PCA space.
        notes: one sentence for each metric that was left out.
    """

    def __init__(
        self,
        training: Tensor,
        pca: PCABaseline,
        all_training: Callable[[], Iterable[Tensor]],
        inception: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        self.training = training
        self.pca = pca
        self.all_training = all_training
        self.inception = inception
        self.seed = seed
        self.components = min(MAX_COMPONENTS, max(1, len(training) // IMAGES_PER_COMPONENT), len(pca.variances))
        self.heldout: Nearest | None = None
        self.notes: list[str] = []

    def features(self, images: Tensor) -> Tensor:
        """Return the coordinates in the PCA space, `(B, components)`."""
        return self.pca.encode(images)[:, : self.components] / self.pca.variances[: self.components].mean().sqrt()

    def evaluate(self, images: Tensor, name: str, heldout: bool = False) -> tuple[dict[str, float], Nearest]:
        """Return the metrics of one set and its nearest training images.

        Args:
            images: `(M, 3, H, W)` in [-1, 1].
            name: of the set, for the notes.
            heldout: the set holds real held-out images; `copies` of later sets is relative to them.
        """
        count = min(len(images), len(self.training))
        samples, real = images[:count], self.training[:count]
        metrics: dict[str, float] = {"images": count}
        if not level_sizes(samples.shape[-1]):
            self._note("sliced Wasserstein distance", name, "its images are smaller than 16 pixels")
        elif count < MIN_PATCH_IMAGES:
            self._note("sliced Wasserstein distance", name, f"{count} images are fewer than {MIN_PATCH_IMAGES}")
        else:
            distances = sliced_wasserstein(samples, real, self.seed)
            metrics["sliced_wasserstein"] = sum(distances.values()) / len(distances)
            metrics |= {f"sliced_wasserstein_{side}": value for side, value in distances.items()}
        metrics |= self._feature_metrics(self.features(samples), self.features(real), name)
        if self.inception:
            found = self._feature_metrics(self.inception(samples), self.inception(real), name, full_rank=False)
            metrics |= {f"inception_{metric}": value for metric, value in found.items()}
        metrics["cat_detection_rate"] = float(detect_cat_faces(images).mean())
        nearest = nearest_images(images, self.all_training())
        if heldout:
            self.heldout = nearest
        metrics["nearest_distance"] = float(nearest.distance.median())
        metrics["nearest_ratio"] = float(nearest.ratio.median())
        if self.heldout is not None:
            metrics["copies"] = copy_rate(nearest, self.heldout)
        return metrics, nearest

    def _feature_metrics(self, samples: Tensor, real: Tensor, name: str, full_rank: bool = True) -> dict[str, float]:
        count, dimensions = samples.shape
        metrics = {}
        if count > (dimensions if full_rank else 1):
            metrics["frechet_distance"] = frechet_distance(samples, real)
        else:
            self._note("Fréchet distance", name, f"{count} images are too few for {dimensions} dimensions")
        if count > NEIGHBOURS:
            metrics["kernel_distance"] = kernel_distance(samples, real)
            metrics |= prdc(samples, real)._asdict()
        else:
            self._note(
                "precision, recall, density and coverage", name, f"{count} images are fewer than {NEIGHBOURS + 1}"
            )
        return metrics

    def _note(self, metric: str, name: str, reason: str) -> None:
        self.notes.append(f"no {metric} of {name}: {reason}")
