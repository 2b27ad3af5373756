"""Batch normalization over all processes of a training, also on CPUs."""

import torch
import torch.distributed.nn.functional as collective
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, nn


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with the statistics of the global batch; torch's own `SyncBatchNorm` needs a GPU.

    Every process must hold the same number of images.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `(B, C, H, W)`."""
        world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        if not self.training or world == 1:
            return super().forward(x)
        values = x.float()
        mean = collective.all_reduce(values.mean((0, 2, 3))) / world
        centred = values - mean[:, None, None]
        var = collective.all_reduce(centred.square().mean((0, 2, 3))) / world
        with torch.no_grad():
            n = world * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / max(n - 1, 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (var + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class SyncBatchNorm(LayerSync):
    """A plugin for Lightning's Trainer: every `nn.BatchNorm2d` of the model takes the global batch's statistics."""

    def apply(self, model: nn.Module) -> nn.Module:
        return _convert(model, nn.BatchNorm2d, GlobalBatchNorm2d)

    def revert(self, model: nn.Module) -> nn.Module:
        return _convert(model, GlobalBatchNorm2d, nn.BatchNorm2d)


def _convert(model: nn.Module, old: type[nn.BatchNorm2d], new: type[nn.BatchNorm2d]) -> nn.Module:
    for name, child in model.named_children():
        if type(child) is old:
            norm = new(child.num_features, child.eps, child.momentum)
            norm.train(child.training)
            norm.weight, norm.bias = child.weight, child.bias
            for buffer, value in child.named_buffers():
                setattr(norm, buffer, value)
            setattr(model, name, norm)
        else:
            _convert(child, old, new)
    return model
