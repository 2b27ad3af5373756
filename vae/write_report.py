"""make report: write the report of a run."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command


@command("report")
def main(config: DictConfig) -> None:
    from vae.visualization.report import draw_and_write, write_report

    run = Path(config.run).expanduser()
    if config.figures:
        path = draw_and_write(run, run / "figures", config.processed_dir, config.seed)
    else:
        path = write_report(run)
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
