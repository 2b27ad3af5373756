"""Packages that only some commands need, and the line that names the missing one and its extra of pyproject.toml."""

from importlib.util import find_spec

from vae.cli.errors import EnvironmentProblem


def require(module: str, extra: str, purpose: str) -> None:
    """Check that a package of an extra is installed, without importing it.

    Args:
        module: the import name of the package.
        extra: the extra of pyproject.toml that brings it.
        purpose: what needs it, such as "training"; the message begins with it.

    Raises:
        EnvironmentProblem: it is not installed; the message says what to install.
    """
    if find_spec(module) is None:
        raise EnvironmentProblem(f"{purpose} needs the package {module}: pip install 'vae-cats[{extra}]'")
