"""Find the image and the split of each text file of a data set that has one for each image; tell other texts apart.

KITTI has `label_2/000000.txt` for `image_2/000000.png`, besides `calib/000000.txt`, and the right camera's images in
`image_3`. Others call the text file after the image with its suffix, `000040.jpg.txt`.

Source: https://www.cvlibs.net/datasets/kitti/eval_object.php
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.pairing import nearest_images
from lightning_rcnn.data.formats.splits import split_of

_LABELS = re.compile(r"label|annot|^gt$", re.IGNORECASE)
"""Pattern in the names of folders of annotations."""
_NUMBER = re.compile(r"\d+$")


def images_of_texts(images: Iterable[str], files: Iterable[str], image_suffix: str) -> dict[str, str | None]:
    """Return text file -> its image; None if there is none, or more than one.

    Args:
        images: images of the data set.
        files: text files, or others with one for each image.
        image_suffix: what the names of images have after those of their text files.
    """
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for image in images:
        by_stem[PurePosixPath(image).stem].append(image)
        by_stem[PurePosixPath(image).name].append(image)
    found = {}
    for file in files:
        path = PurePosixPath(file)
        nearest = nearest_images(path, by_stem.get(f"{path.stem}{image_suffix}", []))
        if len(nearest) > 1:
            nearest = [image for image in nearest if _number(PurePosixPath(image)) == _number(path)]
        found[file] = nearest[0] if len(nearest) == 1 else None
    return found


def without_other_texts(files: Iterable[str]) -> tuple[list[str], tuple[str, ...]]:
    """Leave out folders of text files that have the names of those in a folder of annotations beside them.

    Returns:
        The other files, and a remark for the user.
    """
    siblings: defaultdict[tuple[str, str], list[PurePosixPath]] = defaultdict(list)
    paths = [PurePosixPath(file) for file in files]
    for path in paths:
        siblings[str(path.parent.parent), path.stem].append(path)
    others = set()
    for listed in siblings.values():
        labels = [path for path in listed if _LABELS.search(path.parent.name)]
        if len(labels) == 1:
            others |= {path.parent.name for path in listed if path != labels[0]}
    notes = (f"the text files in {', '.join(sorted(others))} are no annotations",) if others else ()
    return [str(path) for path in paths if path.parent.name not in others], notes


def listed_splits(layout: Layout, files: Iterable[str]) -> dict[str, str]:
    """Return text file -> split, from lists called like splits, such as train.txt; empty if they contradict each other.

    The last word of a line is a text file, as in DeepPCB's lists, or the name of an image without folders, perhaps
    without suffix. A list with a name that has no text file, as of a test set without annotations, does not count.
    """
    texts = set(files)
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for file in texts:
        name = PurePosixPath(file).stem
        for key in {name, PurePosixPath(name).stem}:
            by_name[key].append(file)
    splits: dict[str, str] = {}
    for file in sorted(texts):
        split = split_of(PurePosixPath(file).name)
        if not split:
            continue
        words = [line.split()[-1] for line in read_text(layout.root / file).splitlines() if line.split()]
        paths = [str(PurePosixPath(file).parent / word) for word in words]
        if any(path in texts for path in paths):
            splits |= {path: split for path in paths if path in texts}
            continue
        found = [by_name.get(PurePosixPath(word).name, []) for word in words]
        if found and all(len(named) == 1 for named in found):
            of_list = {named[0]: split for named in found}
            if of_list.keys() & splits.keys():
                return {}
            splits |= of_list
    return splits


def _number(path: PurePosixPath) -> str:
    """Return the number at the end of a folder's name; "" if there is none."""
    match = _NUMBER.search(path.parent.name)
    return match[0] if match else ""
