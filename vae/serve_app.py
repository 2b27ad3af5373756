"""make app: the web page."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command


@command("app")
def main(config: DictConfig) -> None:
    from vae.app.server import serve
    from vae.runs.lookup import find_run

    models = Path(config.models).expanduser()
    serve(find_run(config.run), models, config.host, config.port, config.optimization_steps)


if __name__ == "__main__":
    main()
