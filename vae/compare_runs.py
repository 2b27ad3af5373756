"""make compare: compare runs in summary.csv and summary.html."""

from pathlib import Path

from omegaconf import DictConfig, ListConfig

from vae.cli.command import command
from vae.cli.errors import InputError


def compare(config: DictConfig) -> Path:
    """Summarise the runs that `config` names and return the path of summary.html.

    Raises:
        InputError: there is no run, or `direction` is unknown.
    """
    from vae.visualization.sweep_summary import write_summary

    if config.direction not in (None, "minimize", "maximize"):
        raise InputError(f"direction must be minimize or maximize, not {config.direction!r}")
    named = config.runs
    if named is None:
        sweeps = sorted(path.parent for path in Path("models/sweeps").glob("*/sweep.yaml"))
        named = sweeps[-1] if sweeps else "models/runs"
    folders = [Path(str(name)).expanduser() for name in (named if isinstance(named, ListConfig) else [named])]
    runs = [run for folder in folders for run in list_runs(folder)]
    out = Path(config.out).expanduser() if config.out else folders[0] if len(folders) == 1 else Path("reports")
    return write_summary(runs, out, config.optimized_metric, config.direction)


def list_runs(folder: Path) -> list[Path]:
    """Return the folder if it is a run, otherwise the runs in it, ordered by number, then by name.

    Raises:
        InputError: there is none.
    """
    if not folder.is_dir():
        raise InputError(f"runs: there is no folder {folder}")
    if (folder / "options.yaml").is_file():
        return [folder]
    found = [path.parent for path in folder.glob("*/options.yaml")]
    if not found:
        raise InputError(f"runs: {folder} holds no runs; train some, or name a sweep or run folders: 'runs=[a,b]'")
    return sorted(found, key=lambda run: (int(run.name) if run.name.isdigit() else -1, run.name))


@command("compare")
def main(config: DictConfig) -> None:
    print(f"Look at {compare(config)}.")


if __name__ == "__main__":
    main()
