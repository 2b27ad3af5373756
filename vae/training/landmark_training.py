"""Training of the landmark network, see `vae.data.detection.network`."""

import math

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, binary_cross_entropy_with_logits, grid_sample

from vae.cli.progress import is_terminal
from vae.data.detection.crops import PLACES
from vae.data.detection.network import CROP, HEATMAP, OFFSET, STRIDE, LandmarkNetwork, centres
from vae.data.detection.training_set import EYE_DISTANCE, Example, TrainingSet

EAR_WEIGHT = 0.3  # of a point of the ears; their annotation is less exact than that of eyes and mouth
POSITIVE = 0.45  # eye distances around the middle of a face in which a cell is one
IGNORED = 1.3  # eye distances around it in which a cell is neither face nor background
BORDERLINE = 1.3  # factor around `EYE_DISTANCE` in which a face is neither
CELL_SIGMA = 1.0  # cells; width of the target heatmaps


class LandmarkTraining(pl.LightningModule):
    """The loss, and how it is minimised.

    The loss of a scene is the focal loss of the cells (Lin et al. 2017, eq. 5, γ = 2) plus the distance of eyes and
    mouth, as a share of the eye distance, in the cells of the face. The loss of a crop is the binary cross-entropy of
    its face logit, plus the distance of the landmarks as a share of the eye distance, plus the cross-entropy between
    the heatmaps and normal distributions around the landmarks (after Nibali et al. 2018, section 4.3). The most
    confident wrong cells of the scenes become further crops without a face.

    Args:
        lr: peak learning rate of AdamW; it rises in the first tenth and falls to zero, as a half cosine.
        weight_decay: of AdamW.
        steps: of the training.
    """

    def __init__(self, lr: float, weight_decay: float, steps: int) -> None:
        super().__init__()
        self.network = LandmarkNetwork()
        self.lr, self.weight_decay, self.steps = lr, weight_decay, steps

    def training_step(self, batch: Example, index: int) -> Tensor:
        """Return the loss of a batch."""
        scenes, crops = _scaled(batch.scene), _scaled(batch.crop)
        cells = self.network.proposals(scenes)
        found, placed, mistakes, targets = scene_loss(cells, batch.scene_points)
        mined = mined_crops(scenes, cells.detach(), mistakes)
        has_face = batch.crop_points.isfinite().all(2).all(1)
        points, logits, log_heat = self.network.landmarks(torch.cat([crops, mined]))
        labels = torch.cat([has_face.float(), logits.new_zeros(len(mined))])
        face = binary_cross_entropy_with_logits(logits, labels)
        n = len(crops)
        distance, heat = landmark_loss(points[:n][has_face], log_heat[:n][has_face], batch.crop_points[has_face])
        loss = found + placed + face + 2 * distance + 0.2 * heat
        self.log_dict(
            {"found": found, "placed": placed, "face": face, "distance": distance, "heat": heat},
            prog_bar=True,
            batch_size=n,
        )
        return loss

    def configure_optimizers(self) -> dict:
        """Return AdamW with its schedule."""
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=self.weight_decay)

        def factor(step: int) -> float:
            share = step / self.steps
            return min(share / 0.1 + 1e-3, 0.5 * (1 + math.cos(math.pi * min(1.0, share))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class NextEpoch(pl.Callback):
    """Other views of the photos in every epoch; a line with the losses of its last step where nobody watches a bar.

    Args:
        examples: of the training.
    """

    def __init__(self, examples: TrainingSet) -> None:
        self.examples = examples

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count the epoch."""
        self.examples.epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Print the losses."""
        if not is_terminal():
            losses = ", ".join(f"{name} {value:.3f}" for name, value in trainer.callback_metrics.items())
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {losses}", flush=True)


def scene_loss(cells: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the losses of the proposals.

    Args:
        cells: `(B, 7, H, W)`, see `Proposals`.
        points: `(B, 3, 2)` eyes and mouth in pixels of the scene, NaN where there is no face.

    Returns:
        the focal loss for each face; the mean distance of eyes and mouth from where they should be, as a share of
        the eye distance; `(B, H, W)` bool, the cells of the background; the same, the cells of faces.
    """
    rows, columns = cells.shape[2:]
    y, x = torch.meshgrid(centres(rows, rows * STRIDE), centres(columns, columns * STRIDE), indexing="ij")
    place = torch.stack([x, y], -1).to(cells)  # (H, W, 2)
    known = points.isfinite().all(2).all(1)
    points = points.nan_to_num(-1e4)
    distance = (points[:, 1] - points[:, 0]).norm(dim=-1)[:, None, None].clamp(min=1e-3)
    off = (place - points.mean(1)[:, None, None]).norm(dim=-1)  # (B, H, W)
    low, high = EYE_DISTANCE
    right = ((distance > low * 0.95) & (distance < high * 1.05)) & known[:, None, None]
    reach = (POSITIVE * distance).clamp(min=0.6 * STRIDE)
    face = right & (off < reach)
    borderline = (distance > low / BORDERLINE) & (distance < high * BORDERLINE) & known[:, None, None]
    background = ~(borderline & (off < (IGNORED * distance).clamp(min=1.5 * STRIDE)))
    used = face | background
    logit = cells[:, 0]
    probability = logit.sigmoid()
    wrong = torch.where(face, 1 - probability, probability)
    focal = wrong.square() * binary_cross_entropy_with_logits(logit, face.float(), reduction="none")
    focal = (focal * used).sum() / face.sum().clamp(min=1)
    offsets = (points[:, None, None] - place[None, :, :, None]) / OFFSET  # (B, H, W, 3, 2)
    predicted = cells[:, 1:].unflatten(1, (3, 2)).permute(0, 3, 4, 1, 2)
    error = (predicted[face] - offsets[face]).norm(dim=-1).mean(-1) * OFFSET
    placed = (error / distance.expand_as(off)[face]).sum() / face.sum().clamp(min=1)
    return focal, placed, background, face


def mined_crops(scenes: Tensor, cells: Tensor, background: Tensor) -> Tensor:
    """Return crops around the most confident background cells: one of a scene, of a quarter of the scenes.

    A cell counts where the eyes that it predicts are as far apart as those of a face may be.

    Args:
        scenes: `(B, 3, S, S)`.
        cells: `(B, 7, H, W)` of the scenes.
        background: `(B, H, W)` bool.

    Returns:
        `(B', 3, 96, 96)`, B' ≤ B / 4.
    """
    score, best = cells[:, 0].masked_fill(~background, -1e4).flatten(1).max(1)
    chosen = score.topk(len(score) // 4).indices
    scenes, cells, best, background = scenes[chosen], cells[chosen], best[chosen], background[chosen]
    row, column = best // cells.shape[3], best % cells.shape[3]
    offsets = cells.flatten(2)[torch.arange(len(best)), 1:, best].view(-1, 3, 2) * OFFSET
    points = offsets + (torch.stack([column, row], -1)[:, None] + 0.5) * STRIDE - 0.5
    eyes = points[:, 1] - points[:, 0]
    distance = eyes.norm(dim=-1)
    ok = (distance > 0.5 * EYE_DISTANCE[0]) & (distance < 1.5 * EYE_DISTANCE[1])
    ok &= background.flatten(1).any(1)
    if not ok.any():
        return scenes[:0, :, :CROP, :CROP]
    # From the crop, in [-1, 1], to the scene, in [-1, 1]: a rotation, one scale, and a shift to the middle of the face.
    turn = eyes[ok] / float(PLACES[1, 0] - PLACES[0, 0]) * (CROP / scenes.shape[-1])
    middle = scenes.new_tensor(PLACES.mean(0)) * 2 / CROP - 1
    linear = torch.stack([torch.stack([turn[:, 0], -turn[:, 1]], -1), torch.stack([turn[:, 1], turn[:, 0]], -1)], 1)
    shift = points[ok].mean(1) * 2 / scenes.shape[-1] - 1 - linear @ middle
    grid = affine_grid(torch.cat([linear, shift[..., None]], -1), [int(ok.sum()), 3, CROP, CROP], align_corners=False)
    return grid_sample(scenes[ok], grid, align_corners=False)


def landmark_loss(points: Tensor, log_heat: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the losses of the landmarks of crops that show a face; points outside the crop are passed over.

    Args:
        points: `(B, 9, 2)` computed, in pixels of the crop.
        log_heat: `(B, 9, cells²)` logarithms of the heatmaps.
        target: `(B, 9, 2)` annotated.

    Returns:
        the mean distance as a share of the eye distance; the cross-entropy of the heatmaps, nats.
    """
    if not len(points):
        return points.sum(), log_heat.sum()
    inside = ((target > -0.5) & (target < CROP - 0.5)).all(-1)
    weight = inside * target.new_tensor([1.0] * 3 + [EAR_WEIGHT] * 6)
    eye_distance = (target[:, 1] - target[:, 0]).norm(dim=-1, keepdim=True)
    distance = (points - target).norm(dim=-1) / eye_distance
    place = centres(HEATMAP, CROP).to(target)
    sigma = CELL_SIGMA * CROP / HEATMAP
    x, y = ((place - target[..., [axis]]).square() / (-2 * sigma**2) for axis in (0, 1))
    goal = (y[..., :, None] + x[..., None, :]).flatten(2).softmax(-1)
    heat = -(goal * log_heat).sum(-1)
    return (weight * distance).sum() / weight.sum(), (weight * heat).sum() / weight.sum()


def _scaled(images: Tensor) -> Tensor:
    return images.float().div_(127.5).sub_(1)
