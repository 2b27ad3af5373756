"""Codebooks, residual and lookup-free quantisation against their papers."""

import math
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from torch import multiprocessing, nn

from vae.models.latents.codebook import Codebook
from vae.models.latents.lookup_free import LookupFree
from vae.models.latents.vector_quantized import ResidualVectorQuantized, VectorQuantized
from vae.models.samplers.pixelcnn import PixelCNN

ENCODER = SimpleNamespace(feature_shapes=[(3, 2, 2)])  # an encoder that passes the image on


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def quantizer(kind=VectorQuantized, **options):
    torch.manual_seed(4)
    latent = kind(ENCODER, num_codes=5, code_dim=4, **options).double()
    latent.codebook.codes.data.normal_()
    return latent


def test_gradients_of_vector_quantisation_are_those_of_the_paper():
    latent = quantizer(ema=None)
    x, upstream = normal(2, 3, 2, 2), normal(1, 2, 4, 2, 2, seed=1)
    sample = latent.infer([x])
    ((sample.z * upstream).sum() + sample.penalty.sum()).backward()

    h = latent.head(x).detach()
    nearest = torch.cdist(h.movedim(1, -1).reshape(-1, 4), latent.codebook.codes.detach()).argmin(1)
    e = latent.codebook.codes.detach()[nearest].reshape(2, 2, 2, 4).movedim(-1, 1)
    # ∂z/∂h = I (straight through); the commitment loss pulls h to e, the codebook loss e to h (eq. 3).
    of_h = upstream[0] + 2 * 0.25 * (h - e)
    expected_weight = torch.einsum("bohw,bihw->oi", of_h, x)[..., None, None]
    of_e = (2 * (e - h)).movedim(1, -1).reshape(-1, 4)
    expected_codebook = torch.zeros(5, 4, dtype=torch.double).index_add(0, nearest, of_e)
    torch.testing.assert_close(latent.head.weight.grad, expected_weight)
    torch.testing.assert_close(latent.codebook.codes.grad, expected_codebook)
    torch.testing.assert_close(sample.z[0], e)
    torch.testing.assert_close(sample.log_p, torch.full((1, 2), -4 * math.log(5), dtype=torch.double))


def test_gradients_of_residual_quantisation_are_those_of_the_paper():
    latent = quantizer(ResidualVectorQuantized, depth=3).eval()
    x, upstream = normal(2, 3, 2, 2), normal(1, 2, 4, 2, 2, seed=1)
    sample = latent.infer([x])
    ((sample.z * upstream).sum() + sample.penalty.sum()).backward()

    h = latent.head(x).detach()
    total, of_h = torch.zeros_like(h), upstream[0]
    for _ in range(3):  # eq. 3 for the codes, eq. 7 for the gradient
        distances = torch.cdist((h - total).movedim(1, -1).reshape(-1, 4), latent.codebook.codes)
        total = total + latent.codebook.codes[distances.argmin(1)].reshape(2, 2, 2, 4).movedim(-1, 1)
        of_h = of_h + 2 * 0.25 * (h - total)
    torch.testing.assert_close(sample.z[0], total)
    torch.testing.assert_close(latent.head.weight.grad, torch.einsum("bohw,bihw->oi", of_h, x)[..., None, None])


def test_one_code_at_each_place_is_vector_quantisation():
    x = normal(3, 3, 2, 2)
    plain, residual = quantizer().infer([x]), quantizer(ResidualVectorQuantized, depth=1).infer([x])
    torch.testing.assert_close([plain.z, plain.log_p, plain.penalty], [residual.z, residual.log_p, residual.penalty])


