"""Find the image of each text file of a data set that has one for each image, and tell other text files apart.

KITTI has `label_2/000000.txt` for `image_2/000000.png`, besides `calib/000000.txt`, and the right camera's images in
`image_3`.

Source: https://www.cvlibs.net/datasets/kitti/eval_object.php
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.pairing import nearest_images

_LABELS = re.compile(r"label|annot|^gt$", re.IGNORECASE)
"""Pattern in the names of folders of annotations."""
_NUMBER = re.compile(r"\d+$")


def images_of_texts(layout: Layout, files: Iterable[str], image_suffix: str) -> dict[str, str | None]:
    """Return text file -> its image; None if there is none, or more than one.

    Args:
        layout: files of the data set.
        files: text files.
        image_suffix: what the names of images have after those of their text files.
    """
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for image in layout.images:
        by_stem[PurePosixPath(image).stem].append(image)
    images = {}
    for file in files:
        path = PurePosixPath(file)
        nearest = nearest_images(path, by_stem.get(f"{path.stem}{image_suffix}", []))
        if len(nearest) > 1:
            nearest = [image for image in nearest if _number(PurePosixPath(image)) == _number(path)]
        images[file] = nearest[0] if len(nearest) == 1 else None
    return images


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


def _number(path: PurePosixPath) -> str:
    """Return the number at the end of a folder's name; "" if there is none."""
    match = _NUMBER.search(path.parent.name)
    return match[0] if match else ""
