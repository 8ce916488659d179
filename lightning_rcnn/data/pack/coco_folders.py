"""List the COCO files in a folder, or one of them: their splits, and the folders of their images."""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

from lightning_rcnn.data.defects import DefectLog
from lightning_rcnn.data.formats.annotation_files import USUAL_FOLDERS, image_folder
from lightning_rcnn.data.formats.coco.categories import read_classes
from lightning_rcnn.data.formats.coco.json_files import load_annotations
from lightning_rcnn.data.formats.layout import Layout, require_memory
from lightning_rcnn.data.formats.splits import in_order, split_of
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.errors import InputError


def coco_sources(
    layout: Layout, name: Literal["coco", "lvis"] = "coco", classes: Sequence[str] | None = None
) -> tuple[str, dict[str, Source]]:
    """List the splits of a COCO or LVIS data set.

    Splits whose files list other categories get those of all files, so that they can be used together.

    Args:
        layout: folder of the data set, or one JSON file with its images beside it.
        name: which of the two formats. LVIS's images of each split may be in any of COCO's folders.
        classes: names of the classes; by default the categories of the files in the order of their ids.

    Returns:
        The files by which it was read, for messages; and split -> source, one without a name if the set is not split.

    Raises:
        InputError: there are none, several describe one split, or one cannot be read.
    """
    by_split: defaultdict[str, list[str]] = defaultdict(list)
    kinds = {file: layout.json_kind(file) for file in layout.with_suffix(".json")}
    wanted = [name] if name in kinds.values() else ["coco", "lvis"]
    for file, kind in kinds.items():
        if kind in wanted:
            by_split[split_of(file)].append(file)
    if not by_split:
        raise InputError(f"{layout.path}: no COCO file, with images, annotations and categories")
    files = {split: _choose(layout, by_split[split]) for split in in_order(by_split)}
    if len(files) > 1 and "" in files:
        files["other"] = files.pop("")
    for file in files.values():
        require_memory(layout.root / file)
    if classes is None and len(files) > 1:
        classes = _common_classes(layout, list(files.values()))
    sources = {
        split: coco_source(
            layout.root if name == "lvis" else layout.root / _image_folder(layout, file),
            layout.root / file,
            classes=classes,
        )
        for split, file in files.items()
    }
    return ", ".join(files.values()), sources


def _image_folder(layout: Layout, file: str) -> str:
    """Return the folder to which most of the first names in a file lead.

    Of several the split's own counts, then the whole set, then the one that is called like a folder of images. If other
    folders have the same names, such as one of previews, it is the split's folder, in which such names are ambiguous.
    """
    split_folder = image_folder(layout, file)
    names = re.findall(r'"file_name"\s*:\s*"([^"\\]+)"', layout.head(file))[:20]
    ends = tuple({f"/{name}" for name in names})
    fitting = [image for image in layout.images if image.endswith(ends)]
    hits = Counter(image[: -len(end)] for image in fitting for end in ends if image.endswith(end))
    hits[""] = len(layout.image_set.intersection(names))
    most = max(hits.values())
    best = [folder for folder in hits if hits[folder] == most > 0]
    inside = [folder for folder in best if f"{folder}/".startswith(f"{split_folder}/")] if split_folder else []
    usual = [folder for folder in inside or best if posixpath.basename(folder) in USUAL_FOLDERS]
    for preferred in (
        [split_folder] if split_folder in best else [],
        [""] if "" in best else [],
        inside or best,
        usual,
    ):
        if len(preferred) == 1:
            return preferred[0]
    return split_folder


def _choose(layout: Layout, files: Sequence[str]) -> str:
    """Return the one file of a split; COCO's keypoints and others of its parts are beside the instances."""
    instances = [file for file in files if "instances" in file.rpartition("/")[2].lower()]
    chosen = instances if len(instances) == 1 else files
    if len(chosen) > 1:
        commands = "; ".join(f"`lightning-rcnn pack auto {layout.root / file}`" for file in chosen)
        raise InputError(f"{layout.path}: several COCO files of one split; choose one: {commands}")
    return chosen[0]


def _common_classes(layout: Layout, files: Sequence[str]) -> list[str] | None:
    """Return the names of the categories of all files; None if all files have the same."""
    categories = []
    for file in files:
        content = load_annotations(layout.root / file)
        used = {key for each in content["annotations"] if isinstance(key := each.get("category_id"), str | int | float)}
        classes = read_classes(content["categories"], used, layout.root / file, DefectLog(), None)
        categories.append(classes.categories)
    if all(listed == categories[0] for listed in categories):
        return None
    return list(dict.fromkeys(category.name for listed in categories for category in listed))