def test_residual_indices_have_a_depth():
    latent = quantizer(ResidualVectorQuantized, depth=3).eval()
    indices = torch.randint(5, (6, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    assert latent.index_shape == (3, 2, 2) and latent.indices(latent.embed(indices)).shape == indices.shape
    expected = latent.codebook.codes[indices[0, :, 1, 0]].sum(0)
    torch.testing.assert_close(latent.embed(indices)[0, :, 1, 0], expected)


def averages(num_codes: int = 3, **options) -> Codebook:
    codebook = Codebook(num_codes, 2, **{"ema": 0.9, "min_usage": 0.0} | options).double()
    codebook.codes.copy_(normal(num_codes, 2, seed=2))
    codebook.counts.fill_(2.0)
    codebook.sums.copy_(2 * codebook.codes)
    return codebook


def test_codes_are_the_moving_averages_of_the_paper():
    codebook = averages()
    n, m = codebook.counts.clone(), codebook.sums.clone()
    for step in range(3):
        h = normal(4, 2, 3, 3, seed=10 + step)
        flat = h.movedim(1, -1).reshape(-1, 2)
        chosen = torch.cdist(flat, codebook.codes).argmin(1)
        for k in range(3):
            n[k] = 0.9 * n[k] + 0.1 * (chosen == k).sum()
            m[k] = 0.9 * m[k] + 0.1 * flat[chosen == k].sum(0)
        codebook.update(h, codebook.indices(h), 0.9)
        torch.testing.assert_close(codebook.codes, m / n[:, None])


def test_codes_that_are_not_used_become_encoder_outputs():
    codebook = averages(min_usage=0.5)
    codebook.codes[0] = 1e6  # nothing is near to it
    h = normal(4, 2, 3, 3)
    codebook.counts[0] = 0.0
    codebook.update(h, codebook.indices(h), 0.9)
    assert (h.movedim(1, -1).reshape(-1, 2) == codebook.codes[0]).all(1).any()
    assert codebook.counts[0] == 0.5 * h[:, 0].numel() / 3  # so little that it is replaced again unless it is used


def test_the_first_batch_starts_the_codes_by_k_means():
    latent = VectorQuantized(ENCODER, num_codes=16, code_dim=2).double()
    x = normal(64, 3, 2, 2)
    h = latent.head(x).detach()
    assert not latent.codebook.started

    def error() -> torch.Tensor:
        return (h - latent.embed(latent.indices(h))).square().sum()

    torch.manual_seed(0)
    latent.codebook.draw(h)
    drawn = error()
    torch.manual_seed(0)
    latent.train().infer([x])
    assert latent.codebook.started and error() < 0.7 * drawn
    assert len(latent.indices(h).unique()) == 16


def test_evaluation_leaves_the_codebook_as_it_is():
    latent = VectorQuantized(ENCODER, num_codes=16, code_dim=2).double()
    latent.train().infer([normal(64, 3, 2, 2)])
    before = {name: value.clone() for name, value in latent.state_dict().items()}
    latent.eval().infer([normal(64, 3, 2, 2, seed=1)])
    assert all(torch.equal(value, before[name]) for name, value in latent.state_dict().items())


def _share(rank: int, world: int, folder: str) -> None:
    """Quantise a share of a batch in one of several processes, and write the codes and the penalty."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world)
    torch.save(_quantized(normal(8, 3, 2, 2).chunk(world)[rank]), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _quantized(x: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(0)
    latent = VectorQuantized(ENCODER, num_codes=4, code_dim=2, min_usage=0.9).double().train()
    for _ in range(3):
        latent.infer([x])
    free = LookupFree(ENCODER, bits=3).double()
    _, together = free.entropies(free.head(x))
    return [latent.codebook.codes, together.detach()]


def test_several_processes_have_the_codebook_of_one(tmp_path):
    multiprocessing.start_processes(_share, (2, str(tmp_path)), nprocs=2, start_method="fork")
    one = _quantized(normal(8, 3, 2, 2))
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), one)


@pytest.mark.parametrize("bits", [1, 4])
def test_all_codes_of_lookup_free_quantisation_can_be_reached(bits):
    latent = LookupFree(ENCODER, bits)
    every = torch.arange(2**bits)[:, None, None]
    assert torch.equal(latent.indices(latent.embed(every)), every)
    assert len(latent.embed(every).unique(dim=0)) == 2**bits


def test_entropies_of_lookup_free_quantisation_are_sums_over_all_codes():
    latent = LookupFree(ENCODER, bits=3, temperature=0.7)
    h = 0.3 * normal(2, 3, 2, 2)
    codes = torch.tensor(list(product((-1.0, 1.0), repeat=3))).double()
    squares = (h.movedim(1, -1)[..., None, :] - codes).square().sum(-1)
    q = (-squares / 0.7).softmax(-1)
    each, together = latent.entropies(h)
    torch.testing.assert_close(each, -(q * q.log()).sum((1, 2, 3)))
    mean = q.mean((0, 1, 2))
    torch.testing.assert_close(together, -(mean * mean.log()).sum())


def test_gradients_of_lookup_free_quantisation_are_those_of_the_paper():
    torch.manual_seed(0)
    latent = LookupFree(ENCODER, bits=3, commitment=0.25, entropy_weight=0.0).double()
    x, upstream = normal(2, 3, 2, 2), normal(1, 2, 3, 2, 2, seed=1)
    sample = latent.infer([x])
    ((sample.z * upstream).sum() + sample.penalty.sum()).backward()
    h = latent.head(x).detach()
    of_h = upstream[0] + 2 * 0.25 * (h - h.sign())
    torch.testing.assert_close(sample.z[0].detach(), h.sign())
    torch.testing.assert_close(latent.head.weight.grad, torch.einsum("bohw,bihw->oi", of_h, x)[..., None, None])


class Codes(nn.Module):
    """A latent of one-hot codes, `(depth, h, w)` indices."""

    def __init__(self, *index_shape: int, num_codes: int = 3) -> None:
        super().__init__()
        self.index_shape, self.num_codes, self.shape = index_shape, num_codes, index_shape
        self.device = nn.Parameter(torch.zeros(1))

    def indices(self, z):
        return z.long()

    def embed(self, indices):
        return indices.float()


def perturbed(sampler: PixelCNN) -> PixelCNN:
    torch.manual_seed(0)
    for parameter in sampler.parameters():
        parameter.data.normal_(std=0.3)
    return sampler.double()


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4)])
def test_a_code_sees_those_before_it_and_no_others(shape):
    sampler = perturbed(PixelCNN(Codes(*shape), width=6, layers=3))
    depth, height, width = sampler.index_shape
    indices = torch.randint(3, (1, depth, height, width), generator=torch.Generator().manual_seed(0))
    before = sampler.logits(indices, None)
    order = [(row, column, d) for row in range(height) for column in range(width) for d in range(depth)]
    for number, (row, column, d) in enumerate(order):
        changed = indices.clone()
        changed[0, d, row, column] = (changed[0, d, row, column] + 1) % 3
        after = sampler.logits(changed, None)
        moved = [bool((after[e] != before[e])[0, :, r, c].any()) for r, c, e in order]
        assert not any(moved[: number + 1])
        beside = d + 1 < depth or column + 1 < width
        assert not beside or moved[number + 1]
        below = order.index((row + 1, column, 0)) if row + 1 < height else None
        assert below is None or moved[below]


def test_a_pixelcnn_learns_what_follows_what():
    """Images in which every code follows from the first: the entropy is that of one index."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(3, (300, 1, 1), generator=generator)
    z = (first + torch.arange(16).view(4, 4)) % 3
    sampler = PixelCNN(Codes(4, 4), width=16, layers=2, epochs=15, lr=1e-2)
    state = torch.get_rng_state()
    sampler.fit(z.float())
    nats = sampler.loss(z[:, None], None, generator).mean()
    assert math.log(3) - 0.1 < nats < math.log(3) + 0.2
    drawn = sampler.sample(200, torch.Generator().manual_seed(1))
    right = (drawn == (drawn[:, :1, :1] + torch.arange(16).view(4, 4)) % 3).all((1, 2)).float().mean()
    assert right > 0.95 and len(drawn[:, 0, 0].unique()) == 3
    again = PixelCNN(Codes(4, 4), width=16, layers=2, epochs=15, lr=1e-2)
    again.fit(z.float())
    assert torch.equal(drawn, again.sample(200, torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_pixelcnn_stops_when_held_back_latents_become_less_likely():
    """Codes without any structure can only be memorised."""
    z = torch.randint(3, (40, 4, 4), generator=torch.Generator().manual_seed(0))
    sampler, passes = PixelCNN(Codes(4, 4), width=16, layers=2, epochs=200, batch_size=40, lr=1e-2), []
    loss = sampler.loss
    sampler.loss = lambda *arguments: passes.append(None) or loss(*arguments)
    sampler.fit(z.float())
    assert len(passes) < 150
    held_back = torch.randint(3, (200, 1, 4, 4), generator=torch.Generator().manual_seed(1))
    assert loss(held_back, None, torch.Generator()).mean() / 16 < math.log(3) + 0.2


def test_labels_condition_a_pixelcnn():
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(3, (300,), generator=generator)
    z, y = kind[:, None, None].expand(300, 2, 2).float(), torch.eye(3)[kind]
    sampler = PixelCNN(Codes(2, 2), width=8, layers=1, epochs=10, lr=1e-2, label_dim=3)
    sampler.fit(z, y)
    drawn = sampler.sample(3, torch.Generator().manual_seed(0), y=torch.eye(3))
    assert torch.equal(drawn, torch.arange(3.0)[:, None, None].expand(3, 2, 2))
