"""Options of earlier versions, by the names that they have now."""

import sys

# Command → old name → new name. The options below an old name are renamed with it.
RENAMED = {
    "train": {
        "sharpening": "objective",
        "sharpening.critic": "objective.discriminator",
        "sharpening.rate": "objective.lr_ratio",
        "sharpening.features": "objective.feature_matching_weight",
        "sharpening.coarse": "objective.lowpass_weight",
        "sharpening.side": "objective.lowpass_size",
        "sharpening.augment": "objective.augment",
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


def renamed(config_name: str, prefix: str, name: str, value: str) -> tuple[str, str, str]:
    """Return an option as `vae.cli.overrides` splits it, under its present name; print a line if that is another."""
    for old, new in RENAMED.get(config_name, {}).items():
        if name == old or name.startswith(f"{old}."):
            now = new + name[len(old) :]
            print(f"note: the option {name} is called {now} now", file=sys.stderr)
            return prefix, now, value
    return prefix, name, value
