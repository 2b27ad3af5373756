"""make app: the web page."""

from omegaconf import DictConfig

from vae.cli.command import command


@command("app")
def main(config: DictConfig) -> None:
    from vae.app.server import serve

    serve(config)


if __name__ == "__main__":
    main()
