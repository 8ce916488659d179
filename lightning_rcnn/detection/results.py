"""Results as JSON Lines, one line an image as soon as it is done, and the files in COCO's form that are made of them.

A line of `results.jsonl`:

| key | holds |
|---|---|
| `image` | path, URL or, of shards, the name of the image |
| `sample` | shard and key, only of shards |
| `frame`, `seconds` | number and time of a frame, only of videos |
| `drawn` | path of the drawn image or video below `images/`, unless nothing is drawn |
| `width`, `height` | size, pixels |
| `objects` | list of `category_id`, `class`, `bbox` (x, y, width, height), `score`, `segmentation`, `keypoints` |

Masks are RLEs in `segmentation`; `keypoints` are x, y and score of each, as in COCO's files by the index of the pixel.

A killed run leaves a file of whole lines and perhaps a part of one, which the next run removes. `detect.json` beside it
says with which settings the lines were made, so that no file mixes two.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from lightning_rcnn.detection.drawn_paths import DrawnPaths
from lightning_rcnn.detection.finishing import cannot_write
from lightning_rcnn.detection.folder_lock import LOCK_FILE, lock_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_results import NAMES_FILE, write_json
from lightning_rcnn.files import atomic_write

LINES_FILE = "results.jsonl"
RESULTS_FILE = "results.json"
SETTINGS_FILE = "detect.json"

Entry = dict[str, Any]


def key_of(entry: Entry) -> str:
    """Return the name under which a run knows that an image is done."""
    key = str(entry.get("sample", entry["image"]))
    return f"{key}#{entry['frame']}" if "frame" in entry else key


class ResultsFile:
    """The file of lines in a folder; it continues what a run with the same settings has left there.

    Args:
        folder: folder of the results; it is made.
        settings: what decides the results.

    Attributes:
        done: keys of the images that have a line.
        drawn: paths of drawings, those of the lines taken.

    Raises:
        InputError: the folder holds results of other settings or another origin, another process writes there, or it
            cannot be written.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / LINES_FILE
        _require_same(folder, settings)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(folder)
            _require_same(folder, settings)  # of a call that has just ended
            write_json(folder / SETTINGS_FILE, settings)
            _remove_torn_line(self.path)
            self._file: BinaryIO = self.path.open("ab", buffering=0)
        except OSError as error:
            raise InputError(cannot_write(self.path, error)) from error
        self.done: set[str] = set()
        self.drawn = DrawnPaths()
        for entry in read_lines(self.path):
            self.done.add(key_of(entry))
            self.drawn.add(entry)

    def append(self, entry: Entry) -> None:
        """Write the line of an image.

        Raises:
            InputError: it cannot be written; no part of it stays.
        """
        line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
        start = self._file.tell()
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            self._file.truncate(start)
            raise InputError(cannot_write(self.path, error)) from error
        self.done.add(key_of(entry))

    def discard(self) -> None:
        """Remove the file, which has no line, and its folder if nothing else is in it."""
        self._file.close()
        for name in (LINES_FILE, SETTINGS_FILE, LOCK_FILE):
            self.path.with_name(name).unlink(missing_ok=True)
        self._lock.close()
        with suppress(OSError):
            self.path.parent.rmdir()

    def close(self) -> None:
        """Bring all lines to the disk; other calls may write there now."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._lock.close()


def read_lines(path: Path) -> Iterator[Entry]:
    """Yield the entries of a file of results, one at a time.

    Raises:
        InputError: a line is no entry.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                key_of(entry), entry["width"], entry["height"], [found["bbox"] for found in entry["objects"]]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{path}: line {number} is no result of an image; give another --out") from error
            yield entry


def write_coco(path: Path, category_ids: Sequence[int], class_names: Sequence[str]) -> None:
    """Write `results.json` and `images.json` beside a file of lines, without holding more than one line.

    Images get the numbers of their lines as ids. A frame's name is that of the video and its number.

    Raises:
        InputError: a file cannot be written.
    """
    categories = [{"id": i, "name": name} for i, name in zip(category_ids, class_names, strict=True)]
    try:
        with atomic_write(path.with_name(RESULTS_FILE)) as results, atomic_write(path.with_name(NAMES_FILE)) as names:
            results.write(b"[")
            names.write(b'{"images": ')
            _write_entries(path, results, names)
            results.write(b"]\n")
            names.write(b', "categories": ' + json.dumps(categories).encode() + b"}\n")
    except OSError as error:
        raise InputError(cannot_write(path.with_name(RESULTS_FILE), error)) from error


def _write_entries(path: Path, results: BinaryIO, names: BinaryIO) -> None:
    """Write the detections of all images to one file, and the images to another."""
    separator = b""
    names.write(b"[")
    for image_id, entry in enumerate(read_lines(path), start=1):
        found = [
            {"image_id": image_id, **{key: value for key, value in one.items() if key != "class"}}
            for one in entry["objects"]
        ]
        if found:  # one call for all objects of an image is several times as fast as one for each
            results.write(separator + json.dumps(found)[1:-1].encode())
            separator = b", "
        name = f"{entry['image']}#{entry['frame']}" if "frame" in entry else entry["image"]
        image = {"id": image_id, "file_name": name, "width": entry["width"], "height": entry["height"]}
        names.write((b", " if image_id > 1 else b"") + json.dumps(image).encode())
    names.write(b"]")


def _require_same(folder: Path, settings: dict[str, Any]) -> None:
    path = folder / SETTINGS_FILE
    if not path.exists():
        for name in (LINES_FILE, RESULTS_FILE, NAMES_FILE):
            if (folder / name).exists():
                raise InputError(
                    f"--out {folder}: its {name} is of another origin, since it has no {SETTINGS_FILE}; give another "
                    f"folder, or remove that file"
                )
        return
    if not (folder / LINES_FILE).exists():
        return
    try:
        earlier = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give another --out, or remove {folder}") from error
    # Through JSON, since a tuple comes back as a list.
    wanted = json.loads(json.dumps(settings))
    for name in wanted:
        if earlier.get(name) != wanted[name]:
            raise InputError(
                f"--out {folder}: holds results with {name} {earlier.get(name)}, not {wanted[name]}; give another "
                "folder, or remove it"
            )


def _remove_torn_line(path: Path) -> None:
    """Cut off what a killed run has written of a line."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
