"""Image files that a user names: as such, or by their folders."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lightning_rcnn.errors import InputError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".jp2", ".ppm", ".pgm", ".tif", ".tiff", ".webp"))
"""Of the files that are taken from a folder."""


class ImageFile(NamedTuple):
    """A file, and its name within what the user named: unique, and good for a file that is derived from it."""

    path: Path
    name: Path


def find_images(sources: Iterable[Path], without: Path | None = None) -> list[ImageFile]:
    """Files as given, whatever their suffix, and all images in folders and the folders inside, sorted; each once.

    Args:
        sources: files and folders.
        without: a folder that is left out, so that results don't become input.

    Raises:
        InputError: one does not exist, or there is no image at all.
    """
    found: dict[Path, ImageFile] = {}
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        files = [source] if source.is_file() else sorted(_images_in(source, without))
        for path in files:
            name = Path(source.resolve().name) / path.relative_to(source)
            found.setdefault(path.resolve(), ImageFile(path, name))
    if not found:
        raise InputError(f"no image in {', '.join(map(str, sources))}; looked for *{', *'.join(sorted(SUFFIXES))}")
    names = _unique(file.name for file in found.values())
    return [ImageFile(file.path, name) for file, name in zip(found.values(), names, strict=True)]


def _images_in(folder: Path, without: Path | None) -> Iterator[Path]:
    excluded = without.resolve() if without else None
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file() and (excluded not in path.resolve().parents):
            yield path


def _unique(names: Iterable[Path]) -> Iterator[Path]:
    taken: set[Path] = set()
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = name.with_name(f"{name.stem}-{number}{name.suffix}")
        taken.add(candidate)
        yield candidate
