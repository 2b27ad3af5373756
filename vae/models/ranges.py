"""Refuses options of the parts of a model that are out of their range, in one line that names them."""

from vae.cli.errors import InputError


def require_at_least_one(group: str, **options: int) -> None:
    """Raise an InputError for the first option below 1.

    Args:
        group: node of the configuration that holds the options, such as `latent`.
        **options: name → value.

    Example:
        >>> require_at_least_one("latent", steps=3)
    """
    _require(group, options, lambda value: value >= 1, "must be at least 1, not")


def require_positive(group: str, **options: float) -> None:
    """Raise an InputError for the first option that is not above 0, or NaN."""
    _require(group, options, lambda value: value > 0, "must be positive, not")


def require_not_negative(group: str, **options: float) -> None:
    """Raise an InputError for the first option below 0, or NaN."""
    _require(group, options, lambda value: value >= 0, "must not be negative, but is")


def _require(group, options, in_range, words) -> None:
    for name, value in options.items():
        if not in_range(value):
            raise InputError(f"{group}.{name} {words} {value}")
