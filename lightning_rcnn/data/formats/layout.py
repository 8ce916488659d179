"""The files at a path, for recognizing and reading data sets: one listing, and the beginnings of text files."""

import json
import math
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from os import SEEK_END
from pathlib import Path
from typing import Any

from lightning_rcnn.data.folder_listing import list_files
from lightning_rcnn.data.formats.archives import describe_archive
from lightning_rcnn.data.formats.coco.other_formats import recognize_content
from lightning_rcnn.data.formats.splits import split_of
from lightning_rcnn.data.image_formats import images_among
from lightning_rcnn.data.text_encoding import UnreadableTextError, decode_text
from lightning_rcnn.errors import InputError

MEMORY_PER_BYTE = 10
"""Bytes of memory for a byte of JSON while it is read: 7.7 (polygons) to 8.4 (boxes) were measured on COCO's form."""
MIN_CHECKED = 1 << 26
"""Bytes of the smallest JSON file for which memory is checked."""
_HEAD = 1 << 16
_MAX_PARSED = 1 << 26
"""Bytes of the largest JSON file that is parsed to recognize it."""
_COCO_KEYS = re.compile(r'"(images|annotations|categories|licenses|info)"\s*:')

_PANOPTIC_KEYS = re.compile(r'"(segments_info|isthing)"\s*:')
_DATUMARO_KEYS = re.compile(r'"categories"\s*:\s*\{|"items"\s*:')


class Layout:
    """A data set's folder, or one of its files and the folder around it.

    Args:
        path: folder, or annotation file.

    Attributes:
        path: path as given.
        root: the folder.
        files: annotation files to consider, relative to `root`: the given file, or all files of the folder.

    Raises:
        InputError: nothing is there, or an archive.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if path.is_file() and (archive := describe_archive(path)):
            raise InputError(f"{path}: {archive}")
        self.path = path
        self.root = path if path.is_dir() else path.parent
        self._kinds: dict[str, str] = {}
        self._malformed: list[str] = []
        self.files = self.all_files if path.is_dir() else [path.name]

    def around(self) -> "Layout":
        """Return these annotation files with the folder around theirs, where the images may be beside it."""
        wider = Layout(self.path.resolve().parent)
        name = self.path.resolve().name
        wider.path, wider.files = self.path, [f"{name}/{file}" for file in self.files]
        return wider

    @cached_property
    def all_files(self) -> list[str]:
        """All files below `root`, sorted, with "/" between the parts."""
        return list_files(self.root)

    @cached_property
    def images(self) -> list[str]:
        """All files below `root` that are named like images."""
        return images_among(self.all_files)

    @cached_property
    def image_set(self) -> frozenset[str]:
        """The images, for looking them up."""
        return frozenset(self.images)

    @cached_property
    def image_folders(self) -> frozenset[str]:
        """All folders below `root` that have images in them or below them."""
        return frozenset(outer for folder in set(map(posixpath.dirname, self.images)) for outer in _and_outer(folder))

    @cached_property
    def folders_of_splits(self) -> dict[str, list[str]]:
        """Split -> outermost folders of images whose own names say it."""
        named = {folder: split_of(f"{posixpath.basename(folder)}/-") for folder in sorted(self.image_folders)}
        outermost: defaultdict[str, list[str]] = defaultdict(list)
        for folder, split in named.items():
            if split and all(named[outer] != split for outer in _and_outer(posixpath.dirname(folder))):
                outermost[split].append(folder)
        return dict(outermost)

    def with_suffix(self, *suffixes: str, among: Iterable[str] | None = None) -> list[str]:
        """Return the files with one of the suffixes, in any case."""
        if among is None or among is self.all_files:
            by_suffix = self._by_suffix if among is None else self._all_by_suffix
            if len(suffixes) == 1:
                return list(by_suffix.get(suffixes[0], ()))
            return sorted(file for suffix in set(suffixes) for file in by_suffix.get(suffix, ()))
        return [file for file in among if _suffix(file) in suffixes]

    @cached_property
    def xml_files(self) -> list[str]:
        """The XML files; if none ends in .xml, those without an ending that begin like XML, as Stanford Dogs' do."""
        return self.with_suffix(".xml") or [
            file for file in self.with_suffix("") if self.head(file, 64).lstrip("\ufeff \t\r\n").startswith("<")
        ]

    @cached_property
    def _by_suffix(self) -> dict[str, list[str]]:
        return self._all_by_suffix if self.files is self.all_files else _group_by_suffix(self.files)

    @cached_property
    def _all_by_suffix(self) -> dict[str, list[str]]:
        return _group_by_suffix(self.all_files)

    def head(self, file: str, size: int = _HEAD) -> str:
        """Return the beginning of a text file, by default 64 KiB; "" if it is no text."""
        try:
            with (self.root / file).open("rb") as opened:
                data = opened.read(size)
        except OSError:
            return ""
        for length in (len(data), len(data) - 1, len(data) - 2, len(data) - 3):  # the cut may split a character
            try:
                return decode_text(data[:length])
            except UnreadableTextError:
                continue
        return ""

    def json_kind(self, file: str) -> str:
        """Return the name of the command that packs a JSON file: "coco" for COCO's, "" for unknown ones.

        Of large files, those that begin like COCO's or BDD100K's are not parsed.
        """
        if file not in self._kinds:
            is_large = (self.root / file).stat().st_size > _MAX_PARSED
            kind = _kind_of_ends(self.head(file), self._tail(file), file) if is_large else None
            self._kinds[file] = self._kind_of_content(file) if kind is None else kind
        return self._kinds[file]

    def _tail(self, file: str) -> str:
        """Return the end of a file, 64 KiB, in which only ASCII is as written."""
        with (self.root / file).open("rb") as opened:
            opened.seek(max(0, opened.seek(0, SEEK_END) - _HEAD))
            return opened.read().decode("ascii", "replace")

    def _kind_of_content(self, file: str) -> str:
        try:
            content = read_json(self.root / file)
        except InputError:
            content = None
            self._malformed.append(file)
        other = recognize_content(content)
        return other.command if other is not None else _kind_of_coco(content)

    def require_sound_json(self) -> None:
        """Check that no JSON file that was tried is damaged, or too large: it may be one of the data set's.

        Raises:
            InputError: a file cannot be parsed.
        """
        for file in self._malformed:
            read_json(self.root / file)

    def lines(self, file: str, limit: int = 20) -> list[str]:
        """Return the first lines of a text file that are not empty; none if it is no text.

        Lines are whole up to 64 MiB of the file: an image with its masks may be one line, and a list of classes long.
        """
        size = _HEAD
        while True:
            text = self.head(file, size)
            lines = [line for line in map(str.strip, text.splitlines()) if line]
            if not text or len(lines) > limit or size >= _MAX_PARSED or (self.root / file).stat().st_size <= size:
                return lines[:limit]
            size = min(8 * size, _MAX_PARSED)


