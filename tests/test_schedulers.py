import pytest
import torch

from vae.training.schedulers import cosine, plateau


def test_cosine_follows_the_progress():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    progress = 0.0
    schedule = cosine(optimizer, lambda: progress, warmup=0.1, final=0.01)["scheduler"]
    rates = {}
    for progress in (0.05, 0.1, 0.55, 1.0, 1.2):
        optimizer.step()
        schedule.step()
        rates[progress] = optimizer.param_groups[0]["lr"]
    expected = {0.05: 1.0, 0.1: 2.0, 0.55: 2 * (0.01 + 0.99 * 0.5), 1.0: 0.02, 1.2: 0.02}
    assert rates == pytest.approx(expected)


def test_plateau_falls_when_nothing_improves():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = plateau(optimizer, lambda: 0.0, factor=0.5, patience=1)
    for _ in range(4):
        optimizer.step()
        schedule["scheduler"].step(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.5 and schedule["monitor"] == "val/loss"
