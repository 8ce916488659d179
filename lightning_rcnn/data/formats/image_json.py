"""List data sets with a JSON file for each image, in any folders."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.labeled import LabeledImage, LabeledSplit
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.errors import InputError


class ImageFiles(NamedTuple):
    """The splits of such a data set, which their folders name, and the number of its files."""

    splits: list[LabeledSplit]
    number: int


def read_image_files(layout: Layout, read: Callable[[str, Any], LabeledImage | None]) -> ImageFiles:
    """List the images of all JSON files.

    Args:
        layout: folder of the data set.
        read: function from a file, relative to the data set, and its content to its image; None for JSON of others.
    """
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    logs: defaultdict[str, DefectLog] = defaultdict(DefectLog)
    lost: defaultdict[str, int] = defaultdict(int)
    for file in layout.with_suffix(".json"):
        split = split_of_folder(file)
        try:
            content = read_json(layout.root / file)
        except InputError as error:
            logs[split].add([Finding(Defect.MALFORMED_LABELS, str(error))])
            lost[split] += 1
            continue
        if (image := read(file, content)) is not None:
            by_split[split].append(image)
    number = sum(map(len, by_split.values()))
    names = in_order([*by_split, *lost])
    splits = [
        LabeledSplit(
            name or ("other" if len(names) > 1 else ""), layout.root, by_split[name], logs[name], True, lost[name]
        )
        for name in names
    ]
    return ImageFiles(splits, number)
