"""Paths of drawn images and videos: no drawing replaces another, neither within a call nor over several."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from lightning_rcnn.data.image_files import shown_path
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.stills import ShardImage, Still, set_of

DRAWN_KEY = "drawn"
"""Key of the relative path of a drawing in an entry of the results."""
_FOLDER = "a folder of files"
"""Owner of a folder in which files of any origin lie."""

Source = TypeVar("Source", Still, Video)


class DrawnPaths:
    """Gives each image and video a path of its own, the one that it wishes if no other has that.

    The results say which paths earlier calls have given. What was drawn, but has no result, is drawn again.

    Attributes:
        num_missing: number of results without a drawing.
    """

    def __init__(self) -> None:
        self.num_missing = 0
        self._owners: dict[str, str] = {}
        self._numbers: dict[Path, int] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take the path of an earlier call into account.

        Args:
            entry: entry of the results; see `results.py`.
        """
        if DRAWN_KEY not in entry:
            self.num_missing += 1
            return
        path = Path(entry[DRAWN_KEY])
        folders = [str(folder) for folder in path.parents][-2::-1]
        if "sample" in entry and folders:
            self._owners[folders[0]] = set_of(entry["sample"])
        else:
            self._owners |= {**dict.fromkeys(folders, _FOLDER), str(path): entry["image"]}

    def assign(self, sources: Iterable[Source]) -> list[Source]:
        """Return the sources with paths of their own in `drawn`, samples of a shard set with a folder of its own."""
        return [replace(source, drawn=self._place(source)) for source in sources]  # type: ignore[type-var]

    def _place(self, source: Still | Video) -> Path:
        wish, folder = source.drawn, Path()
        for name in wish.parts[:-1]:
            folder = self._claim(folder / name, _FOLDER, 1)
        path = folder / wish.name
        # A video may go on, and samples share a folder. Of images, thousands may have one name: none counts from 1.
        may_return = isinstance(source, ShardImage | Video)
        return self._claim(path, source.owner, 1 if may_return else self._numbers.get(path, 1))

    def _claim(self, wish: Path, owner: str, number: int) -> Path:
        """Return the wish with the first number, from this one on, that no other has."""
        path = _numbered(wish, number)
        while self._owners.setdefault(shown_path(path), owner) != owner:
            number += 1
            path = _numbered(wish, number)
        self._numbers[wish] = number
        return path


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
