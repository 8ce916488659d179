"""Find lists of splits, such as train.txt, in a set with VOC's XML files but without VOC's `ImageSets`.

    Annotations/frontFar/a/001.xml   JPEGImages/frontFar/a/001.jpg   train.txt: frontFar/a/001

Source: https://idd.insaan.iiit.ac.in/dataset/details/ (IDD Detection)
"""

import posixpath
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple

from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.pairing import nearest_images
from lightning_rcnn.data.formats.splits import split_of
from lightning_rcnn.data.image_formats import NAMED_SUFFIXES
from lightning_rcnn.errors import InputError


class ListedSplits(NamedTuple):
    """What lists of splits say.

    Attributes:
        lists: the lists, relative to the data set.
        splits: XML file -> split.
        missing: split -> names without an XML file.
    """

    lists: list[str]
    splits: dict[str, str]
    missing: dict[str, list[str]]


def find_lists(layout: Layout, files: Sequence[str]) -> ListedSplits:
    """Return the splits of XML files by the lists that are called like splits.

    A line is an image or an XML file, with or without folders and suffix. A list that has no file for most of its lines
    is of something else, as of a test set without annotations. Lists that name a file twice say nothing; that of train
    and val together does not count beside these.
    """
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        by_stem[PurePosixPath(file).stem].append(file)
    found = ListedSplits([], {}, {})
    named = {text: split_of(posixpath.basename(text)) for text in layout.with_suffix(".txt", among=layout.all_files)}
    has_parts = {"train", "val"} <= set(named.values())
    for text, split in named.items():
        if not split or (split == "trainval" and has_parts):
            continue
        matches = {line: _match(line, by_stem) for line in _lines(layout, text)}
        matched = {file: split for file in matches.values() if file is not None}
        if not matched or 2 * len(matched) < len(matches):
            continue
        if any(found.splits.get(file, split) != split for file in matched):
            return ListedSplits([], {}, {})
        found.lists.append(text)
        found.splits.update(matched)
        found.missing.setdefault(split, []).extend(line for line, file in matches.items() if file is None)
    return found


def _lines(layout: Layout, text: str) -> list[str]:
    with suppress(InputError):  # a text in another encoding is no list
        return [line.strip() for line in read_text(layout.root / text).splitlines() if line.strip()]
    return []


def _match(line: str, by_stem: dict[str, list[str]]) -> str | None:
    """Return the one XML file that a line means; None if there is none, or more than one."""
    path = PurePosixPath(line.replace("\\", "/"))
    is_file = path.suffix.lower() in (*NAMED_SUFFIXES, ".xml")
    nearest = nearest_images(path, by_stem.get(path.stem if is_file else path.name, []))
    return nearest[0] if len(nearest) == 1 else None
