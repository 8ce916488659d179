"""Annotation files that describe many images each: their splits, and the folders of their images."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

from lightning_rcnn.data.defects import DefectLog
from lightning_rcnn.data.formats.labeled import LabeledImage, LabeledSplit
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.splits import in_order, split_of

USUAL_FOLDERS = ("images", "Images", "JPEGImages", "imgs", "img", "data")
_ADDRESS = re.compile(r"(s3|gs|az|https?)://[^/]+/", re.IGNORECASE)


class ImageNames:
    """The names of the images of a data set, as seen from one annotation file.

    Args:
        layout: files of the data set.
        file: annotation file, relative to the data set.

    Attributes:
        images: all images of the data set.
        folder: folder of the images of the file; see `image_folder`.
    """

    def __init__(self, layout: Layout, file: str) -> None:
        self.images = layout.image_set
        self.folder = image_folder(layout, file)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Image without folders -> images."""
        by_name: defaultdict[str, list[str]] = defaultdict(list)
        for image in self.images:
            by_name[posixpath.basename(image)].append(image)
        return by_name

    def find(self, written: str) -> str:
        """Return the image that a name means, relative to the data set, or the name itself if it is not found here.

        Names are relative to the folder of the split's images where there is one, addresses such as s3://bucket/a.jpg
        to their bucket; of an address whose folders are not here, the only image of its name counts.
        """
        name = written.replace("\\", "/").strip()
        if address := _ADDRESS.match(name):
            key = name[address.end() :]
            found = self.find(key)
            alike = self._by_name.get(posixpath.basename(key), [])
            return alike[0] if found not in self.images and len(alike) == 1 else found
        for base in (self.folder, "", *(posixpath.join(self.folder, usual) for usual in USUAL_FOLDERS)):
            path = posixpath.normpath(posixpath.join(base, name)) if name else ""
            if path in self.images:
                return path
        beside = posixpath.join(self.folder, name.rpartition("/")[2])
        return beside if self.folder and beside in self.images else written.strip()


def image_folder(layout: Layout, file: str) -> str:
    """Return the folder of the images of an annotation file, relative to the data set.

    It is the file's own folder if there are images in it, or else the one folder that has the split's name, or else the
    whole data set.
    """
    own = posixpath.dirname(file)
    if own in layout.image_folders:
        return own
    named = layout.folders_of_splits.get(split_of(file), [])
    return named[0] if len(named) == 1 else ""


def splits_of_files(layout: Layout, images: Mapping[str, Iterable[LabeledImage]]) -> list[LabeledSplit]:
    """Return the splits of annotation files: file -> its images, whose names are relative to the data set."""
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for file, listed in images.items():
        by_split[split_of(file)] += listed
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    return [
        LabeledSplit(split, layout.root, by_split[split], DefectLog(), lists_all=True) for split in in_order(by_split)
    ]
