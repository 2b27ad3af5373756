"""Options of earlier versions, by the names that they have now."""

import sys

# Command → old name → new name. The options below an old name are renamed with it.
RENAMED = {
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
