import torch

from vae.metrics import ActiveUnits


def test_active_units_counts_means_that_vary():
    torch.manual_seed(0)
    mean = torch.randn(1000, 4) * torch.tensor([1.0, 0.5, 0.05, 0.0]) + 3
    metric = ActiveUnits(4)
    for part in mean.split(100):
        metric.update(part)
    assert metric.compute() == (mean.var(0) > 0.01).sum() == 2
