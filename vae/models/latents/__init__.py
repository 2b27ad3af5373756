"""Latents: a posterior q(z|x) and the prior p(z) that belongs to it, one class for each file of `configs/latent/`."""
