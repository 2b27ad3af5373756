"""`vae.visualization.curves`: the values that a training logged, and their plot."""

import csv

import numpy as np
import pytest
from PIL import Image

from vae.cli.errors import InputError
from vae.visualization.curves import read_curves, save_curves


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


def write_metrics(path, rows):
    names = sorted({name for row in rows for name in row})
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)
    return path


EPOCHS = [
    {"epoch": epoch, "step": 10 * epoch + step} | values
    for epoch in range(3)
    for step, values in [
        (4, {"train/loss": 10.0 - epoch}),
        (9, {"train/loss": 8.0 - epoch, "train/kl_epoch": 1.0}),
        (9, {"val/loss": 9.5 - epoch, "val/kl": 2.0, "val/reconstruction": 7.5 - epoch}),
    ]
]


def test_curves_are_means_over_the_rows_of_an_epoch(tmp_path):
    curves = read_curves(write_metrics(tmp_path / "metrics.csv", EPOCHS))
    assert curves["train/loss"] == [(0, 9.0), (1, 8.0), (2, 7.0)]
    assert curves["val/reconstruction"] == [(0, 7.5), (1, 6.5), (2, 5.5)]
    assert curves["train/kl"] == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert set(curves) == {"train/loss", "train/kl", "val/loss", "val/kl", "val/reconstruction"}


@pytest.mark.parametrize(
    ("rows", "panels"),
    [
        (EPOCHS, 3),
        (EPOCHS[:3], 3),
        ([{"epoch": 0, "step": 1, "val/loss": 3}], 1),
        ([{"epoch": 0, "train/loss": "nan", "val/kl": 1}, {"epoch": 1, "train/loss": "inf"}], 2),
        ([{"epoch": 0, "step": 1}], 1),
        ([], 1),
    ],
    ids=["three epochs", "one epoch", "one value", "not numbers", "no metrics", "empty"],
)
def test_curves_have_a_panel_per_metric_that_was_logged(tmp_path, rows, panels):
    save_curves(write_metrics(tmp_path / "metrics.csv", rows), tmp_path / "figures" / "curves.png")
    height, width, _ = read(tmp_path / "figures" / "curves.png").shape
    assert (width, height) == (630 * panels, 480)


def test_curves_of_a_training_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.csv: no such file"):
        save_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_curves_leave_the_global_state_of_matplotlib_alone(tmp_path):
    import matplotlib.pyplot as plt

    save_curves(write_metrics(tmp_path / "metrics.csv", EPOCHS), tmp_path / "curves.svg")
    assert plt.get_fignums() == [] and b"<svg" in (tmp_path / "curves.svg").read_bytes()
