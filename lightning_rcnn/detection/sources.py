"""Find the images and videos that a user names.

| entry | means |
|---|---|
| `photo.jpg`, `photos/` | that file; all images and videos in that folder and its subfolders, but hidden |
| `photos/*/7*.jpg` | what the pattern matches; `**` stands for any number of folders |
| `list.txt` | an entry a line, relative to the working directory or else to the folder of the list; `#` is a comment |
| `https://host/photo.jpg`, `s3://bucket/photo.jpg`, `s3://bucket/*.jpg` | the images at those addresses |
| `shards/val`, `shards/val/shard-000003.tar`, the same at a URL | the images of packed shards |
| `clip.mp4`, `https://host/clip.mp4`, `rtsp://host/camera` | the frames of a video or stream |
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy, find_matches
from lightning_rcnn.data.formats.layout import read_text
from lightning_rcnn.data.image_files import ImageFile, NoImageError, files_in, find_images
from lightning_rcnn.data.index import INDEX_NAME
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.stores.addresses import is_cloud, is_remote
from lightning_rcnn.detection.stills import FileImage, RemoteImage, ShardImage, Still, set_of, shown_name
from lightning_rcnn.errors import InputError

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".m2ts", ".3gp", ".ogv")
)
_STREAMS = ("rtsp://", "rtsps://", "rtmp://", "udp://", "rtp://", "srt://")
_PATTERN = re.compile(r"[*?\[]")
_MAX_DEPTH = 8
"""Lists may name lists, but not forever."""
_LONGEST_SHOWN = 300
"""Characters of a line of a list that is none; JSON has lines of any length."""
_CACHE_BYTES = 100e9
_DRAWN_REMOTE = (".jpg",)
_DRAWN_VIDEO = (".mp4",)


@dataclass(frozen=True)
class Video:
    """A video file or stream.

    Args:
        address: path or URL.
        name: name in the results.
        drawn: relative path of a drawn video.
    """

    address: str
    name: str
    drawn: Path

    @property
    def owner(self) -> str:
        """Name in the results; see `Still.owner`."""
        return self.name


class Sources(NamedTuple):
    """What a search found.

    Attributes:
        stills: images.
        videos: videos and streams.
        left_out: other files in the folders.
    """

    stills: list[Still]
    videos: list[Video]
    left_out: list[Path]


def find_sources(entries: Iterable[str], without: Path | None = None) -> Sources:
    """Find the images and videos of all entries, each once.

    Args:
        entries: see the table above.
        without: folder to leave out, so that results do not become input.

    Raises:
        InputError: an entry does not exist, or lies in `without`, a pattern matches nothing, or a list cannot be read.
        NoImageError: there is nothing.
    """
    listed = list(_expand(entries, 0))
    if not listed:
        raise NoImageError("no image: the lists are empty")
    paths: list[Path] = []
    samples: dict[str, Still] = {}
    remote: dict[str, RemoteImage] = {}
    videos: dict[str, Video] = {}
    for entry in listed:
        if _is_stream(entry):
            if is_cloud(entry) and not entry.startswith(_STREAMS):
                raise InputError(f"{entry}: a video in a cloud; copy it here, or give a signed https:// URL")
            videos[entry] = Video(entry, entry, shown_name(_path_of(entry), _DRAWN_VIDEO))
        elif is_packed(entry):
            samples = {sample.key: sample for sample in _samples(entry)} | samples
        elif is_remote(entry):
            remote[entry] = RemoteImage(entry, shown_name(_path_of(entry), _DRAWN_REMOTE))
        else:
            paths.append(Path(entry))
    files, local_videos, left_out = _find_local(paths, without)
    videos |= {video.name: video for video in local_videos}
    stills = [FileImage(file.path, shown_name(file.name)) for file in files]
    return Sources([*samples.values(), *remote.values(), *stills], [*videos.values()], left_out)


def is_packed(entry: str) -> bool:
    """Tell whether an entry names packed shards."""
    path = urlsplit(entry).path if is_remote(entry) else entry
    return path.endswith((".tar", f"/{INDEX_NAME}")) or (
        not is_remote(entry) and os.path.isfile(Path(entry) / INDEX_NAME)
    )


def _is_stream(entry: str) -> bool:
    if entry.startswith(_STREAMS):
        return True
    return is_remote(entry) and PurePosixPath(urlsplit(entry).path).suffix.lower() in VIDEO_SUFFIXES


def _expand(entries: Iterable[str], depth: int, folder: Path | None = None) -> Iterator[str]:
    """Yield the entries with patterns and lists replaced by what they stand for."""
    for entry in entries:
        if not entry:
            raise InputError("an empty name among the images, perhaps a variable of the shell that is not set")
        _require_address(entry)
        if is_cloud(entry) and not entry.startswith(_STREAMS) and _PATTERN.search(entry) and not is_packed(entry):
            yield from _require_matches(entry, find_matches(entry, FetchPolicy()))
            continue
        if is_remote(entry):
            yield entry
            continue
        if is_packed(entry):
            yield _packed_from(folder, entry)
            continue
        path = _found_from(folder, entry)
        if path is None:
            if not _PATTERN.search(entry):
                shown = entry if len(entry) <= _LONGEST_SHOWN else f"{entry[:_LONGEST_SHOWN]}..."
                raise InputError(f"{shown}: no such file or folder")
            matches = glob.glob(entry, recursive=True)
            if folder is not None and not matches:
                matches = glob.glob(str(Path(glob.escape(str(folder)), entry)), recursive=True)
            yield from _require_matches(entry, sorted(matches))
        elif path.is_file() and path.suffix.lower() == ".txt":
            yield from _expand(_lines(path, depth), depth + 1, path.parent)
        else:
            yield str(path)


def _found_from(folder: Path | None, entry: str) -> Path | None:
    """Return the path of an entry, if it exists: from the working directory, or else from the folder of its list."""
    places = [Path(entry)] if folder is None else [Path(entry), folder / entry]
    return next((path for path in places if os.path.exists(path)), None)  # where a path is too long, pathlib raises


def _packed_from(folder: Path | None, entry: str) -> str:
    """Return the path of packed shards: from the working directory, or else from the folder of its list."""
    if folder is None or os.path.exists(entry):
        return entry
    if os.path.exists(folder / entry):
        return str(folder / entry)
    # A pattern or a range of shards, which lie beside their index.
    below = str(Path(glob.escape(str(folder)), entry))
    here, there = (glob.glob(str(Path(place).with_name(INDEX_NAME))) for place in (entry, below))
    return below if there and not here else entry


def _require_address(entry: str) -> None:
    if is_remote(entry):
        try:
            urlsplit(entry)
        except ValueError as error:
            raise InputError(f"{entry}: no valid URL ({error})") from error


def _require_matches(pattern: str, matches: list[str]) -> list[str]:
    if not matches:
        raise InputError(f"{pattern}: no file matches this pattern")
    return matches


def _lines(path: Path, depth: int) -> list[str]:
    if depth >= _MAX_DEPTH:
        raise InputError(f"{path}: lists that name lists that name lists, {depth} times; give the images themselves")
    lines = (line.strip() for line in read_text(path).split("\n"))
    entries = [line for line in lines if line and not line.startswith("#")]
    if not entries:
        raise InputError(f"{path}: the list is empty; give a path, a pattern or a URL a line")
    return entries


def _samples(entry: str) -> list[ShardImage]:
    shard_set = read_shards(entry)
    reader = ShardReader(shard_set, ShardCache(None, _CACHE_BYTES, FetchPolicy()))
    owners = [set_of(reader.location(number)) for number in range(len(reader))]
    folders = {owner: Path(_set_name(owner)) for owner in set(owners)}  # a pattern may match several sets
    return [ShardImage(reader, number, folders[owner], owner) for number, owner in enumerate(owners)]


def _set_name(address: str) -> str:
    """Return the name of the folder with the shards of a set."""
    return _path_of(address).name if is_remote(address) else Path(address).resolve().name


def _find_local(paths: list[Path], without: Path | None) -> tuple[list[ImageFile], list[Video], list[Path]]:
    """Find images and videos among local files and folders."""
    if not paths:
        return [], [], []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
    given = [path for path in paths if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES]
    others = [path for path in paths if not (path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES)]
    videos = [(path, Path(path.name)) for path in given]
    for folder in (path for path in others if path.is_dir()):
        inside = [path for path in files_in(folder, without) if path.suffix.lower() in VIDEO_SUFFIXES]
        videos += [(path, Path(folder.resolve().name) / path.relative_to(folder)) for path in inside]
    found = [Video(str(path), str(path), shown_name(name, _DRAWN_VIDEO)) for path, name in videos]
    try:
        images, left_out = find_images(others, without) if others else ([], [])
    except NoImageError:
        if not found:
            raise
        images, left_out = [], []
    taken = {path for path, _ in videos}
    return list(images), found, [path for path in left_out if path not in taken]


def _path_of(address: str) -> Path:
    """Return a relative path for what belongs to a URL: host and path."""
    parts = urlsplit(address)
    steps = [step.replace("\0", "") for step in unquote(parts.path).split("/") if step not in ("", ".", "..")]
    return Path((parts.hostname or "host").replace(":", "-"), *steps)
