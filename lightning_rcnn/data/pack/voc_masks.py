"""Masks of the objects of Pascal VOC: `SegmentationObject/NAME.png`, where pixel value i is the i-th object of the XML.

255 is the border between objects, which belongs to none. VOC has masks for a part of its images only, those in the
lists of `ImageSets/Segmentation`; masks are read if every image of a split has one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.folder_listing import list_files
from lightning_rcnn.data.formats.labeled import LabelsError
from lightning_rcnn.data.formats.mask_pixels import read_pixels
from lightning_rcnn.data.pack.annotated import AnnotatedObject
from lightning_rcnn.data.pack.voc_xml import OBJECT_IDS_PER_IMAGE
from lightning_rcnn.masks.run_length import encode_crop

FOLDER = "SegmentationObject"


def mask_files(root: Path, names: Sequence[str]) -> tuple[dict[str, Path], list[Finding]]:
    """Return the mask of each image; none unless all have one.

    Args:
        root: folder of the data set.
        names: names of the images, without suffix.

    Returns:
        Name -> path; and a finding if some of the images have masks, which are not used.
    """
    folder = root / FOLDER
    files = set(list_files(folder)) if folder.is_dir() else set()
    found = {name: folder / f"{name}.png" for name in names if f"{name}.png" in files}
    if 0 < len(found) < len(names):
        return {}, [Finding(Defect.UNUSED_MASKS, f"{FOLDER}: {len(found)} of {len(names)} images")]
    return found, []


def add_masks(
    objects: Sequence[AnnotatedObject], path: Path, image_id: int
) -> tuple[list[AnnotatedObject], list[Finding]]:
    """Return objects of an XML file with their masks, and findings.

    Args:
        objects: objects of the image, whose ids state their numbers.
        path: path of the mask.
        image_id: id of the image.
    """
    try:
        pixels = read_pixels(path)
    except LabelsError as error:
        return list(objects), [Finding(Defect.BAD_MASK, f"{FOLDER}/{error}")] * len(objects)
    height, width = pixels.shape
    masked = []
    for annotated in objects:
        mask = pixels == annotated.id - image_id * OBJECT_IDS_PER_IMAGE
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            top, left = int(rows[0]), int(columns[0])
            crop = mask[top : rows[-1] + 1, left : columns[-1] + 1]
            annotated = annotated._replace(segmentation=encode_crop(crop, top, left, height, width))
        masked.append(annotated)
    return masked, []
