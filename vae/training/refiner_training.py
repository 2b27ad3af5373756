"""Training of the refiner, see `vae.models.refiner`."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vae.cli.progress import ProgressBar
from vae.data.sharp_crops import Crop
from vae.models.gradients import frozen
from vae.models.refiner import Refiner, enlarge
from vae.training.schedulers import cosine

MAX_BLUR = 1.2  # pixels of the smaller image; drawn images are softer than averaged photos
MAX_NOISE = 0.05  # standard deviation of the noise on the smaller image
BLUR_KERNEL = 7  # pixels


class CropDiscriminator(nn.Module):
    """Scores patches of a crop, given the smaller crop, as real or drawn (Isola et al. 2017, sec. 3.2.2).

    Args:
        channels: feature maps of each convolution; all but the first have stride 2.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        first = nn.Conv2d(3 + 3 + 2, channels[0], 3, padding=1)
        further = zip(channels, channels[1:], strict=False)
        levels = [first, *(nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in further)]
        self.levels = nn.ModuleList(map(spectral_norm, levels))
        self.score = spectral_norm(nn.Conv2d(channels[-1], 1, 1))

    def forward(self, images: Tensor, smaller: Tensor, places: Tensor) -> Tensor:
        """Return scores `(B, n)`, above 0 for real crops.

        Args:
            images: `(B, 3, C, C)`.
            smaller: `(B, 3, C/2, C/2)`.
            places: `(B, 2, C/2, C/2)`, see `Refiner`.
        """
        size = images.shape[-1]
        x = torch.cat([images, enlarge(smaller, size), enlarge(places, size)], 1)
        for level in self.levels:
            x = F.leaky_relu(level(x), 0.2)
        return self.score(x).float().flatten(1)


class RefinerTraining(pl.LightningModule):
    """The losses of refiner and discriminator, minimised in one step.

    The refiner's is the mean absolute error plus the hinge loss against the discriminator (Lim & Ye 2017, eq. 11–12).
    The smaller crop is the average of the larger one, a little blurred and noisy, as drawn images are.

    Args:
        refiner: the network.
        lr: learning rate of Adam at the start; it falls to zero as a half cosine.
        lr_ratio: learning rate of the discriminator over that of the refiner.
        adversarial_weight: weight of the hinge loss.
        steps: of the training.
    """

    def __init__(self, refiner: Refiner, lr: float, lr_ratio: float, adversarial_weight: float, steps: int) -> None:
        super().__init__()
        self.refiner, self.discriminator = refiner, CropDiscriminator()
        self.lr, self.lr_ratio, self.adversarial_weight, self.steps = lr, lr_ratio, adversarial_weight, steps

    def training_step(self, batch: Crop, index: int) -> Tensor:
        """Return the sum of both losses; the gradient of each reaches its own network alone."""
        real = batch.pixels.float().div(127.5).sub(1)
        smaller, places = degrade(F.avg_pool2d(real, 2)), places_of(batch)
        drawn = self.refiner(smaller, places, batch.side, torch.randn_like(places[:, :1]))
        of_real, of_drawn = self.discriminator(
            torch.cat([real, drawn.detach()]), smaller.repeat(2, 1, 1, 1), places.repeat(2, 1, 1, 1)
        ).chunk(2)
        discriminator = (1 - of_real).relu().mean() + (1 + of_drawn).relu().mean()
        with frozen(self.discriminator):
            adversarial = -self.discriminator(drawn, smaller, places).mean()
        l1 = (drawn - real).abs().mean()
        scalars = {"l1": l1, "adversarial": adversarial, "discriminator": discriminator}
        self.log_dict(scalars, prog_bar=True, batch_size=len(real))
        return l1 + self.adversarial_weight * adversarial + discriminator

    def configure_optimizers(self) -> dict:
        """Return Adam with its schedule."""
        groups = [
            {"params": list(self.refiner.parameters())},
            {"params": list(self.discriminator.parameters()), "lr": self.lr * self.lr_ratio},
        ]
        optimizer = torch.optim.Adam(groups, self.lr, betas=(0.0, 0.99))
        schedule = cosine(optimizer, lambda: self.trainer.global_step / self.steps, warmup=0.0)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class Progress(pl.Callback):
    """A bar over the steps of a training; lines where nobody watches a bar."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Open the bar."""
        self.bar = ProgressBar(total=trainer.max_steps, desc="refiner", unit=" steps")

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_) -> None:
        """Count a step."""
        self.bar.update()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Close the bar, and print the last losses."""
        self.bar.close()
        print(", ".join(f"{name} {value:.3f}" for name, value in trainer.callback_metrics.items()))


def degrade(images: Tensor) -> Tensor:
    """Blur images `(B, 3, h, w)` and add noise, each by a random amount up to `MAX_BLUR` and `MAX_NOISE`."""
    sigma = MAX_BLUR * torch.rand(len(images), 1, device=images.device).expand(-1, 2) + 1e-3
    blurred = gaussian_blur2d(images, (BLUR_KERNEL, BLUR_KERNEL), sigma)
    amount = MAX_NOISE * torch.rand(len(images), 1, 1, 1, device=images.device)
    return blurred + amount * torch.randn_like(images)


def places_of(batch: Crop) -> Tensor:
    """Return x and y in the face, in [-1, 1], of each pixel of the smaller crops, `(B, 2, C/2, C/2)`."""
    size = batch.pixels.shape[-1] // 2
    inside = 2 * torch.arange(size, device=batch.side.device) + 1  # the middle of a pixel of the smaller crop
    along = (batch.corner[:, :, None] + inside) * 2 / batch.side[:, None, None] - 1  # (B, 2, C/2)
    x, y = along[:, 0, None, :].expand(-1, size, -1), along[:, 1, :, None].expand(-1, -1, size)
    return torch.stack([x, y], 1)
