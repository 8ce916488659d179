"""Read JSON files in any Unicode encoding."""

import json
from pathlib import Path
from typing import Any

from lightning_rcnn.data.formats.coco.other_formats import (
    OtherFormat,
    recognize_content,
    recognize_folder,
    recognize_text,
)
from lightning_rcnn.data.text_encoding import UnreadableTextError, decode_text
from lightning_rcnn.errors import InputError

Entry = dict[str, Any]
"""One element of a list in the JSON."""

_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "ZIP", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


def load_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        InputError: it cannot be read or is not JSON; the message names the format if it is known.
    """
    return parse_json(_read(path), path)


def parse_json(data: bytes, path: Path) -> Any:
    """Parse the content of a JSON file.

    Raises:
        InputError: it is not JSON; the message names the format if it is known.
    """
    if kind := next((kind for magic, kind in _COMPRESSED.items() if data.startswith(magic)), None):
        raise InputError(f"{path}: is compressed ({kind}); unpack it and give the JSON file")
    if not data.strip():
        raise InputError(f"{path}: malformed JSON (the file is empty); export or copy it again")
    try:
        text = decode_text(data)
    except UnreadableTextError as error:
        raise InputError(f"{path}: {error}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if other := recognize_text(text):
            raise _not_coco(path, other) from error
        raise InputError(f"{path}: malformed JSON ({error}); check that the file is complete") from error


def load_annotations(path: Path) -> dict[str, list[Entry]]:
    """Read an annotation file: the lists `images`, `annotations` and `categories`.

    Raises:
        InputError: it cannot be read, or lacks one of the lists; the message names the format if it is known.
    """
    content = load_json(path)
    if other := recognize_content(content):
        raise _not_coco(path, other)
    lacking = [key for key in _MISSING if not _is_list_of_objects(content, key)]
    if len(lacking) == len(_MISSING):
        raise InputError(
            f"{path}: not COCO annotations, it has no lists of objects 'images', 'annotations' and 'categories'; "
            "give an instances file"
        )
    if lacking:
        raise InputError(
            f"{path}: not COCO annotations, it has no list of objects {lacking[0]!r}; {_MISSING[lacking[0]]}"
        )
    return content


_MISSING = {
    "images": "give an instances file, or add the images with id, file_name, width and height",
    "annotations": 'give an instances file, or add "annotations": [] if no image has an object',
    "categories": 'add the classes, such as "categories": [{"id": 1, "name": "cell"}]',
}
"""The lists of an annotation file, and what to do if one is missing."""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a JSON file in COCO's format") from None
    except IsADirectoryError:
        other = recognize_folder(path)
        hint = f", it looks like {other.name}; {other.way_out}" if other else "; give the JSON file in it"
        raise InputError(f"{path}: is a folder, not a JSON file{hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _is_list_of_objects(content: Any, key: str) -> bool:
    value = content.get(key) if isinstance(content, dict) else None
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _not_coco(path: Path, other: OtherFormat) -> InputError:
    return InputError(f"{path}: not COCO annotations, this is {other.name}; {other.way_out}")
