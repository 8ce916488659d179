"""Find the image files in the files and folders that a user names."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lightning_rcnn.data.folder_listing import list_files
from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES, images_among
from lightning_rcnn.errors import InputError


class NoImageError(InputError):
    """Raised when there is no image among files and folders that exist."""


class ImageFile(NamedTuple):
    """An image file.

    Attributes:
        path: path of the file.
        name: the name of the source and the path within it.
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
    """Find the given files, with any suffix, and all images in the given folders, sorted, each once.

    Folders are listed with their subfolders, those behind links, too, but without hidden files.

    Args:
        sources: files and folders.
        without: folder to leave out, so that results do not become input.

    Raises:
        InputError: a source does not exist or cannot be listed, or is a folder within `without`.
        NoImageError: there is no image.
    """
    by_real_path: dict[Path, ImageFile] = {}
    left_out: list[Path] = []
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        _require_outside(source, without)
        files = [source] if source.is_file() else files_in(source, without)
        named = {source, *map(Path, images_among(str(path) for path in files))}
        for path in files:
            if path not in named:
                left_out.append(path)
                continue
            name = Path(source.resolve().name) / path.relative_to(source)
            by_real_path.setdefault(real_path(path), ImageFile(path, name))
    if not by_real_path:
        patterns = f"*{', *'.join(sorted(IMAGE_SUFFIXES))}"
        raise NoImageError(f"{', '.join(map(str, sources))}: no image; the names of images match {patterns}")
    return FoundImages([*by_real_path.values()], [path for path in left_out if real_path(path) not in by_real_path])


def files_in(folder: Path, without: Path | None = None) -> list[Path]:
    """Return all files in a folder and its subfolders, sorted; see `list_files`.

    Args:
        folder: folder to list.
        without: folder to leave out.

    Raises:
        InputError: a folder cannot be listed.
    """
    excluded = without.resolve() if without else None
    paths = sorted(folder / name for name in list_files(folder))
    return [path for path in paths if excluded not in real_path(path).parents and _may_be_file(path)]


def _may_be_file(path: Path) -> bool:
    """Tell whether a path is that of a file, or of one that will be named where it is read.

    That is a link without a target, or what this user may not look at. What else is no file, such as a pipe, could
    block without end.
    """
    return os.path.isfile(path) or not os.path.exists(path)  # where pathlib raises PermissionError


def real_path(path: Path) -> Path:
    """Return the path with links followed; `Path.resolve` raises where they form a circle."""
    return Path(os.path.realpath(path))


def shown_path(path: Path) -> str:
    """Return the path as text for any terminal: bytes that are not UTF-8, as in old archives, are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _require_outside(source: Path, folder: Path | None) -> None:
    """Refuse a folder of images that would be left out as a whole."""
    if folder is not None and source.is_dir() and source.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{source}: lies in {folder}, where results go and no images are taken from; choose another")
