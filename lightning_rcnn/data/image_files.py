"""Image files that a user names: as such, or by their folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES
from lightning_rcnn.errors import InputError

_MAC_SIDE_FILE = "._"
"""How names of files begin that macOS writes beside others on foreign disks."""


class ImageFile(NamedTuple):
    """A file, and its name within what the user named: unique, and good for a file that is derived from it."""

    path: Path
    name: Path


class FoundImages(NamedTuple):
    """What a search found, and the files in the folders that it did not take for images."""

    images: list[ImageFile]
    left_out: list[Path]


def find_images(sources: Iterable[Path], without: Path | None = None) -> FoundImages:
    """Find files as given, whatever their suffix, and all images in folders and the folders inside, sorted; each once.

    Args:
        sources: files and folders.
        without: a folder that is left out, so that results don't become input.

    Raises:
        InputError: one does not exist, or there is no image at all.
    """
    found: dict[Path, ImageFile] = {}
    left_out: list[Path] = []
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        files = [source] if source.is_file() else sorted(_files_in(source, without))
        for path in files:
            if path != source and not _is_named_like_an_image(path):
                left_out.append(path)
                continue
            name = Path(source.resolve().name) / path.relative_to(source)
            found.setdefault(path.resolve(), ImageFile(path, name))
    if not found:
        looked_for = f"*{', *'.join(sorted(IMAGE_SUFFIXES))}"
        raise InputError(f"no image in {', '.join(map(str, sources))}; looked for {looked_for}")
    names = _unique(file.name for file in found.values())
    images = [ImageFile(file.path, name) for file, name in zip(found.values(), names, strict=True)]
    return FoundImages(images, [path for path in left_out if path.resolve() not in found])


def shown_path(path: Path) -> str:
    """The path as text that any terminal takes: bytes that are no UTF-8, as in old archives, are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _is_named_like_an_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(_MAC_SIDE_FILE)


def _files_in(folder: Path, without: Path | None) -> Iterator[Path]:
    excluded = without.resolve() if without else None
    for path in folder.rglob("*"):
        if path.is_file() and excluded not in path.resolve().parents:
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
