"""The environment of a run: commit, packages, processor, command."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("vae-cats", "torch", "torchvision", "pytorch-lightning", "hydra-core", "kornia", "numpy", "scikit-learn")
GIT_TIMEOUT = 20  # seconds, for repositories on slow disks


def describe_environment(tags: Iterable[str] = ()) -> dict[str, Any]:
    """Return where and from what a run is made: git commit, versions, processor, command, tags."""
    return {
        "git_commit": git_commit(),
        "git_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "packages": versions(PACKAGES),
        "command": sys.argv[1:],
        "tags": list(tags),
    }


def git_commit() -> str | None:
    """Return the commit of this code; None without git or repository."""
    return _git("rev-parse", "HEAD")


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def installed() -> list[str]:
    """Return every installed package but this one as `name==version`, sorted.

    The names are those of the packages' folders, because reading their metadata takes a second.
    """
    folders = [info.stem for path in sys.path for info in Path(path).glob("*.dist-info")]
    return sorted({"==".join(name.rsplit("-", 1)) for name in folders if not name.startswith("vae_cats-")})


def processor() -> str:
    """Return the system's name for the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git(*command: str) -> str | None:
    """Return the output of a git command in the repository of this code; None without git or repository."""
    command = ("git", "--no-optional-locks", *command)
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
