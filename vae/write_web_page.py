"""make web: write a folder that draws cats in any browser, without a server of its own."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command


def write_web_page(config: DictConfig) -> Path:
    """Write the page of `config.run` into the folder `config.out`; returns its `index.html`.

    Raises:
        InputError: there is no such model, or it has no ONNX form.
        EnvironmentProblem: a package is missing, or onnxruntime-web cannot be downloaded.
    """
    from vae.app.static_page import write_page
    from vae.models.serialization import load, load_directions
    from vae.runs.lookup import find_run

    run, out = find_run(config.run), Path(config.out).expanduser()
    model = load(run, config.get("sampler"))
    return write_page(model, out, load_directions(run), **config.runtime, condition=config.condition)


@command("web")
def main(config: DictConfig) -> None:
    page = write_web_page(config)
    size = sum(path.stat().st_size for path in page.parent.iterdir() if path.is_file()) / 1e6
    print(f"The page is in {page.parent} ({size:.0f} MB): put it on any web server, or look at it here with")
    print(f"  python3 -m http.server --directory {page.parent}")


if __name__ == "__main__":
    main()
