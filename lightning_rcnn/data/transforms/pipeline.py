"""Check and query the list of transforms."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.data.transforms.base import Transform
from lightning_rcnn.data.transforms.color_transform import ColorTransform
from lightning_rcnn.data.transforms.copy_paste import CopyPaste
from lightning_rcnn.data.transforms.flips import HorizontalFlip
from lightning_rcnn.data.transforms.planned import PlannedTransform
from lightning_rcnn.data.transforms.resize import Resize
from lightning_rcnn.data.transforms.scale_jitter import ScaleJitter
from lightning_rcnn.data.transforms.torchvision import PairTransform, name_of
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import from_plain, to_plain

# Plain data, so that the command line can show them.
DEFAULT_TRANSFORMS: Any = [part(HorizontalFlip, p=0.5)]


def checked_transforms(transforms: Sequence[Any]) -> list[Transform | PairTransform]:
    """Return the transforms, and build those given as plain data.

    Raises:
        InputError: not a list, an element is a class or cannot be called, there are two of `Resize` and `ScaleJitter`,
            or such a one is not last; only `CopyPaste` may follow `ScaleJitter`.
    """
    if not isinstance(transforms, list | tuple):
        raise InputError(f"data.train_transforms is {name_of(transforms)}; give a list of transforms")
    built = [from_plain(transform) for transform in transforms]
    deciding = [name_of(transform) for transform in built if isinstance(transform, Resize | ScaleJitter)]
    if len(deciding) > 1:
        raise InputError(
            f"data.train_transforms: {' and '.join(deciding)} each decide the size of batches; keep one of them"
        )
    for position, transform in enumerate(built):
        if isinstance(transform, type):
            raise InputError(f"data.train_transforms: {name_of(transform)} is a class; write {name_of(transform)}(...)")
        if not callable(transform):
            raise InputError(
                f"data.train_transforms: {transform!r} is not callable; give a transform of (image, target)"
            )
        followers = built[position + 1 :]
        if isinstance(transform, ScaleJitter):  # pasted objects keep the size that it gave them, as in the paper
            followers = [each for each in followers if not isinstance(each, CopyPaste)]
        if isinstance(transform, Resize | ScaleJitter) and followers:
            raise InputError(
                f"data.train_transforms: {name_of(transform)} is not last; put it last, behind "
                f"{name_of(followers[-1])}, as batches are planned by it"
            )
    return built


def min_sizes(transforms: Sequence[Transform | PairTransform]) -> list[int]:
    """Return the lengths in pixels from which training draws the shorter edge; empty if the model's rule decides."""
    return next((transform.min_sizes for transform in transforms if isinstance(transform, Resize)), [])


def target_size(transforms: Sequence[Transform | PairTransform]) -> tuple[int, int] | None:
    """Return the (height, width) in pixels that `ScaleJitter` gives all batches; None without it."""
    return next((transform.target_size for transform in transforms if isinstance(transform, ScaleJitter)), None)


def size_settings(transforms: Sequence[Transform | PairTransform]) -> list[Any]:
    """Return position and settings of the transforms that decide which samples share a batch, as plain data.

    `Resize` is not one of them, because its lengths become resize rules.
    """
    return [
        [position, to_plain(transform)]
        for position, transform in enumerate(transforms)
        if isinstance(transform, PlannedTransform | ScaleJitter)
    ]


def log_worker_transforms(transforms: Sequence[Any]) -> None:
    """Log the transforms that workers apply although others are left to the device, if there are any."""
    last = max((position for position, each in enumerate(transforms) if _stays_with_workers(each)), default=-1)
    applied = [each for each in transforms[: last + 1] if _stays_with_workers(each) or isinstance(each, ColorTransform)]
    if applied:
        names = ", ".join(dict.fromkeys(name_of(each) for each in applied))
        rank_zero_info(f"data.device_transforms: workers apply {names}, and the device the rest.")


def _stays_with_workers(transform: Any) -> bool:
    return not isinstance(transform, Transform) or (
        transform.needs_pixels and not isinstance(transform, ColorTransform)
    )
