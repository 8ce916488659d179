"""List data sets of JSON Lines with an image a line, in the form of one tool."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from lightning_rcnn.data.defects import DefectLog
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.json_lines import first_dictionaries, numbered_dictionaries
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledSplit
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.splits import in_order, split_of
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

Content = Mapping[str, Any]
"""Content of a line."""


_LINES_TO_TRY = 100


def files_of(layout: Layout, suffixes: tuple[str, ...], is_line: Callable[[Content], bool]) -> list[str]:
    """Return the files of which one of the first lines has the form of a tool: images may lack annotations."""
    return [
        file
        for file in layout.with_suffix(*suffixes)
        if any(map(is_line, first_dictionaries(layout, file, _LINES_TO_TRY)))
    ]


def read_image_lines(
    layout: Layout,
    files: list[str],
    read: Callable[[ImageNames, Content], LabeledImage | None],
    split_in: Callable[[Content], str] = lambda _: "",
) -> LabeledData:
    """List the images of all lines.

    Args:
        layout: folder of the data set.
        files: its files of JSON Lines.
        read: function from a line to its image; None if nobody annotated it, which is left out, and named in a note.
        split_in: function from a line to the split that it states; by default the names of files and folders tell it.

    Raises:
        InputError: there is no file, or a line is no dictionary.
    """
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    num_open = 0
    for file in files:
        names = ImageNames(layout, file)
        for _, content in numbered_dictionaries(layout.root / file):
            image = read(names, content)
            if image is None:
                num_open += 1
                continue
            split = split_of(f"{split_in(content)}/-") or split_of(file)
            by_split[split].append(image._replace(stated_in=file))
    if not by_split:
        raise InputError(f"{layout.path}: no file of JSON Lines in this form")
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits = [LabeledSplit(name, layout.root, by_split[name], DefectLog(), True) for name in in_order(by_split)]
    notes = (f"{plural(num_open, 'line')} without annotations, left out",) if num_open else ()
    return LabeledData(", ".join(files), splits, notes=notes)