def _and_outer(folder: str) -> list[str]:
    """Return a folder and those around it, without the data set's own."""
    parts = folder.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts) + 1)] if folder else []


def _suffix(file: str) -> str:
    return posixpath.splitext(file)[1].lower()


def _group_by_suffix(files: Iterable[str]) -> dict[str, list[str]]:
    """Return suffix in lower case -> files, in their order: every format asks for its own, of the same long list."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        groups[_suffix(file)].append(file)
    return groups


def _kind_of_ends(head: str, tail: str, file: str) -> str | None:
    """Return the kind that the beginning and the end of a JSON file show; None if it has to be parsed."""
    if '"box2d"' in head:
        return "bdd100k"
    if not head.lstrip().startswith("{") or not _COCO_KEYS.search(head) or _DATUMARO_KEYS.search(head):
        return None
    if '"caption"' in head:
        return ""
    if _PANOPTIC_KEYS.search(head) or _PANOPTIC_KEYS.search(tail):
        return "panoptic"
    return "lvis" if posixpath.basename(file).startswith("lvis") or "not_exhaustive" in head else "coco"


def _kind_of_coco(content: Any) -> str:
    """Return "coco" for COCO's instances, "lvis" for LVIS's, and "" for anything else."""
    if not isinstance(content, dict) or not content.keys() >= {"images", "annotations"}:
        return ""
    images = content["images"]
    first = images[0] if isinstance(images, list) and images else None
    is_lvis = isinstance(first, dict) and "not_exhaustive_category_ids" in first
    return "lvis" if is_lvis else "coco"


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 with their marks.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return decode_text(path.read_bytes())
    except UnreadableTextError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it cannot be read, is not JSON, or needs more memory than is free.
    """
    require_memory(path)
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: malformed JSON ({error}); check that the file is complete") from error


def require_memory(path: Path) -> None:
    """Check that a JSON file can be parsed in the free memory.

    Raises:
        InputError: it needs more.
    """
    size = path.stat().st_size
    if size < MIN_CHECKED:
        return
    free = free_memory()
    if size * MEMORY_PER_BYTE > free:
        raise InputError(
            f"{path}: parsing {size / 1e9:.1f} GB of JSON takes about {size * MEMORY_PER_BYTE / 1e9:.0f} GB of memory, "
            f"and {free / 1e9:.0f} GB are free; split the file, or pack it on a larger machine"
        )


def free_memory() -> float:
    """Return the bytes of memory that processes can get without swapping; infinity where it is unknown."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return math.inf
    available = re.search(r"MemAvailable:\s*(\d+) kB", text)
    return int(available[1]) * 1024 if available else math.inf
