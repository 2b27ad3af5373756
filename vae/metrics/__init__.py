"""Measures of a model: its reconstructions, its latents, its samples.

Every function takes tensors and returns numbers, and knows nothing of models, runs or files.
"""

from vae.metrics.latents import ActiveUnits, Mean

__all__ = ["ActiveUnits", "Mean"]
