"""Objects of whole images, with tiles and views: cut, detect, fuse the views of each tile, merge the tiles.

Masks become run-length encodings one by one, so no array is as large as the image unless an object is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.detectors.inference import Predictor, detect_tensors, least_scores
from lightning_rcnn.detectors.tiles_and_views import TilesAndViews, View
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.class_suppression import Suppression, suppress_across_classes
from lightning_rcnn.functional.tile_merging import WEAK, MergedObject, merge
from lightning_rcnn.functional.tiles import cut
from lightning_rcnn.functional.view_fusion import flip_back, fuse
from lightning_rcnn.masks.paste import PasteRule, dense_masks, paste_as_run_lengths, paste_union
from lightning_rcnn.masks.run_length import decode_crops
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import NO_IMAGE, PADDING_LABEL, Batch, Detections, FoundObjects

_BATCHES_AT_ONCE = 4
_NOTHING = FoundObjects(torch.zeros((0, 4)), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


class MaskPredictor(Predictor, Protocol):
    """Interface of a detector whose masks can be pasted."""

    mask_paste: PasteRule
    skeleton: Skeleton | None

    @property
    def suppression(self) -> Suppression:
        """The detector's own non-maximum suppression."""


class EvaluatedPredictor(MaskPredictor, Protocol):
    """Interface of a detector that is evaluated."""

    evaluation: Evaluation
    tiles_and_views: TilesAndViews


def detect_objects(
    detector: MaskPredictor,
    images: Sequence[Tensor],
    threshold: float | Sequence[float] = 0.5,
    batch_size: int = 1,
    options: TilesAndViews = TilesAndViews(),
) -> list[FoundObjects]:
    """Find objects in tensors [C, h, w] of any sizes, of the detector's pixel format.

    Args:
        detector: the detector; its mode is restored.
        images: the images.
        threshold, batch_size: as in `detect_tensors`; a batch of tiles has tiles of one image.
        options: tiles and views.

    Raises:
        InputError: see `detect_tensors`; or there are tiles or views, and the detector predicts keypoints.
    """
    if options.is_plain:
        found = detect_tensors(detector, images, threshold, batch_size)
        if options.nms_across_classes:
            found = suppress_across_classes(found, detector.suppression.iou)
        return [
            found_objects(detections, image.shape[1], image.shape[2], detector.mask_paste)
            for image, detections in zip(images, found, strict=True)
        ]
    if detector.skeleton is not None:
        raise InputError(
            f"{type(detector).__name__}: keypoints of tiles and views are not merged; leave out tile and tta"
        )
    minimum = least_scores(threshold, detector.class_names)
    return [_detect_tiled(detector, image, minimum, batch_size, options) for image in images]


def found_objects(detections: Detections, height: int, width: int, paste: PasteRule) -> FoundObjects:
    """Bring the detections of one image (N = 1) without padding to the host, and paste their masks.

    Args:
        detections: in the frame of the image.
        height, width: size of the image, pixels.
        paste: rule that pastes masks.
    """
    boxes = detections.boxes[0].float().cpu()
    masks = detections.masks
    return FoundObjects(
        boxes,
        detections.scores[0].float().cpu(),
        detections.labels[0].cpu(),
        None if masks is None else paste_as_run_lengths(masks[0], boxes, height, width, paste),
        None if detections.keypoints is None else detections.keypoints[0].float().cpu(),
    )


def as_tensors(objects: FoundObjects, height: int, width: int) -> dict[str, Tensor]:
    """Return the objects of one image by name, with dense masks bool [D, height, width], as `Detector.detect`.

    Raises:
        InputError: see `dense_masks`.
    """
    entry = {"boxes": objects.boxes, "scores": objects.scores, "labels": objects.labels}
    if objects.masks is None:
        return entry
    return {**entry, "masks": dense_masks(decode_crops(objects.masks), len(objects.masks), height, width)}


def evaluate_whole_images(detector: EvaluatedPredictor, batch: Batch) -> Detections:
    """Detect in a batch of images in their own size, with the detector's tiles and views, and update its metrics.

    Neither proposals nor losses are computed: they belong to the network's own input.

    Returns:
        The detections, padded, without masks: those are of the images' sizes.
    """
    found = []
    for slot, record in enumerate(batch.records):
        height, width = batch.image_sizes[slot].tolist()
        image = batch.images[slot, :, :height, :width]
        if record.image_id == NO_IMAGE:
            found.append(_NOTHING)
            continue
        (objects,) = detect_objects(detector, [image], 0.0, len(batch.records), detector.tiles_and_views)
        detector.evaluation.add_objects(objects, record)
        found.append(objects)
    return Detections(
        pad_sequence([objects.boxes for objects in found], batch_first=True),
        pad_sequence([objects.scores for objects in found], batch_first=True),
        pad_sequence([objects.labels for objects in found], batch_first=True, padding_value=PADDING_LABEL),
    )


