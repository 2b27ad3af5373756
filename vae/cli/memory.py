"""A check of the memory that an option asks for, before it is allocated."""

import os

from vae.cli.errors import InputError


def require_memory(option: str, needed: int) -> None:
    """Check that the machine has the memory that an option needs.

    Args:
        option: as typed, such as `num_images=64`; the message begins with it.
        needed: bytes.

    Raises:
        InputError: the machine has less; the message says how much both are.
    """
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    if present is not None and needed > present:
        raise InputError(f"{option} needs {_in_words(needed)} of memory, and this machine has {_in_words(present)}")


def _in_words(size: float) -> str:
    units = ["kB", "MB", "GB", "TB", "PB", "EB"]
    unit = "bytes"
    while size >= 1000 and units:
        size, unit = size / 1000, units.pop(0)
    return f"{size:.3g} {unit}"
