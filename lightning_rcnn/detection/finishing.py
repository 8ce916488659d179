"""What is done to the detections of one image after the network: masks pasted, image drawn, entry made.

Where masks are pasted or images drawn, it runs in processes of its own: both take longer than a small network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from lightning_rcnn.data.formats.coco.keypoints import result_keypoints
from lightning_rcnn.detection.drawn_paths import DRAWN_KEY
from lightning_rcnn.detection.stills import path_of_long
from lightning_rcnn.detectors.whole_images import found_objects
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_entries import as_xywh
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import Detections, FoundObjects
from lightning_rcnn.visualization import Objects, ShownKeypoints, draw_objects, save_image

_JPEG_SIDE = 65_500
"""Longest side of a JPEG, pixels."""


class Classes(NamedTuple):
    """What finishing needs to know of the detector.

    Attributes:
        names: class names of labels 1..K.
        category_ids: their ids in results.
        mask_paste: rule that pastes masks.
        skeleton: keypoints of the objects; None if the detector predicts none.
        keypoints_drawn_above: score above which a keypoint is drawn.
    """

    names: Sequence[str]
    category_ids: Sequence[int]
    mask_paste: PasteRule
    skeleton: Skeleton | None = None
    keypoints_drawn_above: float = 0.0


class Work(NamedTuple):
    """One image to finish, in a form that travels cheaply between processes.

    Attributes:
        entry: what its line of the results says beside size and objects.
        height, width: size, pixels.
        found: arrays of `Detections` (N = 1), or of `FoundObjects` whose masks are pasted.
        is_pasted: whether they are `FoundObjects`.
        pixels: uint8 RGB [3, h, w] to draw on; None to draw nothing.
        path: file for the drawn image; None to return it.
    """

    entry: dict[str, Any]
    height: int
    width: int
    found: tuple[Any, ...]
    is_pasted: bool
    pixels: np.ndarray | None
    path: Path | None


def as_arrays(found: Detections | FoundObjects) -> tuple[Any, ...]:
    """Turn the tensors of detections into arrays, which are pickled faster."""
    return tuple(
        part.float().cpu().numpy()
        if isinstance(part, torch.Tensor) and part.is_floating_point()
        else part.cpu().numpy()
        if isinstance(part, torch.Tensor)
        else part
        for part in found
    )


def finish(work: Work, classes: Classes) -> tuple[dict[str, Any], Image.Image | None]:
    """Finish one image.

    Returns:
        The entry of the results (see `results.py`), and the drawn image if it is not written to a file.

    Raises:
        InputError: the drawn image cannot be written.
    """
    objects = _objects(work, classes.mask_paste)
    entry = {**work.entry, "width": work.width, "height": work.height, "objects": _entries(objects, classes)}
    if work.pixels is None:
        return entry, None
    keypoints = None
    if objects.keypoints is not None and classes.skeleton is not None:
        is_shown = objects.keypoints[..., 2] > classes.keypoints_drawn_above
        keypoints = ShownKeypoints(objects.keypoints[..., :2], is_shown, classes.skeleton.edges)
    drawn = Objects(objects.boxes, objects.labels, objects.scores, masks=objects.masks, keypoints=keypoints)
    picture = draw_objects(torch.from_numpy(work.pixels), drawn, classes.names)
    if work.path is None:
        return entry, picture
    path = work.path
    if max(picture.size) > _JPEG_SIDE:
        path = path_of_long(path)
        entry[DRAWN_KEY] = path_of_long(Path(entry[DRAWN_KEY])).as_posix()
    try:
        save_image(picture, path)
    except OSError as error:
        raise InputError(cannot_write(path, error)) from error
    return entry, None


def cannot_write(path: Path, error: OSError) -> str:
    """Return the message about a file that cannot be written."""
    return (
        f"{path}: cannot be written ({error.strerror or error}); make room, and the same command goes on where it "
        "stopped"
    )


def process_died(status: str = "") -> str:
    """Return the message about a process that was lost."""
    return (
        f"a process died{status}, perhaps for memory; the same command goes on where it stopped, with a smaller "
        "--batch_size or fewer --workers if need be"
    )


def _objects(work: Work, rule: PasteRule) -> FoundObjects:
    boxes, scores, labels = (torch.from_numpy(values) for values in work.found[:3])
    masks, keypoints = work.found[3], None if work.found[4] is None else torch.from_numpy(work.found[4])
    if work.is_pasted:
        return FoundObjects(boxes, scores, labels, masks, keypoints)
    grids = None if masks is None else torch.from_numpy(masks)
    return found_objects(Detections(boxes, scores, labels, grids, keypoints), work.height, work.width, rule)


def _entries(objects: FoundObjects, classes: Classes) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {
            "category_id": classes.category_ids[label - 1],
            "class": classes.names[label - 1],
            "bbox": [round(value, 3) for value in as_xywh(box)],
            "score": round(score, 6),
        }
        for box, label, score in zip(
            objects.boxes.tolist(), objects.labels.tolist(), objects.scores.tolist(), strict=True
        )
    ]
    if objects.keypoints is not None:
        points = objects.keypoints.tolist()
        entries = [{**entry, "keypoints": result_keypoints(own)} for entry, own in zip(entries, points, strict=True)]
    if objects.masks is None:
        return entries
    return [{**entry, "segmentation": mask} for entry, mask in zip(entries, objects.masks, strict=True)]
