"""What inference may do beyond one pass over the image: tiles of large images, several views, one class an object."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from lightning_rcnn.errors import InputError

OVERLAP = 0.2
"""Overlap of tiles where none is given."""
SCALES = (0.8, 1.0, 1.25)
"""Factors on the detector's own sizes under the augmentation "scales"."""
AUGMENTATIONS = ("flip", "vertical_flip", "scales")


class View(NamedTuple):
    """One form in which the network sees an image.

    Attributes:
        scale: factor on the detector's `min_size` and `max_size`.
        flips: axes of the image [C, h, w] that are reversed: -1 exchanges left and right, -2 top and bottom.
    """

    scale: float = 1.0
    flips: tuple[int, ...] = ()


@dataclass(frozen=True)
class TilesAndViews:
    """Tiles and views, and whether what they show has one class.

    Args:
        tile: side of the tiles that larger images are cut into, pixels of the image; None for whole images.
        overlap: share of its side that a tile has in common with its neighbors, 0 to less than 1. Objects that are
            smaller than what tiles share are whole in one of them.
        tta: test-time augmentations: "flip" also shows the network each image mirrored, "vertical_flip" upside down,
            "scales" in three sizes, several of them all combinations. Names in a sequence, or in a string with commas.
        nms_across_classes: whether boxes of different classes suppress each other, too, so that an object has one
            class; where the detector itself suppresses so, they do in any case.

    Raises:
        InputError: a value is out of range or unknown.
    """

    tile: int | None = None
    overlap: float = OVERLAP
    tta: str | Sequence[str] = ()
    nms_across_classes: bool = False

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 32:
            raise InputError(f"tile {self.tile}: the side of a tile in pixels, at least 32")
        if not 0 <= self.overlap < 1:
            raise InputError(f"overlap {self.overlap:g}: a share of a tile, from 0 to less than 1, such as 0.2")
        if self.tile is None and self.overlap != OVERLAP:
            raise InputError(f"overlap {self.overlap:g}: only tiles overlap; give a tile, too")
        unknown = [name for name in self._names if name not in AUGMENTATIONS]
        if unknown:
            raise InputError(f"tta {unknown[0]!r}: unknown; give some of {', '.join(AUGMENTATIONS)}")

    @property
    def is_plain(self) -> bool:
        """Whether the network passes over the image once."""
        return self.tile is None and not self._names

    @property
    def views(self) -> list[View]:
        """Views of each image or tile; the first one is the image as it is."""
        scales = sorted(SCALES, key=lambda scale: scale != 1.0) if "scales" in self._names else [1.0]
        columns = ((), (-1,)) if "flip" in self._names else ((),)
        rows = ((), (-2,)) if "vertical_flip" in self._names else ((),)
        return [View(scale, row + column) for scale, row, column in product(scales, rows, columns)]

    @property
    def _names(self) -> list[str]:
        names = self.tta.split(",") if isinstance(self.tta, str) else self.tta
        return [name.strip() for name in names if name.strip()]
