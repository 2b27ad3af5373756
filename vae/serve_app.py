"""make app: the web page."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command


@command("app")
def main(config: DictConfig) -> None:
    from vae.app.server import serve
    from vae.runs.lookup import find_run

    serve(find_run(config.run), Path(config.models).expanduser(), config.host, config.port)


if __name__ == "__main__":
    main()
