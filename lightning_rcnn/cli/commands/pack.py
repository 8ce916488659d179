"""`lightning-rcnn pack voc|coco|shapes`: data sets to WebDataset shards with an index."""

from dataclasses import replace
from pathlib import Path

from lightning_rcnn.cli.commands.pack_options import PackOptions, pack_command
from lightning_rcnn.cli.commands.packing import chosen_names, pack_found
from lightning_rcnn.data.pack.any_format import TITLES, FoundData, describe, found_voc, found_voc_split, set_name
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.division import is_shares
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.voc_coordinates import CoordinatesChoice


@pack_command
def pack_voc(
    root: Path,
    out: Path,
    split: str | None = None,
    coordinates: CoordinatesChoice = "auto",
    *,
    options: PackOptions,
) -> None:
    """Pack a Pascal VOC data set, or XML files in its format in any folders.

    Args:
        root: folder that holds Annotations, ImageSets and JPEGImages, such as VOCdevkit/VOC2007; without split any
            folder of XML files and images, which may be side by side or in two folders, with sub-folders.
        out: folder for shards and index, or for OUT/train, OUT/val and so on; it appears when it is whole.
        split: name of a file in ImageSets/Main without suffix, such as trainval, or with its folder, such as
            Segmentation/train, whose images have masks in SegmentationObject; or shares of train, val and perhaps
            test, such as 0.8,0.1,0.1, to divide a set that has no such lists. By default all lists are packed, into
            OUT/train, OUT/val and so on, or the whole set into OUT where there are none.
        coordinates: one_based as VOC counts pixels, zero_based for tools that write edges counted from 0, or auto to
            tell it from the whole set, where edges of 0 or fractions show what counts from 0.
    """
    if split is None or is_shares(split):
        pack_found([found_voc(root, chosen_names(options), coordinates)], [set_name(root)], options)
    else:
        found = found_voc_split(root, split, chosen_names(options), coordinates)
        pack_found([found], [set_name(root)], replace(options, split=None))


@pack_command
def pack_coco(images: Path, annotations: Path, out: Path, *, options: PackOptions) -> None:
    """Pack a COCO data set.

    Args:
        images: folder to which the file names in the JSON are relative.
        annotations: JSON file in COCO's format.
        out: folder for shards and index, or for OUT/train, OUT/val and so on with --split; it appears when it is whole.
        classes: class names, separated by commas, which need not all be in the file; label and id i are those of
            the i-th, objects of other classes are left out. "person;car,truck=vehicle" makes one class of car and
            truck. By default all categories in the order of their ids. Two sets that number their categories
            differently are packed with the same list.
    """
    source = coco_source(images, annotations, classes=chosen_names(options))
    found = FoundData(describe(TITLES["coco"], annotations.name, {"": source}), {"": source})
    pack_found([found], [set_name(annotations)], options)


@pack_command
def pack_shapes(out: Path, num: int, seed: int = 0, keypoints: bool = False, *, options: PackOptions) -> None:
    """Generate scenes of ellipses, rectangles, triangles and stars with boxes and masks, and pack them.

    Args:
        out: folder for shards and index, or for OUT/train, OUT/val and so on with --split; it appears when it is whole.
        num: number of scenes.
        seed: random seed; another seed gives other scenes, and another division into splits.
        keypoints: also pack keypoints: near corners, tips, or the outermost points of ellipses.
        name: name of the data set; by default shapes/seed.
        workers: drawing processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped; generated scenes never have to.
    """
    pack_found([FoundData("", {"": shapes_source(num, seed, keypoints)})], ["shapes"], options)
