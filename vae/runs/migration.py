"""Upgrades stored configurations of earlier versions."""

from typing import Any

# Classes and functions of version 0.1.0, where they are now.
MOVED = {
    "vae.data.drawn.draw_dataset": "vae.data.synthetic.drawn.draw_dataset",
    "vae.data.table.read_table": "vae.data.attribute_table.read_table",
    "vae.models.classic.ClassicDecoder": "vae.models.classic_networks.ClassicDecoder",
    "vae.models.classic.ClassicEncoder": "vae.models.classic_networks.ClassicEncoder",
    "vae.models.regularizers.KL": "vae.models.regularizers.kl.KL",
    "vae.models.resuming.MetricsTable": "vae.training.resuming.MetricsTable",
    "vae.models.resuming.SaveState": "vae.training.resuming.SaveState",
    "vae.models.resuming.WholeCheckpoints": "vae.training.resuming.AtomicCheckpointIO",
    "vae.models.distributed.SyncBatchNorm": "vae.training.distributed.SyncBatchNorm",
    "vae.models.samplers.GaussianMixture": "vae.models.samplers.gaussian_mixture.GaussianMixture",
    "vae.models.samplers.Prior": "vae.models.samplers.prior.Prior",
    "vae.models.schedulers.cosine": "vae.training.schedulers.cosine",
    "vae.models.schedulers.plateau": "vae.training.schedulers.plateau",
    "vae.models.sharpening.Critic": "vae.models.objectives.discriminator.Discriminator",
    "vae.models.sharpening.Sharpening": "vae.models.objectives.adversarial.Adversarial",
    "vae.models.training.StopOnInterrupt": "vae.training.interrupt.StopOnInterrupt",
    "vae.models.training.ema": "vae.training.weight_averaging.ema",
    "vae.pruning.MedianPruning": "vae.training.pruning.MedianPruning",
}
# Options of the second stage of version 0.1.0, as they are called now.
ADVERSARIAL = {
    "critic": "discriminator",
    "rate": "lr_ratio",
    "features": "feature_matching_weight",
    "coarse": "lowpass_weight",
    "side": "lowpass_size",
}


def upgrade(config: dict[str, Any]) -> dict[str, Any]:
    """Return a stored configuration in the form of this version.

    Args:
        config: plain values of `config.yaml` or `options.yaml`, perhaps from somebody else; values of an unexpected
            kind are kept as they are, for others to refuse.
    """
    model = config.get("model")
    if not isinstance(model, dict) or "prior" not in model:  # version 0.1.0 kept the prior in the model
        return config
    config = _moved(config)
    model, prior = config["model"], config["model"].pop("prior")
    shape = prior.get("shape") if isinstance(prior, dict) else None
    for part in (model.get("encoder"), model.get("decoder")):
        if isinstance(part, dict):
            part.pop("latent_dim", None)
    config["latent"] = {
        "_target_": "vae.models.latents.gaussian.Gaussian",
        "latent_dim": shape[0] if isinstance(shape, list) and shape else shape,
        "init_scale": 0.01,
    }
    _rename(config.get("sampler"), {"spread": "std_scale"})
    if "sharpening" in config:
        stage = config.pop("sharpening")
        _rename(stage, ADVERSARIAL)
        config["objective"] = stage or {"_target_": "vae.models.objectives.elbo.ELBO"}
    if "objective" in config and isinstance(config.get("data"), dict):
        config["data"].setdefault("labels", [])
    return config


def _moved(node: Any) -> Any:
    """Return a deep copy of a configuration in which every class and function has its present place."""
    if isinstance(node, dict):
        return {
            key: MOVED.get(value, value) if key == "_target_" and isinstance(value, str) else _moved(value)
            for key, value in node.items()
        }
    return [_moved(value) for value in node] if isinstance(node, list) else node


def _rename(node: Any, names: dict[str, str]) -> None:
    if isinstance(node, dict):
        for old, new in names.items():
            if old in node:
                node[new] = node.pop(old)
