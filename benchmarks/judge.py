"""A judge of structure: a network that finds eyes, mouth and ears, trained on real faces and their landmarks.

Two measures of some pictures: the share whose eyes and mouth lie as near to where the alignment puts them as in 91 %
of real held-out faces, and the Fréchet distance of its features to those of real faces (× 1000 over their variance).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.data.align import SIZE, TARGETS, face_matrix
from vae.data.datamodule import to_images
from vae.data.store import FaceStore
from vae.metrics.feature_space import frechet_distance

STEPS = 1500
BATCH = 64
MIRRORED = [1, 0, 2, 6, 7, 8, 3, 4, 5]  # the nine landmarks of a mirrored face
SHARE = 0.91  # of real faces that count as in place


def _unit(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU())


class LandmarkNetwork(nn.Module):
    """Pictures `(B, 3, 64, 64)` in [-1, 1] → nine landmarks `(B, 9, 2)` in [-1, 1], means of heat maps.

    Sun, Xiao, Wei, Liang & Wei, "Integral human pose regression", 2018, eq. 2.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        w = width
        self.down = nn.ModuleList(
            [
                nn.Sequential(_unit(3, w // 2), _unit(w // 2, w, 2), _unit(w, w)),
                nn.Sequential(_unit(w, 2 * w, 2), _unit(2 * w, 2 * w)),
                nn.Sequential(_unit(2 * w, 4 * w, 2), _unit(4 * w, 4 * w)),
                nn.Sequential(_unit(4 * w, 4 * w, 2), _unit(4 * w, 4 * w)),
            ]
        )
        self.up = nn.ModuleList([_unit(8 * w, 2 * w), _unit(4 * w, 2 * w)])
        self.head = nn.Conv2d(2 * w, 9, 1)

    def levels(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of the contracting path."""
        features = []
        for level in self.down:
            x = level(x)
            features.append(x)
        return features

    def features(self, x: Tensor) -> Tensor:
        """`(B, 8·width)`: the means of the two coarsest levels."""
        return torch.cat([level.mean((2, 3)) for level in self.levels(x)[2:]], 1)

    def forward(self, x: Tensor) -> Tensor:
        _, fine, middle, h = self.levels(x)
        for unit, level in zip(self.up, (middle, fine), strict=True):
            h = unit(torch.cat([_twice(h), level], 1))
        heat = self.head(_twice(h)).float()
        share = heat.flatten(2).softmax(-1).view_as(heat)
        side = heat.shape[-1]
        places = (torch.arange(side, device=x.device) + 0.5) / side * 2 - 1
        return torch.stack([(share.sum(2) * places).sum(-1), (share.sum(3) * places).sum(-1)], -1)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def landmarks(store: FaceStore) -> Tensor:
    """Where the landmarks of each face are in its picture, `(N, 9, 2)` in [-1, 1]."""
    points = [np.array(row["landmarks"].split(), float).reshape(-1, 2) for row in store.index]
    matrices = map(face_matrix, points)
    inside = [p @ m[:, :2].T + m[:, 2] for p, m in zip(points, matrices, strict=True)]
    return torch.from_numpy(np.stack(inside)).float() / (SIZE / 2) - 1


class Judge:
    """A landmark network, trained on the training faces of a data set: turned, moved, blurred, noisy, in other light.

    Args:
        store: a data set whose photos have all nine landmarks.
        heldout: `(N, 3, 64, 64)` in [-1, 1], real faces that set the scales.
        steps: of the training, about 8 minutes on one core for the default.
    """

    def __init__(self, store: FaceStore, heldout: Tensor, steps: int = STEPS) -> None:
        torch.manual_seed(0)
        self.network = LandmarkNetwork()
        rows = torch.from_numpy(store.split == "train")
        self._train(torch.from_numpy(np.array(store.resized(96)))[rows], landmarks(store)[rows], steps)
        self.network.eval()
        self.targets = torch.from_numpy(TARGETS).float() / (SIZE / 2) - 1
        self.real = self._features(heldout)
        self.near = self._error(heldout).quantile(SHARE)

    def measure(self, pictures: Tensor) -> dict[str, float]:
        """`in_place`, a share, and `landmark_distance`, of `(M, 3, 64, 64)` in [-1, 1]."""
        unit = self.real.var(0).sum() / 1000
        near = (self._error(pictures) <= self.near).float().mean()
        count = min(len(pictures), len(self.real))
        distance = frechet_distance(self._features(pictures[:count]), self.real[:count]) / float(unit)
        return {"in_place": float(near), "landmark_distance": distance}

    def _train(self, faces: Tensor, points: Tensor, steps: int) -> None:
        optimizer = torch.optim.AdamW(self.network.parameters(), weight_decay=1e-2)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        weights = torch.tensor([1.0] * 3 + [0.3] * 6)[None, :, None]  # eyes and mouth are what counts
        for _ in range(steps):
            rows = torch.randint(len(faces), (BATCH,))
            x, places = _changed(to_images(faces[rows]), points[rows])
            with torch.autocast("cpu", torch.bfloat16):
                found = self.network(x.contiguous(memory_format=torch.channels_last))
            loss = (F.smooth_l1_loss(found, places, beta=0.03, reduction="none") * weights).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()

    @torch.no_grad()
    def _features(self, pictures: Tensor) -> Tensor:
        return torch.cat([self.network.features(part) for part in pictures.split(BATCH)])

    @torch.no_grad()
    def _error(self, pictures: Tensor) -> Tensor:
        """How far the worst of eyes and mouth is from its place, `(M,)`."""
        found = torch.cat([self.network(part)[:, :3] for part in pictures.split(BATCH)])
        return (found - self.targets).norm(dim=-1).amax(1)


def _changed(x: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Faces of 96 pixels and their landmarks, mirrored, turned, scaled and moved; then of 64, blurred, noisy, lit."""
    count = len(x)
    turned = torch.rand(count) < 0.5
    x = torch.where(turned[:, None, None, None], x.flip(-1), x)
    points = torch.where(turned[:, None, None], points[:, MIRRORED] * torch.tensor([-1.0, 1.0]), points)
    angle, scale = 0.35 * _symmetric(count), (0.25 * _symmetric(count)).exp()
    cos, sin = angle.cos() * scale, angle.sin() * scale
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
    move = 0.2 * _symmetric(count, 2)
    grid = F.affine_grid(torch.cat([turn, move[..., None]], 2), [count, 3, 64, 64], align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    points = torch.einsum("bij,bkj->bki", torch.linalg.inv(turn), points - move[:, None])
    if torch.rand(()) < 0.35:
        kernel = torch.exp(-torch.arange(-3, 4.0).square() / 2 / (0.3 + 1.3 * torch.rand(())) ** 2)
        kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
        x = F.conv2d(F.pad(x, (3, 3, 3, 3), mode="replicate"), kernel, groups=3)
        x = F.conv2d(x, kernel.transpose(2, 3), groups=3)
    if torch.rand(()) < 0.35:
        x = x + 0.12 * torch.rand(count, 1, 1, 1) * torch.randn_like(x)
    if torch.rand(()) < 0.3:
        x = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    gain, shift = 1 + 0.25 * _symmetric(count, 3, 1, 1), 0.2 * _symmetric(count, 1, 1, 1)
    return ((x + 1) * gain - 1 + shift).clamp(-1, 1), points


def _symmetric(*shape: int) -> Tensor:
    """Uniform in [-1, 1]."""
    return 2 * torch.rand(*shape) - 1
