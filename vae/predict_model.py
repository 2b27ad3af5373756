"""make predict: draw images with a trained model, from its export alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import InputError
from vae.cli.extras import require
from vae.cli.memory import require_memory

if TYPE_CHECKING:
    import torch

    from vae.models.projected import Projected
    from vae.models.vae import VAE

SHEET = 32  # images on the sheet of reconstructions
ENDING = ".safetensors"  # of a projected image
MAX_AMOUNT = 10  # standard deviations that an image is moved along a direction
MIN_SIZE, MAX_SIZE = 16, 1024  # pixels of the side of an image
SIZED = ("sample", "interpolate", "reconstruct")  # the modes that `size` applies to


def predict(config: DictConfig) -> list[Path]:
    """Write the images that a configuration asks for and return their paths.

    Raises:
        InputError: an option is out of its range, or there is no such model, label or image.
    """
    modes = {
        "sample": sample,
        "interpolate": interpolate,
        "reconstruct": reconstruct,
        "project": project,
        "edit": edit,
        "morph": morph,
    }
    if config.mode not in modes:
        raise InputError(f"mode must be one of {', '.join(modes)}, not {config.mode!r}")
    if config.size is not None and config.mode not in SIZED:
        raise InputError(f"size is for mode={'|'.join(SIZED)}: leave it away for mode={config.mode}")
    from vae.models.serialization import load
    from vae.runs.lookup import find_run

    model = load(find_run(config.run), sampler=config.get("sampler"))
    return modes[config.mode](model, config, Path(config.out).expanduser())


def sample(model: "VAE", config: DictConfig, out: Path) -> list[Path]:
    """Write `num_images` new images, 000000.png …, and the sheet grid.png."""
    import torch

    from vae.models.vae import CHUNK
    from vae.visualization.images import save_grid, save_images

    check_size(model, config, config.num_images)
    resized = resizer(config)
    y = model.draw_labels(config.num_images, config.seed, config.condition)
    z = model.sample_latents(config.num_images, config.seed, config.temperature, y)
    labels = [None] * len(z.split(CHUNK)) if y is None else y.split(CHUNK)
    sheet = []

    def batches() -> Iterator[torch.Tensor]:
        for part in zip(z.split(CHUNK), labels, strict=True):
            images = resized(model.decode(*part))
            if config.grid:
                sheet.append(images)
            yield images

    written = save_images(batches(), out)
    remove_stale(out, len(written))
    if config.grid:
        written.append(save_grid(torch.cat(sheet), out / "grid.png"))
    return written


def resizer(config: DictConfig) -> "Callable[[torch.Tensor], torch.Tensor]":
    """Return a function that brings images `(B, 3, S, S)` to the side `size`.

    Raises:
        InputError: `size` is out of its range, or there is no such refiner.
    """
    if config.size is None:
        return lambda images: images
    from vae.cli.locations import REFINER
    from vae.models.refiner import load_refiner

    if not isinstance(config.size, int) or not MIN_SIZE <= config.size <= MAX_SIZE:
        raise InputError(f"size must be between {MIN_SIZE} and {MAX_SIZE} pixels, not {config.size}")
    refiner = load_refiner(Path(config.refiner).expanduser() if config.refiner else REFINER)
    return lambda images: refiner.refine(images.cpu(), config.size, config.seed)


def remove_stale(out: Path, count: int) -> None:
    """Remove the numbered images that an earlier command with more of them left in a folder."""
    for path in out.glob("[0-9][0-9][0-9][0-9][0-9][0-9].png"):
        if int(path.stem) >= count:
            path.unlink()


def check_size(model: "VAE", config: DictConfig, images: int) -> None:
    """Check that the machine can hold the latents of some images and, for the sheet, the images.

    Raises:
        InputError: it cannot; the message says how much memory they need.
    """
    latent = model.sample_latents(1, seed=0).numel()
    side = (config.size or model.config.data.image_size) if config.grid or config.mode == "interpolate" else 0
    require_memory(f"num_images={config.num_images}", 4 * images * (latent + 3 * side**2))  # float32


def interpolate(model: "VAE", config: DictConfig, out: Path) -> list[Path]:
    """Write a loop through `num_images` images, `steps` frames from each to the next: 000000.png …, grid.png, loop.gif.

    With `images` it passes those of a folder, projected images (.safetensors) included. A conditional model gives all
    frames the labels of the first.
    """
    from vae.models.interpolation import closed_loop
    from vae.models.projected import draw_loop
    from vae.visualization.animations import save_cycle
    from vae.visualization.images import save_grid, save_images

    resized = resizer(config)
    if config.images:
        require("cv2", "train", "reading photos")
        y = model.draw_labels(1, config.seed, config.condition) if config.condition else None
        cats = [cat for _, _, cat in read_cats(model, config.images, y)]
        if len(cats) < 2:
            raise InputError(f"images={config.images} holds one image: an interpolation needs two or more")
        frames = draw_loop(model, cats, config.steps, config.path)
    else:
        check_size(model, config, config.num_images * config.steps)
        y = model.draw_labels(1, config.seed, config.condition)
        labels = None if y is None else y.expand(config.num_images, -1)
        z = model.sample_latents(config.num_images, config.seed, config.temperature, labels)
        path = closed_loop(z, config.steps, config.path)
        frames = model.decode(path, None if y is None else y.expand(len(path), -1))
    frames = resized(frames)
    written = save_images(frames, out)
    remove_stale(out, len(written))
    if config.grid:
        written.append(save_grid(frames, out / "grid.png", columns=config.steps))
        written.append(save_cycle(frames, out / "loop.gif"))
    return written


def reconstruct(model: "VAE", config: DictConfig, out: Path) -> list[Path]:
    """Write the reconstruction of each image of `images` under its name, and a sheet of both, grid.png.

    A projected image (.safetensors) is drawn as it is. With `condition` a conditional model decodes with these labels.
    """
    import torch

    require("cv2", "train", "reading photos")
    from vae.visualization.images import save_image, save_reconstructions

    if not config.images:
        raise InputError("mode=reconstruct needs images=FOLDER, the images to reconstruct")
    resized = resizer(config)
    y = model.draw_labels(1, config.seed, config.condition) if config.condition else None
    written, originals, reconstructions = [], [], []
    for path, x, cat in read_cats(model, config.images, y):
        reconstruction = cat.draw(model)
        written.append(save_image(resized(reconstruction)[0], out / path.with_suffix(".png")))
        if len(originals) < SHEET:
            originals.append(reconstruction.cpu() if x is None else x)
            reconstructions.append(reconstruction)
    if config.grid:
        sheet = save_reconstructions(torch.cat(originals), torch.cat(reconstructions), out / "grid.png")
        written.append(sheet)
    return written


def read_cats(
    model: "VAE", images: str, y: "torch.Tensor | None"
) -> "Iterator[tuple[Path, torch.Tensor | None, Projected]]":
    """Yield the photos and projected images of `images`, a folder or a file.

    Yields:
        the path relative to the folder; the image `(1, 3, S, S)` in [-1, 1], None for a projected one; and what the
        model draws by.

    Raises:
        InputError: there are none, or one belongs to another model.
    """
    from vae.data.images import iterate_images
    from vae.data.sources import find_photos
    from vae.models.projected import Projected, load_projected

    folder = Path(images).expanduser()
    files = [folder] if folder.suffix == ENDING else sorted(folder.rglob(f"*{ENDING}")) if folder.is_dir() else []
    if not files or (folder.is_dir() and find_photos(folder)):
        for path, x in iterate_images(folder, model.config.data):
            yield path, x, Projected(model.encode(x), y=y)
    for file in files:
        yield file.relative_to(folder) if folder.is_dir() else Path(file.name), None, load_projected(file, model)


def project(model: "VAE", config: DictConfig, out: Path) -> list[Path]:
    """Tune the model for each photo of `images`, and write what it draws then; see `vae.visualization.projection`."""
    require("cv2", "train", "reading photos")
    from vae.visualization.projection import project_photos

    if not config.images:
        raise InputError("mode=project needs images=FOLDER, the photos to project")
    y = model.draw_labels(1, config.seed, config.condition) if config.condition else None
    return project_photos(model, Path(config.images).expanduser(), out, config.optimization_steps, config.seed, y)


def edit(model: "VAE", config: DictConfig, out: Path) -> list[Path]:
    """Move the cat of `image` along the directions of `directions`; see `vae.visualization.projection.edit_cat`."""
    require("cv2", "train", "reading photos")
    from vae.models.attribute_directions import directions_with
    from vae.visualization.projection import edit_cat, find_cat

    if not config.image:
        raise InputError("mode=edit needs image=PHOTO, the cat to edit, and directions.NAME=AMOUNT, such as 2.0")
    amounts = {str(name): amount for name, amount in config.directions.items()}
    for name, amount in amounts.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not abs(amount) <= MAX_AMOUNT:
            raise InputError(f"directions.{name} must be a number in [-{MAX_AMOUNT}, {MAX_AMOUNT}], not {amount!r}")
    directions = directions_with(model, amounts)
    if not amounts:
        raise InputError(f"mode=edit needs directions.NAME=AMOUNT, such as 2.0; {directions.known()}")
    y = model.draw_labels(1, config.seed, config.condition) if config.condition else None
    cat, written = find_cat(model, "image", str(config.image), out, config.optimization_steps, config.seed, y)
    return written + edit_cat(model, cat, directions, amounts, out)


def morph(model: "VAE", config: DictConfig, out: Path) -> list[Path]:
    """Write films from the cat of `image` to that of `to` and back; see `vae.visualization.morph.save_morph`."""
    require("cv2", "train", "reading photos")
    require("av", "train", "writing MP4 files")
    from vae.visualization.morph import save_morph
    from vae.visualization.projection import find_cat

    if not config.image or not config.to:
        raise InputError("mode=morph needs image=CAT and to=CAT: photos, .safetensors files or seeds of new cats")
    y = model.draw_labels(1, config.seed, config.condition) if config.condition else None
    a, files_a = find_cat(model, "image", str(config.image), out, config.optimization_steps, config.seed, y)
    b, files_b = find_cat(model, "to", str(config.to), out, config.optimization_steps, config.seed, y)
    return files_a + files_b + save_morph(model, a, b, out, config.seconds, config.fps, config.grid)


@command("predict")
def main(config: DictConfig) -> None:
    written = predict(config)
    print(f"{len(written)} images written: {written[0]} … {written[-1]}")


if __name__ == "__main__":
    main()