def _detect_tiled(
    detector: MaskPredictor, image: Tensor, minimum: Tensor, batch_size: int, options: TilesAndViews
) -> FoundObjects:
    height, width = image.shape[1:]
    suppression = detector.suppression
    is_across = options.nms_across_classes or suppression.across_classes
    if options.tile is None or (height <= options.tile and width <= options.tile):
        # A score is a mean over views: a view may be below the threshold of the mean, but its rest cannot lift it far.
        found = _detect_views(detector, [image], 0.0, minimum, batch_size, options.views)
        (detections,) = suppress_across_classes(found, suppression.iou) if is_across else found
        return found_objects(detections, height, width, detector.mask_paste)
    tiles = cut(height, width, options.tile, options.overlap)
    regions = [image[:, t.top : t.top + t.height, t.left : t.left + t.width] for t in tiles]
    # Parts of an object that tiles cut have lower scores than the object. Across classes with thresholds of their own,
    # a part below its threshold would suppress what is above that of its class, and then be dropped itself.
    has_own = is_across and bool((minimum[1:] != minimum[1]).any())
    weakest = minimum if has_own else minimum * WEAK
    lowest = 0.0 if len(options.views) > 1 else float(minimum[1:].min()) * WEAK
    pieces = _detect_views(detector, regions, lowest, weakest, batch_size, options.views)
    if is_across:
        pieces = suppress_across_classes(pieces, suppression.iou)
    boxes = torch.cat(
        [
            piece.boxes[0].float().cpu() + torch.tensor([t.left, t.top, t.left, t.top])
            for piece, t in zip(pieces, tiles, strict=True)
        ]
    )
    scores, labels = (torch.cat([getattr(piece, name)[0].cpu() for piece in pieces]) for name in ("scores", "labels"))
    tile_of = np.repeat(np.arange(len(tiles)), [piece.boxes.shape[1] for piece in pieces])
    groups = torch.zeros_like(labels) if is_across else labels
    found_boxes, found_scores = boxes.double().numpy(), scores.double().numpy()
    merged = merge(found_boxes, found_scores, labels.numpy(), groups.numpy(), tile_of, tiles, height, width)
    kept = [one for one in merged if one.score >= minimum[one.label]]
    masks = None
    if pieces[0].masks is not None:
        grids = torch.cat([piece.masks[0].float().cpu() for piece in pieces if piece.masks is not None])
        masks = [paste_union(grids[list(p)], boxes[list(p)], height, width, detector.mask_paste) for p in _parts(kept)]
    return FoundObjects(
        torch.tensor([one.box for one in kept]).reshape(-1, 4),
        torch.tensor([one.score for one in kept]),
        torch.tensor([one.label for one in kept], dtype=torch.int64),
        masks,
    )


def _parts(objects: Sequence[MergedObject]) -> list[tuple[int, ...]]:
    return [one.parts for one in objects]


def _above(detections: Detections, minimum: Tensor) -> Detections:
    """Keep the detections (N = 1) with at least the minimum score of their label."""
    is_kept = detections.scores[0] >= minimum.to(detections.scores)[detections.labels[0]]
    kept = [None if values is None else values[:, is_kept] for values in detections]
    return Detections(*kept)  # type: ignore[arg-type]


def _detect_views(
    detector: Predictor,
    regions: Sequence[Tensor],
    threshold: float,
    minimum: Tensor,
    batch_size: int,
    views: Sequence[View],
) -> list[Detections]:
    """Detect in all views of each region, and fuse them; some batches at a time, since each view has its masks.

    Args:
        detector: the detector.
        regions: images or tiles.
        threshold: minimum score in a view.
        minimum: minimum score of each label in all views together, see `least_scores`.
        batch_size: number of regions in a pass of the network.
        views: the views.
    """
    results = []
    step = _BATCHES_AT_ONCE * batch_size
    for first in range(0, len(regions), step):
        some = regions[first : first + step]
        by_view = [_detect_view(detector, some, threshold, batch_size, view) for view in views]
        fused = by_view[0] if len(views) == 1 else [fuse(found) for found in zip(*by_view, strict=True)]
        results += [_above(found, minimum) for found in fused]
    return results


def _detect_view(
    detector: Predictor, regions: Sequence[Tensor], threshold: float, batch_size: int, view: View
) -> list[Detections]:
    rule = detector.preprocessing.resize_rule
    sizes = {name: max(1, round(getattr(rule, name) * view.scale)) for name in ("min_size", "max_size")}
    scaled = replace(rule, **sizes)
    seen = [region.flip(view.flips) for region in regions] if view.flips else regions
    found = detect_tensors(detector, seen, threshold, batch_size, lambda region: scaled(region.cpu()))
    if not view.flips:
        return found
    return [
        flip_back(one, region.shape[1], region.shape[2], view.flips) for one, region in zip(found, regions, strict=True)
    ]
