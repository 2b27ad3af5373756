"""make predict: images from a trained model."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import InputError
from vae.cli.memory import require_memory


def predict(config: DictConfig) -> list[Path]:
    """Write images from a trained model and return their paths.

    Raises:
        InputError: an option is out of its range, or there is no model or no image.
    """
    modes = {"sample": sample, "interpolate": interpolate, "reconstruct": reconstruct}
    if config.mode not in modes:
        raise InputError(f"mode must be one of {', '.join(modes)}, not {config.mode!r}")
    from vae.models.serialization import load
    from vae.runs.lookup import find_run

    model = load(find_run(config.run), sampler=config.get("sampler"))
    return modes[config.mode](model, config, Path(config.out).expanduser())


def sample(model, config: DictConfig, out: Path) -> list[Path]:
    """Draw `num_images` new cats: 000000.png …, and grid.png."""
    import torch

    from vae.models.vae import CHUNK
    from vae.visualization.images import save_grid, save_images

    check_size(model, config, config.num_images)
    y = model.draw_labels(config.num_images, config.seed, config.condition)
    z = model.sample_latents(config.num_images, config.seed, config.temperature, y)
    labels = [None] * len(z.split(CHUNK)) if y is None else y.split(CHUNK)
    drawn = []

    def batches() -> Iterator[torch.Tensor]:
        for part in zip(z.split(CHUNK), labels, strict=True):
            images = model.decode(*part)
            if config.grid:
                drawn.append(images)
            yield images

    written = save_images(batches(), out)
    remove_stale(out, len(written))
    if config.grid:
        written.append(save_grid(torch.cat(drawn), out / "grid.png"))
    return written


def remove_stale(out: Path, count: int) -> None:
    """Remove the numbered images that an earlier command with more of them left in a folder."""
    for path in out.glob("[0-9][0-9][0-9][0-9][0-9][0-9].png"):
        if int(path.stem) >= count:
            path.unlink()


def check_size(model, config: DictConfig, images: int) -> None:
    """Check that the machine can hold the latents of some images and, for the sheet, the images.

    Raises:
        InputError: it cannot; the message says how much memory they need.
    """
    latent = model.sample_latents(1, seed=0).numel()
    pixels = 3 * model.config.data.image_size**2 if config.grid or config.mode == "interpolate" else 0
    require_memory(f"num_images={config.num_images}", 4 * images * (latent + pixels))  # float32


def interpolate(model, config: DictConfig, out: Path) -> list[Path]:
    """Draw a loop through `num_images` cats, `steps` frames from each to the next: 000000.png …, grid.png, loop.gif."""
    from vae.data.images import read_images
    from vae.models.interpolation import closed_loop
    from vae.visualization.animations import save_cycle
    from vae.visualization.images import save_grid, save_images

    y = model.draw_labels(1, config.seed, config.condition)  # one for the whole loop
    if config.images:
        x = read_images(config.images, model.config.data)
        z = model.encode(x, y if y is None else y.expand(len(x), -1))
        if len(z) < 2:
            raise InputError(f"images={config.images} holds one image: an interpolation needs two or more")
    else:
        check_size(model, config, config.num_images * config.steps)
        labels = y if y is None else y.expand(config.num_images, -1)
        z = model.sample_latents(config.num_images, config.seed, config.temperature, labels)
    z = closed_loop(z, config.steps, config.path)
    frames = model.decode(z, y if y is None else y.expand(len(z), -1))
    written = save_images(frames, out)
    remove_stale(out, len(written))
    if config.grid:
        written.append(save_grid(frames, out / "grid.png", columns=config.steps))
        written.append(save_cycle(frames, out / "loop.gif"))
    return written


def reconstruct(model, config: DictConfig, out: Path) -> list[Path]:
    """Reconstruct every image of a folder, under its own name."""
    import torch

    from vae.data.images import iterate_images
    from vae.visualization.images import save_image, save_reconstructions

    if not config.images:
        raise InputError("mode=reconstruct needs images=FOLDER, the images to reconstruct")

    written, originals, drawn = [], [], []
    for path, x in iterate_images(config.images, model.config.data):
        reconstruction = model.reconstruct(x, model.draw_labels(1, config.seed, config.condition))
        written.append(save_image(reconstruction[0], out / path.with_suffix(".png")))
        if len(originals) < 32:
            originals.append(x)
            drawn.append(reconstruction)
    if config.grid:
        written.append(save_reconstructions(torch.cat(originals), torch.cat(drawn), out / "grid.png"))
    return written


@command("predict")
def main(config: DictConfig) -> None:
    """Draw, and print where the images are."""
    written = predict(config)
    print(f"{len(written)} images written: {written[0]} … {written[-1]}")


if __name__ == "__main__":
    main()
