"""make bench: run benchmarks, print their rows, write benchmarks/results/<name>.json.

make bench                                    # all of them, about half an hour on two cores
make bench ARGS="step data"                   # some of them
make bench ARGS="data --photos ~/pictures"    # with photos of your own, each with its .cat file
make bench ARGS="peers --run models/latest"   # samples beside those of other libraries' models
make bench ARGS="samples --run models/latest" # samples beside real faces, at the model's size and enlarged
make bench ARGS="against --checkout ../old"   # the step of the default training in another checkout
make bench ARGS="parity --pytorch-vae ../PyTorch-VAE"    # losses and gradients of other libraries
make bench ARGS="variants --pytorch-vae ../PyTorch-VAE"  # and the time of their steps
"""

import argparse
import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import RESULTS, line, write

NAMES = (
    "startup",
    "data",
    "detect",
    "shards",
    "engine",
    "scale",
    "memory",
    "step",
    "overhead",
    "predict",
    "sweep",
    "growth",
    "sizes",
    "precision",
    "defaults",
    "gpu",
    "peers",
    "samples",
    "against",
    "parity",
    "variants",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(NAMES)}; all if none is named")
    parser.add_argument("--photos", type=Path, help="photos for `data` (with .cat files) and `detect`; else drawn cats")
    parser.add_argument("--run", type=Path, help="a trained run, for `peers` and `samples`")
    parser.add_argument("--checkout", type=Path, help="another checkout of this project, for `against`")
    parser.add_argument("--pytorch-vae", type=Path, help="a checkout of PyTorch-VAE, for `parity` and `variants`")
    parser.add_argument(
        "--minutes", type=float, default=8, help="of processor time that `peers` trains every other model"
    )
    parser.add_argument("--rounds", type=int, help="rounds that count; each benchmark has its own number")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files go")
    parser.add_argument("--small", action="store_true", help="only see whether everything runs")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; choose among {', '.join(NAMES)}")
    options.results = options.results.resolve()
    options.photos = options.photos and options.photos.expanduser().resolve()
    options.run = options.run and options.run.expanduser().resolve()
    options.checkout = options.checkout and options.checkout.expanduser().resolve()
    options.pytorch_vae = options.pytorch_vae and options.pytorch_vae.expanduser().resolve()
    options.processed = Path("data/processed").resolve()
    failed: list[str] = []
    for name in options.names or NAMES:
        begun = time.monotonic()
        here = Path.cwd()
        with TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            os.chdir(folder)
            try:
                rows, more = import_module(f"benchmarks.{name}").measure(options)
            except Exception:  # the others are measured all the same
                traceback.print_exc()
                failed.append(name)
                continue
            finally:
                os.chdir(here)
        for row in rows:
            print(" ", line(row), flush=True)
        if rows:
            write(f"{name}-photos" if options.photos and name == "data" else name, rows, options.results, **more)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
