"""Masks through the metric: objects as annotated, detections as the mask head leaves them."""

import math

import numpy as np
import pytest
import torch
from pycocotools import mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.structures import Detections

A, B = (10, 10, 50, 50), (100, 100, 160, 160)


def rectangle(x1, y1, x2, y2):
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


@pytest.fixture
def record_with_masks(make_record):
    """An image of 200 x 200 with objects of class 1: (box, segmentation or None, further keys)."""

    def make(*objects):
        record = make_record(1, *((*box, 1) for box, _, _ in objects))
        for annotation, (_, segmentation, keys) in zip(record.annotations, objects, strict=True):
            annotation |= keys if segmentation is None else {"segmentation": segmentation, **keys}
        return record

    return make


def detections(*found, masks=None):
    """Boxes of class 1, best first; whole ones if no masks are given. One slot of padding."""
    boxes = torch.tensor([*found, (0, 0, 0, 0)], dtype=torch.float32)[None]
    labels = torch.tensor([[*[1] * len(found), -1]])
    probabilities = torch.ones(1, len(found) + 1, 28, 28) if masks is None else masks
    return Detections(boxes, torch.linspace(0.9, 0, len(found) + 1)[None], labels, probabilities)


def score(record, found, **options):
    metric = CocoAveragePrecision(["cell"], "segm", **options)
    metric.update(found, [record])
    return metric.compute()


def test_masks_decide_and_not_boxes(record_with_masks):
    """The annotated mask is the left three quarters of its box: a filled box has an IoU of 3/4 with it."""
    record = record_with_masks((A, rectangle(10, 10, 40, 50), {}))
    figures = score(record, detections(A))
    assert (figures["AP"], figures["AP75"]) == (pytest.approx(0.6), pytest.approx(1))
    assert score(record, detections((10, 10, 40, 50)))["AP"] == pytest.approx(1)


def test_polygons_of_several_parts_and_run_lengths_are_alike(record_with_masks):
    parts = [*rectangle(10, 10, 30, 50), *rectangle(30, 10, 50, 50)]
    rle = mask.merge(mask.frPyObjects(parts, 200, 200))
    rle["counts"] = rle["counts"].decode()
    for segmentation in (parts, rle):
        assert score(record_with_masks((A, segmentation, {})), detections(A))["AP"] == pytest.approx(1)


@pytest.mark.parametrize("rule", ["exact", "integer"])
def test_as_with_dense_masks_in_coco_form(record_with_masks, rule):
    """Noisy masks, pasted densely by torchvision and encoded by the COCO API, score as those that are never dense."""
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(20, 2, generator=generator) * 130
    boxes = torch.cat([corners, corners + 20 + torch.rand(20, 2, generator=generator) * 50], dim=1)
    record = record_with_masks(*((box, rectangle(*box), {}) for box in boxes.tolist()))
    circle = (torch.linspace(-1, 1, 28)[:, None] ** 2 + torch.linspace(-1, 1, 28) ** 2 < 1.1).float()
    masks = circle * (0.55 + 0.45 * torch.rand(1, 21, 28, 28, generator=generator))
    found = detections(*boxes.tolist(), masks=masks)
    figures = score(record, found, mask_paste=rule)
    assert 0.3 < figures["AP"] < 0.9

    dense = paste_masks_in_image(masks[0, :20, None], boxes, (200, 200))[:, 0] > 0.5
    metric = CocoAveragePrecision(["cell"], "segm")
    encoded = [mask.encode(np.asfortranarray(one.numpy().astype(np.uint8))) for one in dense]
    results = [
        {"category_id": 1, "score": one, "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}
        for one, rle in zip(found.scores[0, :20].tolist(), encoded, strict=True)
    ]
    annotations = [{"category_id": 1, "iscrowd": 0, **annotation} for annotation in record.annotations]
    metric.add_image(1, 200, 200, annotations, results)
    tolerance = 1e-12 if rule == "integer" else 0.05
    assert figures["AP"] == pytest.approx(metric.compute()["AP"], abs=tolerance)


def test_an_object_without_a_mask_is_neither_missed_nor_are_detections_there_false(record_with_masks):
    record = record_with_masks((A, rectangle(*A), {}), (B, None, {}))
    assert score(record, detections(A))["AP"] == pytest.approx(1)
    assert score(record, detections(B, A))["AP"] == pytest.approx(1)
    figures = score(record_with_masks((B, None, {})), detections(B))
    assert math.isnan(figures["AP"]), "there is nothing to find"
    assert math.isnan(figures["AR100"])


def test_a_crowd_takes_all_detections_inside_it(record_with_masks):
    """Also one without a mask, in its box."""
    for segmentation in (rectangle(*B), None):
        record = record_with_masks((A, rectangle(*A), {}), (B, segmentation, {"iscrowd": 1}))
        parts = [(x, 100, x + 10, 110) for x in (100, 120, 140)]
        assert score(record, detections(*parts, A))["AP"] == pytest.approx(1)


def test_detections_without_masks_cannot_be_scored_by_masks(record_with_masks):
    with pytest.raises(ValueError, match="no masks"):
        score(record_with_masks((A, None, {})), detections(A)._replace(masks=None))
