"""Metrics of reconstructions, latents and samples.

Functions take tensors and return numbers; only `vae.metrics.model_evaluation` runs a model.
"""

from vae.metrics.running import ActiveUnits, Mean

__all__ = ["ActiveUnits", "Mean"]
