"""make report: write the report of a run."""

from omegaconf import DictConfig

from vae.cli.command import command


@command("report")
def main(config: DictConfig) -> None:
    from vae.runs.lookup import find_run
    from vae.runs.run_folder import output_folder
    from vae.visualization.report import draw_and_write, write_report

    run = find_run(config.run)
    out = output_folder(run, config.out)
    if config.figures:
        path = draw_and_write(run, out / "figures", config.processed_dir, config.seed, out)
    else:
        path = write_report(run, out=out)
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
