"""Images folded into patches, and networks that grow with them."""

import pytest
import torch
import torch.nn.functional as F

from vae.cli.errors import InputError
from vae.models.networks import ConvDecoder, ConvEncoder, ResNetDecoder, ResNetEncoder
from vae.models.patches import patch_size

FAMILIES = [(ConvEncoder, ConvDecoder), (ResNetEncoder, ResNetDecoder)]


@pytest.mark.parametrize(
    ("image_size", "patch"), [(32, 1), (64, 1), (80, 1), (96, 2), (128, 2), (192, 4), (256, 4), (320, 4), (50, 1)]
)
def test_auto_keeps_the_folded_image_at_64_pixels_or_less(image_size, patch):
    assert patch_size("auto", image_size, multiple=16) == patch


@pytest.mark.parametrize("patch", [0, -2, "half", 1.5])
def test_a_patch_out_of_range_is_named(patch):
    with pytest.raises(InputError, match=r"model\.patch"):
        patch_size(patch, 64, multiple=16)


@pytest.mark.parametrize(("encoder", "decoder"), FAMILIES)
def test_folded_networks_have_the_feature_maps_of_smaller_images(encoder, decoder):
    options = {"image_size": 32, "channels": [4, 8], "patch": 2, "label_dim": 2}
    x, y, z = torch.rand(2, 3, 32, 32), torch.rand(2, 2), torch.randn(2, 5)
    assert [level.shape[1:] for level in encoder(**options)(x, y)] == [(4, 8, 8), (8, 4, 4)]
    assert decoder(latent_shape=(5,), out_channels=6, **options)(z, y).shape == (2, 6, 32, 32)
    with pytest.raises(InputError, match=r"multiple of 8 .* model\.patch=2, not 36"):
        encoder(**(options | {"image_size": 36}))


@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "nearest", None])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 4), (1, 4)])
@pytest.mark.parametrize("label_dim", [0, 2])
def test_a_larger_network_starts_as_the_smaller_one(upsampling, before, after, label_dim):
    """It has the features of the means of its pixels, and draws each pixel of the smaller image several times."""
    encoder, decoder = FAMILIES[upsampling is not None]
    factor, size = after // before, 16 * before
    options = {"channels": [4, 8], "label_dim": label_dim, "norm": "none"}
    stem = {"latent_shape": (5,), "out_channels": 6} | ({"upsampling": upsampling} if upsampling else {})
    small = encoder(image_size=size, patch=before, **options), decoder(image_size=size, patch=before, **options, **stem)
    size *= factor
    large = encoder(image_size=size, patch=after, **options), decoder(image_size=size, patch=after, **options, **stem)
    for one, other in zip(large, small, strict=True):
        one.load_smaller(other.state_dict(), before)
    x, z = torch.randn(3, 3, size, size), torch.randn(3, 5)
    y = torch.randn(3, label_dim) if label_dim else None
    for features, expected in zip(large[0](x, y), small[0](F.avg_pool2d(x, factor), y), strict=True):
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
    repeated = F.interpolate(small[1](z, y), scale_factor=factor, mode="nearest")
    torch.testing.assert_close(large[1](z, y), repeated, atol=1e-5, rtol=1e-4)
