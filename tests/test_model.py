import pytest
import torch

from vae.cli.errors import InputError
from vae.models.build import build
from vae.models.interpolation import interpolate_latents
from vae.training.weight_averaging import ema

MODELS = ["conv", "resnet"]


@pytest.fixture(params=MODELS)
def model(request, composed):
    torch.manual_seed(0)
    options = ["data.image_size=16", "model.channels=[8,16]", "model.latent_dim=4", "sampler=prior"]
    return build(composed("train", f"model={request.param}", *options)).eval()


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_encode_decode_reconstruct(model, pictures):
    z = model.encode(pictures)
    assert z.shape == (3, 4)
    y = model.reconstruct(pictures)
    assert y.shape == pictures.shape and y.min() >= -1 and y.max() <= 1
    assert torch.equal(y, model.decode(z)) and not y.requires_grad


def test_using_a_model_leaves_its_mode(model, pictures):
    for mode in (True, False):
        model.train(mode)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.reconstruct(pictures)
        model.sample(2)
        assert model.training == mode
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_same_seed_same_pictures(model):
    assert torch.equal(model.sample(4, seed=1), model.sample(4, seed=1))
    assert not torch.equal(model.sample(4, seed=1), model.sample(4, seed=2))
    assert not torch.equal(model.sample(4), model.sample(4))


def test_temperature_zero_is_the_mean_of_the_prior(model):
    torch.testing.assert_close(model.sample(1, seed=0, temperature=0.0), model.decode(torch.zeros(1, 4)))


def test_interpolation_ends_at_the_reconstructions(model, pictures):
    for mode in ("spherical", "linear"):
        frames = model.interpolate(pictures[:2], pictures[1:], steps=5, mode=mode)
        assert frames.shape == (2, 5, 3, 16, 16)
        torch.testing.assert_close(frames[:, 0], model.reconstruct(pictures[:2]), atol=1e-4, rtol=0)
        torch.testing.assert_close(frames[:, -1], model.reconstruct(pictures[1:]), atol=1e-4, rtol=0)


def test_interpolated_latents():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    half = 2**-0.5
    torch.testing.assert_close(interpolate_latents(a, b, 3)[0, 1], torch.tensor([half, half]))
    torch.testing.assert_close(interpolate_latents(a, b, 3, "linear")[0, 1], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(interpolate_latents(a, a, 3), a.expand(1, 3, 2), atol=1e-3, rtol=0)
    assert interpolate_latents(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4), 5).shape == (2, 5, 3, 4, 4)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda m: m.sample(0), "num_images"),
        (lambda m: m.sample(1, temperature=-1), "temperature"),
        (lambda m: m.interpolate(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), steps=1), "steps"),
        (lambda m: m.interpolate(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), mode="cubic"), "spherical"),
    ],
)
def test_options_out_of_range_are_named(model, call, word):
    with pytest.raises(InputError, match=word):
        call(model)


def test_ema_forgets_the_start_and_then_averages():
    from torch.optim.swa_utils import AveragedModel

    line = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(line, multi_avg_fn=ema(0.9))
    for value in [0.0] * 5 + [1.0] * 200:
        line.weight.data.fill_(value)
        average.update_parameters(line)
    assert average.module.weight.item() == pytest.approx(1, abs=1e-6)
    line.weight.data.fill_(0.0)
    average.update_parameters(line)
    assert average.module.weight.item() == pytest.approx(0.9)


def test_an_ema_of_every_fourth_step_is_that_of_all():
    from torch.optim.swa_utils import AveragedModel

    line = torch.nn.Linear(1, 1, bias=False)
    averages = [AveragedModel(line, multi_avg_fn=ema(0.99, every)) for every in (1, 4)]
    seen = [set(), set()]
    for step in range(801):
        line.weight.data.fill_(step / 800)
        for average, values in zip(averages, seen, strict=True):
            average.update_parameters(line)
            values.add(average.module.weight.item())
    each, fourth = (average.module.weight.item() for average in averages)
    assert each == pytest.approx(0.9, abs=1e-2) and fourth == pytest.approx(each, abs=2 / 800)
    assert len(seen[0]) > 790 and 250 < len(seen[1]) < 300  # each of the first hundred, then every fourth
