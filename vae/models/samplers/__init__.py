"""Samplers: densities that draw new latents from a trained model, one class for each file of `configs/sampler/`."""
