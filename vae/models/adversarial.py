"""A second stage of training: the decoder of a trained model learns the texture of real pictures from a critic.

The mean of p(x|z) is blurred, since it averages over all pictures that z may stand for. Encoder, prior and sampler stay
as they are; the decoder goes on to learn with a discriminator (Larsen et al. 2016; Esser et al. 2021), held by two
terms: of a reconstruction, the features that the critic sees in the picture are those that it sees in the original; and
of every picture, the coarse part is that which the decoder drew before.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.training.module import TrainableVAE


class Critic(nn.Module):
    """Real or drawn: of patches of two sizes, and of the picture as a whole.

    Convolutions with spectral norm (Miyato et al. 2018), the first at full size, those after it with stride 2. Patches
    are judged alike wherever they are; the whole is one linear map, which knows where eyes and ears belong.

    Args:
        image_size: side of the pictures in pixels.
        channels: feature maps of each convolution, three or more.

    Raises:
        InputError: `channels` are too few for these patches, or too many for the picture.
    """

    def __init__(self, image_size: int, channels: list[int]) -> None:
        super().__init__()
        multiple = 2 ** (len(channels) - 1)
        if len(channels) < 3 or image_size % multiple:
            raise InputError(
                f"sharpening.critic.channels={list(channels)} must be three or more, and data.image_size={image_size} "
                f"a multiple of {multiple} for them"
            )
        first = nn.Conv2d(3, channels[0], 3, padding=1)
        further = zip(channels[:-1], channels[1:], strict=True)
        levels = [first, *(nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in further)]
        self.levels = nn.ModuleList(map(spectral_norm, levels))
        self.small = spectral_norm(nn.Conv2d(channels[-2], 1, 1))
        self.large = spectral_norm(nn.Conv2d(channels[-1], 1, 1))
        self.whole = spectral_norm(nn.Linear(channels[-1] * (image_size // multiple) ** 2, 1))

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """`(B, 3, S, S)` → the scores of small patches, large patches and the whole, `(B, n)` each, above 0 for real;
        and the feature maps of every level."""
        features = []
        for level in self.levels:
            x = F.leaky_relu(level(x), 0.2)
            features.append(x)
        scores = [self.small(features[-2]).flatten(1), self.large(x).flatten(1), self.whole(x.flatten(1))]
        return [score.float() for score in scores], features


class Sharpening(nn.Module):
    """The losses of decoder and critic.

    Args:
        critic: pictures → scores and features, see `Critic`.
        augment: what happens to pictures, real or drawn, before the critic sees them (Zhao et al. 2020); it keeps the
            critic from knowing a small training set by heart.
        rate: learning rate of the critic, as a multiple of the decoder's (Heusel et al. 2017).
        features: weight of the features' distance.
        coarse: weight of the coarse pictures' distance.
        side: of the coarse picture, in pixels: what is larger than its pixels stays.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        critic: nn.Module,
        augment: nn.Module,
        rate: float = 2.0,
        features: float = 4.0,
        coarse: float = 20.0,
        side: int = 16,
    ) -> None:
        super().__init__()
        for name, value in (("rate", rate), ("features", features), ("coarse", coarse)):
            if not value >= 0:
                raise InputError(f"sharpening.{name} must not be negative, but is {value}")
        if side < 1:
            raise InputError(f"sharpening.side must be at least 1, not {side}")
        self.critic = critic
        self.augment = augment
        self.rate = rate
        self.features = features
        self.coarse = coarse
        self.side = side

    def forward(self, drawn: Tensor, before: Tensor, real: Tensor, pairs: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of both losses; the gradient of the critic's reaches the critic alone, the others the decoder alone.

        Args:
            drawn: `(B, 3, S, S)` in [-1, 1]; the first `pairs` are reconstructions.
            before: the same, of the decoder as it was.
            real: `(B, 3, S, S)`; the first `pairs` are the originals.
            pairs: P.

        Returns:
            the loss, and its terms by name.
        """
        with torch.random.fork_rng(devices=[drawn.device] if drawn.is_cuda else []):
            seen = self.augment(drawn)
        originals = self.augment(real)  # moved and lit by the same draws
        scores, _ = self.critic(torch.cat([originals, seen.detach()]))
        split = [score.chunk(2) for score in scores]
        # The hinge loss (Lim & Ye 2017, eq. 11–12).
        critic = torch.stack([(1 - good).relu().mean() + (1 + bad).relu().mean() for good, bad in split]).mean()
        self.critic.requires_grad_(False)
        scores, features = self.critic(torch.cat([seen, originals[:pairs]]))
        self.critic.requires_grad_(True)
        adversarial = -torch.stack([score[: len(drawn)].mean() for score in scores]).mean()
        distances = [(level[:pairs] - level[len(drawn) :].detach()).abs().float().mean() for level in features]
        feature = torch.stack(distances).mean()
        small, reference = (F.avg_pool2d(picture, picture.shape[-1] // self.side) for picture in (drawn, before))
        coarse = (small - reference).square().mean()
        loss = critic + adversarial + self.features * feature + self.coarse * coarse
        return loss, {"critic": critic, "adversarial": adversarial, "features": feature, "coarse": coarse}


class SharpenedVAE(TrainableVAE):
    """A trained VAE whose decoder is sharpened; half of each batch is reconstructed, and as many pictures are new.

    Args:
        sharpening: the losses.
        **parts: those of `TrainableVAE`, of a trained model.
    """

    def __init__(self, sharpening: Sharpening, **parts) -> None:
        super().__init__(**parts)
        self.sharpening = sharpening
        self.before = deepcopy(self.decoder).requires_grad_(False)

    def on_fit_start(self) -> None:
        """Keep the decoder as it is now, unless a state of this training brings that along, and fit the sampler."""
        if self.trainer.ckpt_path is None:
            self.before.load_state_dict(self.decoder.state_dict())
        datamodule = self.trainer.datamodule
        self.sampler.fit(self.codes(datamodule.images("train", mirrored=datamodule.flip > 0)))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        x = batch.x
        self.encoder.eval()
        self.decoder.eval()  # the running means of its norms are those of the first stage
        self.before.eval()
        pairs = len(x) // 2
        if not pairs:
            raise InputError("data.batch_size must be at least 2 to sharpen: half of a batch is reconstructed")
        with torch.no_grad():
            posterior = self.encoder(x[:pairs])
            z = torch.cat([posterior.rsample(), self.sampler.sample(len(x) - pairs).to(x)])
            before = self.likelihood.mean(self.before(z))
        params = self.decoder(z)
        loss, scalars = self.sharpening(self.likelihood.mean(params), before, x, pairs)
        if not loss.isfinite():
            bad = ", ".join(name for name, term in scalars.items() if not term.isfinite()) or "loss"
            raise InputError(f"the {bad} became NaN or infinite at step {self.global_step}: lower optimizer.lr")
        with torch.no_grad():
            scalars["reconstruction"] = -self.likelihood(params[:pairs], x[:pairs]).mean()
        self.active_units["train_"].update(posterior.mean)
        for name, value in ({"loss": loss} | scalars | self.likelihood.scalars()).items():
            self._average(f"train/{name}").update(value.detach(), len(x))
        return loss

    def configure_optimizers(self) -> object:
        rate = self.make_optimizer.keywords["lr"]
        groups = [
            {"params": list(self.decoder.parameters())},
            {"params": list(self.sharpening.critic.parameters()), "lr": rate * self.sharpening.rate},
        ]
        return self._scheduled(self.make_optimizer(groups))
