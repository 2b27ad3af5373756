"""The ladder and the spatial latent against their papers."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.build import build
from vae.models.latents.gaussian import Gaussian
from vae.models.latents.ladder import MAX_LOG_VAR, Ladder
from vae.models.latents.moments import Spatial
from vae.models.networks import ConvEncoder
from vae.models.samplers.choices import choose_samplers
from vae.models.samplers.gaussian_mixture import GaussianMixture
from vae.models.samplers.student_mixture import StudentMixture

ENCODER = ConvEncoder(image_size=16, channels=[4, 6], norm="none")  # feature maps 8×8 and 4×4
FEATURES = [torch.randn(3, 4, 8, 8), torch.randn(3, 6, 4, 4)]


def ladder(dims, scales) -> Ladder:
    torch.manual_seed(0)
    return Ladder(ENCODER, dims, scales, width=8, init_scale=1.0)


def test_one_level_is_the_gaussian_latent():
    latent, gaussian = ladder([5], [0]), Gaussian(ENCODER, 5)
    with torch.no_grad():
        gaussian.head.weight.copy_(latent.heads[0].weight.flatten(1))
        gaussian.head.bias.copy_(torch.randn(10))
        latent.heads[0].bias.copy_(gaussian.head.bias)
    samples = []
    for each in (latent, gaussian):
        torch.manual_seed(1)
        samples.append(each.infer(FEATURES, k=4))
    ours, theirs = samples
    for name in ("z", "log_q", "log_p"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    torch.testing.assert_close(ours.kl, theirs.kl.sum(1, keepdim=True))
    torch.testing.assert_close(latent.mean(FEATURES), gaussian.mean(FEATURES))
    drawn = [each.sample(3, torch.Generator().manual_seed(0), 0.7) for each in (latent, gaussian)]
    torch.testing.assert_close(*drawn)


def test_a_level_merges_offer_and_prior_by_their_precisions():
    """Eq. 15–17: of two Gaussians, the product of their densities, renormalised."""
    latent = ladder([5, 2], [0, 2])
    above = torch.randn(4, 3, 5, 1, 1)
    q, p = latent.posterior(1, FEATURES, above)
    mu, log_var = latent.heads[1](FEATURES[0]).chunk(2, dim=1)
    offer = Normal(mu, (0.5 * log_var).exp())
    assert q.mean.shape == p.mean.shape == (4, 3, 2, 8, 8)
    z = torch.randn(2, 4, 3, 2, 8, 8)
    ratio = offer.log_prob(z) + p.log_prob(z) - q.log_prob(z)  # constant in z
    torch.testing.assert_close(ratio[0], ratio[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("dims", "scales"), [([5, 3, 2], [0, 0, 1]), ([2, 1], [1, 2]), ([4, 3, 2], [0, 1, 2])])
def test_densities_and_divergences_are_those_of_every_level(dims, scales):
    latent = ladder(dims, scales)
    sample = latent.infer(FEATURES, k=2)
    assert sample.z.shape == (2, 3, *latent.shape) and sample.kl.shape == (3, len(dims))
    parts = sample.z.split([torch.Size(shape).numel() for shape in latent.levels], dim=2)
    z = [part.unflatten(2, shape) for part, shape in zip(parts, latent.levels, strict=True)]
    log_q = log_p = 0
    for level, here in enumerate(z):
        q, p = latent.posterior(level, FEATURES, z[level - 1] if level else None)
        log_q = log_q + q.log_prob(here).sum((2, 3, 4))
        log_p = log_p + p.log_prob(here).sum((2, 3, 4))
        kl = kl_divergence(q, p).sum((-3, -2, -1))
        torch.testing.assert_close(sample.kl[:, level], kl.mean(0) if level else kl)
    torch.testing.assert_close([sample.log_q, sample.log_p], [log_q, log_p])


def test_the_divergence_is_the_mean_of_its_samples():
    latent = ladder([2, 1], [0, 1])
    sample = latent.infer(FEATURES, k=20000)
    difference = sample.log_q - sample.log_p
    error = difference.std(0) / 20000**0.5
    assert ((difference.mean(0) - sample.kl.sum(1)).abs() < 5 * error).all()


def test_draws_follow_the_prior():
    """The second level of draws has the mean and variance that the first gives."""
    latent = ladder([2, 1], [0, 1])
    z = latent.sample(5000, torch.Generator().manual_seed(0))
    top, below = z[:, :2], z[:, 2:].unflatten(1, (1, 4, 4))
    mu, log_var = (part[0] for part in latent.conditional(1, top[None, :, :, None, None]))
    white = (below - mu) / (0.5 * log_var).exp()
    torch.testing.assert_close(white.mean(0), torch.zeros(1, 4, 4), atol=0.08, rtol=0)
    torch.testing.assert_close(white.std(0), torch.ones(1, 4, 4), atol=0.06, rtol=0)
    assert not latent.sample(2, temperature=0.0)[:, :2].any()


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_the_prior_of_a_level_cannot_shrink_to_a_point(size):
    """Unbounded, prior and posterior shrink to one point together, at no cost in KL, until the density overflows."""
    latent = ladder([5, 2], [0, 1])
    with torch.no_grad():
        latent.priors[0][-1].bias[2:] = size
    sample = latent.infer(FEATURES)
    _, log_var = latent.conditional(1, sample.z[..., :5, None, None])
    assert log_var.abs().max() <= MAX_LOG_VAR
    assert all(part.isfinite().all() for part in (sample.z, sample.log_q, sample.log_p, sample.kl))


@pytest.mark.parametrize("scales", [[2], [1, 0], [0, 2, 1], [0, 1, 1], [0, 3], [0, 0]])
def test_scales_out_of_order_are_refused(scales):
    with pytest.raises(InputError, match="latent.scales|latent.dims"):
        Ladder(ENCODER, [2] * (len(scales) if scales != [0, 0] else 1), scales)


def test_every_level_reaches_the_image(composed):
    options = ["latent=ladder", "latent.dims=[4,3,2]", "latent.scales=[0,1,2]", "sampler=prior", "model.norm=none"]
    model = build(composed("train", *TINY, *options))
    assert model.latent.part_shapes == ((4,), (3, 4, 4), (2, 8, 8))
    z = torch.randn(1, *model.latent.shape, requires_grad=True)
    model.decoder(z)[:, :, 0, 0].sum().backward()
    for part in (z.grad[0, :4], z.grad[0, 4:52].view(3, 4, 4)[:, 0, 0], z.grad[0, 52:].view(2, 8, 8)[:, 0, 0]):
        assert part.abs().min() > 0
    assert not z.grad[0, 52:].view(2, 8, 8)[:, -1, -1].any()  # far from the pixel
    assert model.terms(Batch(torch.rand(2, 3, 16, 16)), k=3).params.shape == (6, 3, 16, 16)


def test_a_spatial_latent_counts_a_channel_as_one_group():
    torch.manual_seed(0)
    latent = Spatial(ENCODER, latent_channels=3, init_scale=3.0)
    sample = latent.infer(FEATURES, k=2)
    standard = Normal(torch.zeros(()), torch.ones(()))
    each = kl_divergence(sample.posterior, standard).unflatten(1, (3, 4, 4))
    torch.testing.assert_close(sample.kl, each.sum((2, 3)))
    torch.testing.assert_close(sample.z.flatten(2).shape, torch.Size([2, 3, 48]))


def test_coarse_images_are_described_by_the_top_level_alone():
    torch.manual_seed(0)
    latent = Ladder(ENCODER, [5, 3, 2], [0, 1, 2], width=8, init_scale=1.0, coarse_share=0.5)
    with torch.no_grad():
        sample = latent.infer([part.repeat(20, 1, 1, 1) for part in FEATURES], k=2)
    filled = torch.stack([latent.extend(latent.top(z)) for z in sample.z])
    coarse = (sample.z - filled).abs().amax((0, 2)) < 1e-4
    assert 15 < coarse.sum() < 45
    assert not sample.kl[coarse, 1:].any() and (sample.kl[~coarse, 1:] > 0).all() and (sample.kl[:, 0] > 0).all()
    q, _ = latent.posterior(0, [part.repeat(20, 1, 1, 1)[coarse] for part in FEATURES], None)
    top = sample.z[:, coarse, :5, None, None]
    ratio = (q.log_prob(top) - Normal(torch.zeros(()), torch.ones(())).log_prob(top)).sum((2, 3, 4))
    torch.testing.assert_close(sample.log_q[:, coarse] - sample.log_p[:, coarse], ratio, rtol=1e-4, atol=1e-4)
    assert not (latent.eval().infer(FEATURES).kl == 0).any()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_coarse_share_out_of_range(share):
    with pytest.raises(InputError, match="latent.coarse_share"):
        Ladder(ENCODER, [2], [0], coarse_share=share)


@pytest.mark.parametrize("top_level", [True, False])
def test_other_mixtures_draw_the_level_that_the_own_one_draws(composed, top_level):
    own = composed("train", "sampler=student", f"sampler.top_level={top_level}").sampler
    name, others = choose_samplers(ladder([5, 2], [0, 1]), own)
    assert name == "student" and others["gmm"].top_level is top_level and "prior" in others


@pytest.mark.parametrize("kind", [GaussianMixture, StudentMixture])
def test_a_mixture_of_the_top_level_leaves_the_others_at_their_means(kind):
    latent, plain = ladder([5, 3, 2], [0, 1, 2]), ladder([5], [0])
    z = torch.randn(200, *latent.shape)
    mixtures = kind(latent, n_components=2, top_level=True), kind(plain, n_components=2)
    for mixture, latents in zip(mixtures, (z, z[:, :5]), strict=True):
        mixture.fit(latents)
    drawn, top = (mixture.sample(50, torch.Generator().manual_seed(0)) for mixture in mixtures)
    torch.testing.assert_close(drawn, latent.extend(top))
    assert drawn.shape == (50, *latent.shape)
