"""Find the image files in the files and folders that a user names."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES, images_among
from lightning_rcnn.errors import InputError

_MACOS_METADATA_PREFIX = "._"
"""Prefix of the metadata files that macOS writes beside others on foreign disks."""


class NoImageError(InputError):
    """Raised when there is no image among files and folders that exist."""


class ImageFile(NamedTuple):
    """An image file.

    Attributes:
        path: path of the file.
        name: unique relative path, for a file derived from it: the name of the source and the path within it.
    """

    path: Path
    name: Path


class FoundImages(NamedTuple):
    """The result of a search.

    Attributes:
        images: image files.
        left_out: other files in the folders.
    """

    images: list[ImageFile]
    left_out: list[Path]


def find_images(sources: Iterable[Path], without: Path | None = None) -> FoundImages:
    """Find the given files, with any suffix, and all images in the given folders and subfolders, sorted, each once.

    Args:
        sources: files and folders.
        without: folder to leave out, so that results do not become input.

    Raises:
        InputError: a source does not exist, or is a folder within `without`.
        NoImageError: there is no image.
    """
    by_real_path: dict[Path, ImageFile] = {}
    left_out: list[Path] = []
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        _require_outside(source, without)
        files = [source] if source.is_file() else sorted(_files_in(source, without))
        named = {source, *map(Path, images_among(str(path) for path in files if not _is_metadata(path)))}
        for path in files:
            if path not in named:
                left_out.append(path)
                continue
            name = Path(source.resolve().name) / path.relative_to(source)
            by_real_path.setdefault(path.resolve(), ImageFile(path, name))
    if not by_real_path:
        patterns = f"*{', *'.join(sorted(IMAGE_SUFFIXES))}"
        raise NoImageError(f"{', '.join(map(str, sources))}: no image; the names of images match {patterns}")
    names = unique_names(file.name for file in by_real_path.values())
    images = [ImageFile(file.path, name) for file, name in zip(by_real_path.values(), names, strict=True)]
    return FoundImages(images, [path for path in left_out if path.resolve() not in by_real_path])


def shown_path(path: Path) -> str:
    """Return the path as text for any terminal: bytes that are not UTF-8, as in old archives, are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _require_outside(source: Path, folder: Path | None) -> None:
    """Refuse a folder of images that would be left out as a whole."""
    if folder is not None and source.is_dir() and source.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{source}: lies in {folder}, where results go and no images are taken from; choose another")


def _is_metadata(path: Path) -> bool:
    return path.name.startswith(_MACOS_METADATA_PREFIX)


def _files_in(folder: Path, without: Path | None) -> Iterator[Path]:
    excluded = without.resolve() if without else None
    for path in folder.rglob("*"):
        if path.is_file() and excluded not in path.resolve().parents:
            yield path


def unique_names(names: Iterable[Path]) -> Iterator[Path]:
    """Yield names in order, with a number added to those that occurred before."""
    taken: set[Path] = set()
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = name.with_name(f"{name.stem}-{number}{name.suffix}")
        taken.add(candidate)
        yield candidate
