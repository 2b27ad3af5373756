import pytest
import torch

from vae.cli.errors import InputError
from vae.models.distributions import StandardNormal
from vae.models.networks import ACTIVATIONS, NORMS, ConvDecoder, ConvEncoder, ResNetDecoder, ResNetEncoder

FAMILIES = [(ConvEncoder, ConvDecoder), (ResNetEncoder, ResNetDecoder)]
SMALL = {"image_size": 16, "channels": [4, 8], "latent_dim": 3}


@pytest.mark.parametrize(("encoder", "decoder"), FAMILIES)
@pytest.mark.parametrize("image_size, channels", [(16, [4]), (24, [4, 6, 8]), (40, [4, 8]), (360, [2, 2, 2])])
@pytest.mark.parametrize("blocks", [1, 2])
def test_shapes(encoder, decoder, image_size, channels, blocks):
    options = {"image_size": image_size, "channels": channels, "latent_dim": 5, "blocks": blocks}
    x = torch.rand(2, 3, image_size, image_size) * 2 - 1
    posterior = encoder(**options)(x)
    assert posterior.mean.shape == posterior.log_var.shape == (2, 5)
    assert decoder(out_channels=6, **options)(posterior.rsample()).shape == (2, 6, image_size, image_size)


@pytest.mark.parametrize(("encoder", "decoder"), FAMILIES)
@pytest.mark.parametrize(
    "options", [{"activation": a} for a in ACTIVATIONS] + [{"norm": n} for n in NORMS] + [{"dropout": 0.5}]
)
def test_gradients_reach_every_parameter(encoder, decoder, options):
    torch.manual_seed(0)
    network = torch.nn.ModuleDict({"encoder": encoder(**SMALL, **options), "decoder": decoder(**SMALL, **options)})
    for parameter in network.parameters():  # away from zero, where a residual branch starts and passes no gradient on
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x = torch.rand(8, 3, 16, 16)
    posterior = network["encoder"](x)
    loss = (network["decoder"](posterior.rsample()) - x).square().sum() + posterior.kl(StandardNormal((3,))).sum()
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    # a bias in front of a norm is without effect, everything else moves
    still = [name for name, p in network.named_parameters() if p.ndim > 1 and not p.grad.any()]
    assert not still


@pytest.mark.parametrize(("encoder", "decoder"), FAMILIES)
def test_a_picture_does_not_depend_on_its_batch_in_evaluation(encoder, decoder):
    x = torch.rand(4, 3, 16, 16)
    network = encoder(**SMALL).eval()
    torch.testing.assert_close(network(x).mean[:1], network(x[:1]).mean)


def test_residual_blocks_start_as_the_identity():
    from vae.models.networks import ResidualBlock

    h = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(ResidualBlock(4, NORMS["group"], ACTIVATIONS["silu"])(h), h)


def test_posterior_starts_near_the_prior():
    posterior = ConvEncoder(**SMALL)(torch.rand(16, 3, 16, 16))
    assert posterior.kl(StandardNormal((3,))).sum(1).mean() < 0.1


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ({"latent_dim": 0}, "latent_dim"),
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
