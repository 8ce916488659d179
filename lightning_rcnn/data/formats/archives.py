"""Recognize archives of data sets; they are not read, because names in them may lead out of any folder."""

from pathlib import Path

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHER = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!")
_BEGINNING = 512
"""Bytes; the header of a tar file is as long."""


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
