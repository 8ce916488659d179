"""Checks of command line options before any work, for several commands."""

import torch

from lightning_rcnn.errors import InputError


def require_positive(**options: float | None) -> None:
    """Check numbers by the name of their option; None is an option that was not given.

    Raises:
        InputError: a number is not above 0.
    """
    for name, number in options.items():
        if number is not None and not number > 0:
            raise InputError(f"--{name} {number:g}: has to be above 0")


def require_at_least(limit: float, **options: float) -> None:
    """Check numbers by the name of their option.

    Raises:
        InputError: a number is below `limit`.
    """
    for name, number in options.items():
        if number < limit:
            raise InputError(f"--{name} {number:g}: has to be {limit:g} or more")


def require_device(name: str) -> torch.device:
    """Return the device called `name`, "cpu" or "cuda".

    Raises:
        InputError: torch sees no CUDA device.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return torch.device(name)
