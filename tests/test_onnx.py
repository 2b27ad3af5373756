"""make export format=onnx and pt2: other runtimes draw the same cats, whatever the batch."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.cli.locations import IN_THE_BOX
from vae.export_model import export_model
from vae.models.build import build
from vae.models.onnx_export import MeanDecoder, SeededSampler, export_onnx, to_onnx, uniform
from vae.models.samplers.student_mixture import StudentMixture
from vae.models.serialization import load, load_latents

CATS64 = IN_THE_BOX[0]


@pytest.fixture(scope="module")
def model():
    return load(CATS64)


@pytest.fixture(scope="module")
def folder(composed, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "box"
    return export_model(composed("export", f"run={CATS64}", f"out={out}", "format=onnx"))


def run(folder, name: str, **inputs) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("count", [1, 3, 64])
def test_the_same_pixels_as_pytorch(model, folder, count):
    z = model.sample_latents(count, seed=count)
    assert np.abs(run(folder, "decoder", z=z.numpy()) - model.decode(z).numpy()).max() <= 2 / 255
    x = model.decode(z)
    assert np.abs(run(folder, "encoder", x=x.numpy()) - model.encode(x).numpy()).max() < 0.05


def test_a_seed_gives_the_same_latents_everywhere(model, folder):
    seeds = torch.tensor([0, 1, 7, 2**31, 2**53])
    for temperature in (1.0, 0.5):
        expected = SeededSampler(model.sampler)(seeds, torch.tensor(temperature))
        found = run(folder, "sampler", seed=seeds.numpy(), temperature=np.array(temperature, np.float32))
        assert np.abs(found - expected.numpy()).max() < 0.01
        alone = run(folder, "sampler", seed=seeds[2:3].numpy(), temperature=np.array(temperature, np.float32))
        assert np.abs(alone - found[2:3]).max() < 1e-5


def test_the_opset_is_stated_and_no_path_of_the_machine(folder):
    for path in folder.glob("*.onnx"):
        assert [each.version for each in onnx.load(path).opset_import if not each.domain] == [18]
        assert os.getcwd().encode() not in path.read_bytes() and b"site-packages" not in path.read_bytes()
    about = json.loads((folder / "model.json").read_text())
    assert about["opset"] == 18 and about["image_size"] == 64 and about["latent"] == [128]
    assert len(about["directions"]["names"]) == 4 and len(about["directions"]["axes"][0]) == 128


def test_hashes_are_uniform_and_independent():
    u = uniform(torch.arange(1 << 14), 0, 40).double()
    assert u.min() > 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 2e-3 and abs(u.var() * 12 - 1) < 1e-2
    assert u.T.corrcoef().fill_diagonal_(0).abs().max() < 0.04
    assert torch.equal(uniform(torch.tensor([5]), 3, 4), uniform(torch.tensor([5]), 0, 7)[:, 3:])
    assert not torch.equal(uniform(torch.tensor([5]), 0, 4), uniform(torch.tensor([5 + 2**32]), 0, 4))


def test_seeded_latents_have_the_distribution_of_the_sampler(model):
    found = SeededSampler(model.sampler)(torch.arange(4000), torch.tensor(1.0))
    expected = model.sample_latents(4000, seed=0)
    scale = expected.std()
    assert (found.mean(0) - expected.mean(0)).abs().max() < 0.15 * scale
    assert (found.std(0) - expected.std(0)).abs().max() < 0.15 * scale


def test_seeded_latents_of_a_student_mixture_have_its_tails(model):
    sampler = StudentMixture(model.latent, n_components=2, n_principal=16)
    sampler.fit(load_latents(CATS64))
    sampler.degrees.fill_(5)
    found = SeededSampler(sampler)(torch.arange(8000), torch.tensor(1.0))
    expected = sampler.sample(8000, torch.Generator().manual_seed(0))
    assert (found.mean(0) - expected.mean(0)).abs().max() < 0.15 * expected.std()
    far, further = ((z - z.mean(0)).norm(dim=1).quantile(torch.tensor([0.5, 0.99])) for z in (expected, found))
    assert torch.allclose(far, further, rtol=0.1) and far[1] > 1.8 * far[0]  # a Gaussian: 1.3


def test_a_seed_draws_the_levels_below_the_top(composed):
    torch.manual_seed(0)
    options = ["latent=ladder", "latent.dims=[4,2]", "latent.init_scale=1", "sampler.top_level=true"]
    model = build(composed("train", *TINY, *options)).eval()
    model.sampler.fit(torch.randn(100, *model.latent.shape))
    sampler, inputs = SeededSampler(model.sampler), {"seed": torch.arange(64), "temperature": torch.tensor(1.0)}
    with torch.no_grad():
        expected = sampler(**inputs)
        torch.testing.assert_close(model.latent.extend(model.latent.top(expected)), expected)
    session = onnxruntime.InferenceSession(to_onnx(sampler, inputs, "z", "sampler"))
    found = session.run(None, {"seed": np.arange(5), "temperature": np.array(1.0, np.float32)})[0]
    assert np.abs(found - expected[:5].numpy()).max() < 1e-4


NETWORKS = {
    "resnet": ["model=resnet"],
    "nearest": ["model=resnet", "model.upsampling=nearest"],
    "classic": ["model=classic", "likelihood=bce", "model.output=none"],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_decoder_has_an_onnx_form(composed, name):
    torch.manual_seed(0)
    decoder = MeanDecoder(build(composed("train", *TINY, *NETWORKS[name])).eval())
    z = torch.randn(64, 4)
    whole, half = (to_onnx(decoder, {"z": z}, "x", "decoder", half) for half in (False, True))
    assert len(half) < len(whole)
    found = onnxruntime.InferenceSession(whole).run(None, {"z": z[:5].numpy()})[0]
    with torch.no_grad():
        assert np.abs(found - decoder(z[:5]).numpy()).max() < 1e-4


class Noisy(torch.nn.Module):
    """A decoder that adds noise of its own: it is not fixed."""

    def forward(self, z, y=None):
        return torch.randn(len(z), 3, 64, 64)


class Searching(torch.nn.Module):
    """A decoder whose steps depend on its numbers: it cannot be traced."""

    def forward(self, z, y=None):
        while z.sum() > 0:
            z = z - 1
        return z.new_zeros(len(z), 3, 64, 64)


@pytest.mark.parametrize("decoder", [Noisy, Searching])
def test_a_decoder_that_is_not_fixed_is_refused(tmp_path, decoder):
    model = load(CATS64)
    model.decoder = decoder()
    with pytest.raises(InputError, match="decoder of this model") as refusal:
        export_onnx(model, tmp_path)
    assert "\n" not in str(refusal.value) and list(tmp_path.iterdir()) == []


def test_a_sampler_without_an_onnx_form_is_refused(tmp_path):
    model = load(CATS64)
    model.sampler = torch.nn.Identity()
    model.sampler.shape = (128,)
    with pytest.raises(InputError, match="sampler=gmm"):
        export_onnx(model, tmp_path)


def test_the_command(model, composed, tmp_path):
    out = export_model(composed("export", f"run={CATS64}", f"out={tmp_path / 'pt2'}", "format=pt2"))
    z = model.sample_latents(3, seed=0)
    assert torch.allclose(torch.export.load(out / "decoder.pt2").module()(z), MeanDecoder(model)(z), atol=1e-5)
    with pytest.raises(InputError, match="format must be one of"):
        export_model(composed("export", f"out={tmp_path / 'x'}", "format=jpeg"))
