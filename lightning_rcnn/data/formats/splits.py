"""Recognize the split (train, val, test) in the names of files and folders."""

import re
from collections.abc import Iterable

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "test": "test",
    "testing": "test",
    "trainval": "trainval",
}
ORDER = ("train", "trainval", "val", "test")


def split_of(path: str) -> str:
    """Return the split that a path names: in the file's name, else in its folders from the innermost; "" if none.

    Args:
        path: path relative to the data set, with "/" between the parts.
    """
    *folders, name = path.split("/")
    for part in (name.rpartition(".")[0] or name, *reversed(folders)):
        for word in re.findall(r"[a-z]+", part.lower()):
            if word in _NAMES:
                return _NAMES[word]
    return ""


def split_of_folder(path: str) -> str:
    """Return the split that the folders of a path name; the name of the file does not count."""
    return split_of(f"{path.rpartition('/')[0]}/-")


def in_order(names: Iterable[str]) -> list[str]:
    """Return the distinct names in the order in which people name splits."""
    return sorted(set(names), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
