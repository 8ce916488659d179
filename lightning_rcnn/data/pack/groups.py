"""Groups of images that must stay in one split: the frames of a film, the slices of a scan, copies of one photo.

By default the names decide. A name is cut into parts at `/`, `_`, `-`, `.` and white space, without the suffix of the
file. Images whose names begin with the same parts are a group, where as few parts count as make at least two groups:
`scan07_0012.png` and `scan07_0013.png` are the group `scan07` beside `scan08_0001.png`, and `IMG_0001.jpg` and
`IMG_0002.jpg` are groups of their own if all names begin with `IMG`. A group whose beginning is the name of a class, as
of `cat_0001.jpg`, is none: its images are groups of their own by their next part.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath

from lightning_rcnn.errors import InputError

PREFIX, FOLDER, COLUMN, NONE = KINDS = ("prefix", "folder", "column", "none")
"""Values of `--group_by` that are no regular expressions."""
_SEPARATORS = re.compile(r"[/_\-.\s]+")


def group_names(
    names: Sequence[str], columns: Sequence[str], group_by: str | None = None, class_names: Collection[str] = ()
) -> tuple[str, list[str]]:
    """Return what the images are grouped by, and the group of each image.

    Args:
        names: paths of the images relative to the data set, with "/" between the parts.
        columns: for each image the group that the annotations state; "" if they state none.
        group_by: one of `KINDS`, or a regular expression; by default the column where there is one, or else the prefix.
        class_names: classes of the data set.

    Raises:
        InputError: there is no such column, or the regular expression is malformed or fits a name nowhere.
    """
    names = [unicodedata.normalize("NFC", name.replace("\\", "/")) for name in names]
    if group_by is None:
        group_by = COLUMN if any(columns) else PREFIX
    if group_by == COLUMN:
        if not any(columns):
            raise InputError(
                "--group_by column: the annotations state no groups; name the column of a CSV file with --columns "
                "group=NAME, or group by prefix, folder or a regular expression"
            )
        return "the column group", [
            f"{COLUMN} {column}" if column else name for name, column in zip(names, columns, strict=True)
        ]
    if group_by == NONE:
        return "nothing", names
    if group_by == FOLDER:
        return "their folders", [str(PurePosixPath(name).parent) for name in names]
    if group_by == PREFIX:
        return "the beginnings of their names", _beginnings(names, class_names)
    return f"the pattern {group_by}", list(map(_matcher(group_by), names))


def _beginnings(names: Sequence[str], class_names: Collection[str]) -> list[str]:
    parts = [_parts(name) for name in names]
    classes = {_letters(name) for name in class_names}
    shared = 0
    while len({each[: shared + 1] for each in parts}) == 1 and any(len(each) > shared for each in parts):
        shared += 1
    groups = []
    for each in parts:
        ends = [end for end in range(shared + 1, len(each) + 1) if _letters(" ".join(each[shared:end])) in classes]
        groups.append(" ".join(each[: max(ends, default=shared) + 1]))
    return groups


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in _SEPARATORS.split(re.sub(r"\.[^./]*$", "", name)) if part)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _matcher(pattern: str) -> Callable[[str], str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"--group_by {pattern}: neither {', '.join(KINDS)} nor a regular expression ({error}); correct it"
        ) from error

    def group_of(name: str) -> str:
        match = compiled.search(name)
        if match is None:
            raise InputError(f"--group_by {pattern}: does not fit the name {name}; give a pattern that fits every name")
        return (match[1] if compiled.groups else match[0]) or ""

    return group_of
