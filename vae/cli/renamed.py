"""Options of earlier versions, by the names that they have now."""

import sys

from vae.cli.errors import InputError

# Command → old name → new name, the longest first. The options below an old name are renamed with it.
RENAMED = {
    "train": {
        "sharpening.critic": "objective.discriminator",
        "sharpening.rate": "objective.lr_ratio",
        "sharpening.features": "objective.feature_matching_weight",
        "sharpening.coarse": "objective.lowpass_weight",
        "sharpening.side": "objective.lowpass_size",
        "sharpening": "objective",
        "sampler.spread": "sampler.std_scale",
    },
    "evaluate": {"training_pictures": "training_images"},
    "export": {
        "to": "out",
        "codes": "max_latents_mb",
        "least_r2": "min_r2",
        "most_directions": "max_directions",
    },
}
# New name → old value → new value.
VALUES = {"objective": {"critic": "adversarial", "none": "elbo"}}
# Command → option → the options that replace it.
REPLACED = {"train": {"trainer=ddp_cpu": "trainer=ddp trainer.accelerator=cpu trainer.devices=2"}}


def renamed(config_name: str, prefix: str, name: str, value: str) -> tuple[str, str, str]:
    """Return an option as `vae.cli.overrides` splits it, under its present name; print a line if that is another.

    Raises:
        InputError: several options replace it.
    """
    if replacement := REPLACED.get(config_name, {}).get(f"{name}={value}"):
        raise InputError(f"{name}={value} is {replacement} now")
    for old, new in RENAMED.get(config_name, {}).items():
        if name == old or name.startswith(f"{old}."):
            now, value = new + name[len(old) :], VALUES.get(new, {}).get(value, value)
            print(f"note: the option {name} is {now}={value} now", file=sys.stderr)
            return prefix, now, value
    return prefix, name, value
