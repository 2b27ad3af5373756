from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from vae.cli.errors import InputError
from vae.data.augment import Augmentation
from vae.data.batch import Batch
from vae.data.datamodule import FaceDataModule, Faces, Shuffle, to_images


@pytest.fixture(scope="module")
def datamodule(drawn, composed):
    data = composed("train", *drawn).data
    module = FaceDataModule(Path(data.processed_dir) / data.name, image_size=32, batch_size=16)
    module.prepare_data()
    module.setup()
    return module


def test_splits_are_disjoint_and_complete(datamodule):
    rows = np.concatenate([faces.rows for faces in datamodule.splits.values()])
    assert sorted(rows) == list(range(60)) and all(len(faces) for faces in datamodule.splits.values())


def test_batches(datamodule):
    loader = datamodule.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == len(datamodule.splits["train"]) // 16
    assert all(batch.x.shape == (16, 32, 32, 3) and batch.x.dtype == torch.uint8 for batch in batches)
    x, y = datamodule.on_after_batch_transfer(batches[0], 0)
    assert y is None and all(batch.y is None for batch in batches)
    assert x.shape == (16, 3, 32, 32) and x.dtype == torch.float32 and -1 <= x.min() < x.max() <= 1


def test_an_epoch_shows_every_face_once_mirrored_or_not():
    order = Shuffle(1000, flip=0.5, seed=0)
    first, again = list(order), list(order)
    order.set_epoch(1)
    second = list(order)
    assert first == again and first != second
    assert sorted(index % 1000 for index in first) == list(range(1000))
    assert 400 < sum(index >= 1000 for index in first) < 600
    assert max(Shuffle(1000, flip=0.0, seed=0)) == 999


def test_mirrored_faces_come_after_the_others():
    faces = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(3, axis=3)
    split = Faces(faces, faces + 100, rows=np.array([1, 3, 4]))
    assert split.__getitems__([2, 0, 3, 5]).x[:, 0, 0, 0].tolist() == [4, 1, 101, 104]


def test_labels_go_with_their_faces():
    faces = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(3, axis=3)
    labels = torch.tensor([[1.0], [3.0], [4.0], [101.0], [103.0], [104.0]])
    batch = Faces(faces, faces + 100, np.array([1, 3, 4]), labels).__getitems__([2, 0, 3, 5])
    assert batch.y[:, 0].tolist() == batch.x[:, 0, 0, 0].tolist() == [4, 1, 101, 104]


