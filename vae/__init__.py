"""VAE Cats: software that learns to draw cats.

>>> import vae
>>> cats = vae.load("models/cats64").sample(16, seed=7)  # (16, 3, H, W) in [-1, 1]
>>> vae.save_grid(cats, "cats.png")
PosixPath('cats.png')
"""

from importlib import import_module

_PUBLIC = {
    "compose": "vae.cli.compose",
    "train": "vae.train_model",
    "predict": "vae.predict_model",
    "load": "vae.models.pretrained",
    "edit": "vae.models.pretrained",
    "read_images": "vae.data.images",
    "save_grid": "vae.visualization.images",
    "save_images": "vae.visualization.images",
    "InputError": "vae.cli.errors",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str):
    """Import a public name on first use, so that `import vae` alone costs nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vae' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
