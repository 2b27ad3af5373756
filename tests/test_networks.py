import pytest
import torch

from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.models.classic_networks import ClassicDecoder
from vae.models.latents.gaussian import Gaussian
from vae.models.networks import ACTIVATIONS, NORMS, ConvDecoder, ConvEncoder, ResNetDecoder, ResNetEncoder

FAMILIES = [(ConvEncoder, ConvDecoder), (ResNetEncoder, ResNetDecoder)]
SMALL = {"image_size": 16, "channels": [4, 8]}


@pytest.mark.parametrize(("encoder", "decoder"), FAMILIES)
@pytest.mark.parametrize("image_size, channels", [(16, [4]), (24, [4, 6, 8]), (40, [4, 8]), (360, [2, 2, 2])])
@pytest.mark.parametrize("blocks", [1, 2])
def test_shapes(encoder, decoder, image_size, channels, blocks):
    options = {"image_size": image_size, "channels": channels, "blocks": blocks, "label_dim": 2}
    x, y = torch.rand(2, 3, image_size, image_size) * 2 - 1, torch.rand(2, 2)
    network = encoder(**options)
    features = network(x, y)
    assert [tuple(feature.shape[1:]) for feature in features] == network.feature_shapes
    spatial = (5, *features[-1].shape[2:])
    for shape in ((5,), spatial):
        images = decoder(latent_shape=shape, out_channels=6, **options)(torch.randn(2, *shape), y)
        assert images.shape == (2, 6, image_size, image_size)


@pytest.mark.parametrize(("encoder", "decoder"), FAMILIES)
@pytest.mark.parametrize(
    "options", [{"activation": a} for a in ACTIVATIONS] + [{"norm": n} for n in NORMS] + [{"dropout": 0.5}]
)
def test_gradients_reach_every_parameter(encoder, decoder, options):
    torch.manual_seed(0)
    parts = {"encoder": encoder(**SMALL, **options), "decoder": decoder(latent_shape=(3,), **SMALL, **options)}
    network = torch.nn.ModuleDict(parts)
    for parameter in network.parameters():  # away from zero, where a residual branch starts and passes no gradient on
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x = torch.rand(8, 3, 16, 16)
    loss = (network["decoder"](torch.randn(8, 3)) - x).square().sum() + network["encoder"](x)[-1].square().sum()
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    # a bias in front of a norm is without effect, everything else moves
    still = [name for name, p in network.named_parameters() if p.ndim > 1 and not p.grad.any()]
    assert not still


@pytest.mark.parametrize(("encoder", "decoder"), FAMILIES)
def test_a_picture_does_not_depend_on_its_batch_in_evaluation(encoder, decoder):
    x = torch.rand(4, 3, 16, 16)
    network = encoder(**SMALL).eval()
    torch.testing.assert_close(network(x)[-1][:1], network(x[:1])[-1])


def test_residual_blocks_start_as_the_identity():
    from vae.models.networks import ResidualBlock

    h = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(ResidualBlock(4, NORMS["group"], ACTIVATIONS["silu"])(h), h)


def test_posterior_starts_near_the_prior():
    encoder = ConvEncoder(**SMALL)
    sample = Gaussian(encoder, latent_dim=3).infer(encoder(torch.rand(16, 3, 16, 16)))
    assert sample.kl.sum(1).mean() < 0.1


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ({"channels": []}, "channels"),
        ({"channels": [0]}, "channels"),
        ({"blocks": 0}, "blocks"),
        ({"activation": "reluu"}, "silu"),
        ({"norm": "layer"}, "group"),
        ({"dropout": 1.0}, "dropout"),
        ({"image_size": 18}, "multiple of 4"),
        ({"image_size": 364}, "up to 360"),
    ],
)
def test_options_out_of_range_are_named(option, word):
    with pytest.raises(InputError, match=word):
        ConvEncoder(**(SMALL | option))


def test_a_spatial_latent_of_another_size_is_refused():
    with pytest.raises(InputError, match="2×2, and the coarsest feature maps .* are 4×4"):
        ConvDecoder(latent_shape=(5, 2, 2), **SMALL)


def test_labels_reach_every_pixel_of_the_image_and_the_first_layer_of_the_decoder():
    encoder, decoder = ConvEncoder(label_dim=1, **SMALL), ConvDecoder(latent_shape=(3,), label_dim=1, **SMALL)
    x, z = torch.rand(2, 3, 16, 16), torch.randn(2, 3)
    low, high = torch.zeros(2, 1), torch.ones(2, 1)
    assert ((encoder(x, low)[0] - encoder(x, high)[0]).abs().sum(1) > 0).all()
    assert not torch.equal(decoder(z, low), decoder(z, high))


@pytest.mark.parametrize("decoder", [ConvDecoder, ResNetDecoder, ClassicDecoder])
def test_spectral_norm_bounds_every_layer(decoder):
    torch.manual_seed(0)
    network = decoder(latent_shape=(3,), spectral_norm=True, **SMALL)
    for _ in range(100):  # of the power iteration
        images = network(torch.randn(2, 3))
    assert images.isfinite().all()
    layers = [layer for layer in network.modules() if hasattr(layer, "parametrizations")]
    assert len(layers) >= 3
    for layer in layers:
        out = 1 if isinstance(layer, torch.nn.ConvTranspose2d) else 0
        norm = torch.linalg.matrix_norm(layer.weight.movedim(out, 0).flatten(1), 2)
        torch.testing.assert_close(norm, torch.tensor(1.0), rtol=0.01, atol=0)


@pytest.mark.parametrize("model", ["conv", "resnet", "classic"])
def test_a_model_with_spectral_norm_comes_back_from_its_files(model, composed, tmp_path):
    from vae.models.build import build
    from vae.models.onnx_export import export_program
    from vae.models.serialization import export, load

    config = composed("train", *TINY, f"model={model}", *TINY[2:4], "model.spectral_norm=true", "sampler=prior")
    built = build(config).eval()
    export(built, config, torch.zeros(4, 4), tmp_path)
    loaded = load(tmp_path)
    assert torch.equal(built.sample(3, seed=5), loaded.sample(3, seed=5))
    z = torch.randn(3, 4)
    export_program(loaded, tmp_path)
    torch.testing.assert_close(torch.export.load(tmp_path / "decoder.pt2").module()(z), built.decode(z))
