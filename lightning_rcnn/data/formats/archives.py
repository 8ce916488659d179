"""Recognize archives of data sets; they are not read, because names in them may lead out of any folder."""

import tarfile
from itertools import islice
from pathlib import Path

from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES
from lightning_rcnn.data.index import is_packed

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHER = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!")
_BEGINNING = 512
"""Bytes; the header of a tar file is as long."""
_MEMBERS_TO_TRY = 50


def is_named_like_an_archive(file: str) -> bool:
    """Return whether a file has the suffix of an archive."""
    return file.lower().endswith(_SUFFIXES)


def unpacking(path: Path) -> str:
    """Return the command that unpacks an archive; "" for a file of another kind."""
    try:
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return ""
    folder = path.name.partition(".")[0] or "set"
    folder = f"{folder}_files" if folder == path.name else folder
    if beginning.startswith(_ZIP):
        return f"unzip {path} -d {folder}"
    if beginning.startswith(_OTHER[-2:]):
        return f"7z x {path} -o{folder}"
    if beginning.startswith(_OTHER) or beginning[257:262] == b"ustar":
        return f"mkdir {folder} && tar -xf {path} -C {folder}"
    return ""


def describe_archive(path: Path) -> str:
    """Return "an archive; what to do with it"; "" for a file of another kind."""
    if not (command := unpacking(path)):
        return ""
    if path.suffix == ".tar" and is_packed(path.parent):
        return f"a shard of a packed set; {use_of_packed(path.parent)}"
    if holds_samples(path):
        return (
            f"a tar file with an image and JSON a sample; index it with `lightning-rcnn pack webdataset {path}`, or "
            f"unpack it (`{command}`), and give the folder"
        )
    return f"an archive; unpack it first (`{command}`), and give the folder"


def use_of_packed(packed: Path, folder: Path | None = None) -> str:
    """Return what to do with a packed set.

    Args:
        packed: folder of the set.
        folder: folder that holds it, with the other splits; by default its own.
    """
    command = f"lightning-rcnn unpack {folder or packed} --format coco --out FOLDER"
    return f"train with `--data.train {packed}`, or get files with `{command}`"


def holds_samples(path: Path) -> bool:
    """Return whether a tar file begins with samples of WebDataset: members of one key, an image and JSON among them."""
    from webdataset.tariterators import base_plus_ext  # which imports torch

    extensions: dict[str, set[str]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in islice(archive, _MEMBERS_TO_TRY):
                key, extension = base_plus_ext(member.name)
                if member.isreg() and key is not None:
                    extensions.setdefault(key, set()).add(f".{extension.lower()}")
    except (tarfile.TarError, OSError, EOFError):
        return False
    return any(".json" in found and found & set(IMAGE_SUFFIXES) for found in extensions.values())
