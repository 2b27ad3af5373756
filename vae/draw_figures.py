"""make figures: draw the figures of a run."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command


@command("figures")
def main(config: DictConfig) -> None:
    from vae.data.loading import load_datamodule
    from vae.models.serialization import load
    from vae.runs.lookup import find_run
    from vae.runs.run_folder import output_folder
    from vae.visualization.figures import RunFigures, draw

    run = find_run(config.run)
    model = load(run)
    datamodule = load_datamodule(model.config.data, config.processed_dir)
    out = Path(config.out).expanduser() if config.out else output_folder(run) / "figures"
    figures = RunFigures(run, model, datamodule, out, config.samplers, config.latent_map, config.seed)
    written = draw(figures, config.only, progress=True)
    print(f"{len(written)} figures written: {', '.join(path.name for path in written)} in {out}")


if __name__ == "__main__":
    main()