class Shapes(pl.LightningModule):
    """Notes what Lightning hands over."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, index):
        self.seen.append((type(batch), batch.x.shape, batch.y if batch.y is None else batch.y.shape))
        return self.weight * batch.x.mean()

    def validation_step(self, batch, index):
        self.seen.append((type(batch), batch.x.shape, batch.y if batch.y is None else batch.y.shape))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize(("labels", "shape"), [([], None), (["scale"], (16, 1))])
def test_lightning_hands_over_images_and_labels(drawn, composed, tmp_path, labels, shape):
    data = composed("train", *drawn, f"data.labels={labels}").data
    module = FaceDataModule(
        Path(data.processed_dir) / data.name,
        image_size=16,
        batch_size=16,
        labels=data.labels,
        augment=Augmentation(0.1),
    )
    trainer = pl.Trainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    model = Shapes()
    trainer.fit(model, module)
    assert (Batch, (16, 3, 16, 16), shape) in model.seen and {kind for kind, *_ in model.seen} == {Batch}
    y = [batch.y for batch in module.batches("train")]
    assert all(part is None for part in y) if shape is None else torch.cat(y).mean().abs() < 1e-5


def test_a_mirrored_cat_turns_its_head_to_the_other_side(drawn, composed):
    data = composed("train", *drawn).data
    labels = ["fur", "turn", "warmth"]
    module = FaceDataModule(
        Path(data.processed_dir) / data.name, 16, labels=labels, mirrored_labels=data.mirrored_labels
    )
    module.setup()
    y = torch.cat([batch.y for batch in module.batches("train", mirrored=True)])
    before, after = y.chunk(2)
    turn = module.encoding.columns["turn"]
    torch.testing.assert_close(before[:, -2] * turn.std + turn.mean, -(after[:, -2] * turn.std + turn.mean))
    assert torch.equal(before[:, :-2], after[:, :-2]) and torch.equal(before[:, -1], after[:, -1])
    with pytest.raises(InputError, match="mirrored_labels: fur is not numeric"):
        FaceDataModule(module.folder, 16, labels=labels, mirrored_labels=["fur"]).setup()


def test_a_column_that_is_not_there_is_named_with_those_that_are(drawn, composed):
    data = composed("train", *drawn).data
    module = FaceDataModule(Path(data.processed_dir) / data.name, 16, labels=["scal"])
    with pytest.raises(InputError, match=r"data\.labels.*'scal'.*did you mean 'scale'"):
        module.setup()


def test_pictures_in_order(datamodule):
    faces = datamodule.splits["test"]
    expected = to_images(torch.from_numpy(faces.faces[faces.rows]))
    assert torch.equal(torch.cat(list(datamodule.images("test"))), expected)
    assert len(torch.cat(list(datamodule.images("train", limit=20)))) == 20
    assert len(torch.cat(list(datamodule.images("test", mirrored=True)))) == 2 * len(faces)


def test_bytes_and_pictures_are_inverse():
    batch = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3)
    x = to_images(batch)
    assert x.min() == -1 and x.max() == 1
    assert torch.equal(((x + 1) * 127.5).round().byte().permute(0, 2, 3, 1), batch)


def test_augmentation_moves_and_lights_each_picture_by_its_own_draw():
    torch.manual_seed(0)
    x = torch.rand(8, 3, 32, 32) - 0.5
    assert torch.equal(Augmentation()(x), x)
    for augment in (Augmentation(shift=0.1), Augmentation(light=0.2)):
        y = augment(x)
        assert y.shape == x.shape and y.min() >= -1 and y.max() <= 1
        changes = (y - x).flatten(1).abs().mean(1)
        assert changes.min() > 0 and changes.std() > 0


def test_a_shift_is_a_shift():
    torch.manual_seed(0)
    x = torch.zeros(64, 3, 40, 40)
    x[:, :, 20, 20] = 1
    y = Augmentation(shift=0.1)(x)[:, 0]
    grid = torch.arange(40.0)
    mass = y.sum((1, 2))
    places = torch.stack([(y.sum(1) * grid).sum(1), (y.sum(2) * grid).sum(1)], 1) / mass[:, None]
    torch.testing.assert_close(mass, torch.ones(64), atol=1e-3, rtol=0)
    moved = places - 20
    assert 3.9 < moved.abs().max() < 4.1 and moved.mean().abs() < 1
    torch.testing.assert_close(moved, moved.round(), atol=1e-3, rtol=0)


def test_a_shift_repeats_the_border():
    torch.manual_seed(0)
    x = torch.rand(16, 3, 12, 20)
    for before, after in zip(x, Augmentation(shift=0.2)(x), strict=True):
        wide = torch.nn.functional.pad(before, (4, 4, 2, 2), mode="replicate")
        places = [wide[:, top : top + 12, left : left + 20] for top in range(5) for left in range(9)]
        assert any(torch.equal(after, place) for place in places)


@pytest.mark.parametrize("option", [{"image_size": 0}, {"image_size": 361}, {"batch_size": 0}, {"flip": 2}])
def test_options_out_of_range_are_named(option):
    with pytest.raises(InputError, match=f"data.{next(iter(option))}"):
        FaceDataModule("data/processed/none", **option)
    with pytest.raises(InputError, match=r"data\.augment\.shift"):
        Augmentation(shift=1)


def test_a_split_without_faces_is_named(datamodule, tmp_path, drawn, composed):
    from vae.data.preparation import make_dataset

    options = [o for o in drawn if "processed" not in o]
    folder = make_dataset(composed("train", *options, f"data.processed_dir={tmp_path}", "data.split.val=0").data)
    with pytest.raises(InputError, match="val split"):
        FaceDataModule(folder, image_size=16).setup()


def test_a_sampler_is_fitted_to_images_spread_over_the_training_set(drawn, composed, monkeypatch):
    data = composed("train", *drawn).data
    module = FaceDataModule(Path(data.processed_dir) / data.name, 16, batch_size=4, flip=0.5)
    module.setup()
    every = torch.cat(list(module.images("train", mirrored=True)))
    assert torch.equal(torch.cat([batch.x for batch in module.sampler_batches()]), every)
    monkeypatch.setattr("vae.data.datamodule.MAX_FITTED", 5)
    fitted = torch.cat([batch.x for batch in module.sampler_batches()])
    assert len(fitted) == 5 and torch.equal(fitted[0], every[0]) and torch.equal(fitted[-1], every[-1])
    assert torch.equal(fitted[1], every[round((len(every) - 1) / 4)])
