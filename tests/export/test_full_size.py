"""Detectors of full size on photos, in three shapes, alone and four together: files find what their detector finds.

Weights are random and fitted to photos (see `fitted_layers.py`). Torchvision's detectors are its own, converted.

A program of torch computes what its detector does, to the bit. Where an ONNX file differs by more than the limits, the
same detector in float64 tells how much float32 rounds with these weights: the file may differ by twice as much, from
its detector and from float64. A detection that only one side has must lie in a chain of suppressions that begins with a
tie: of two boxes with equal scores but for rounding, either may suppress the other.
"""

import copy
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torchvision.models.detection as torchvision_detection
from torchvision.ops import box_iou

from lightning_rcnn import FasterRCNN, FastRCNN, MaskRCNN
from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.cli.commands.convert import convert
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.export.check import graph_inputs
from lightning_rcnn.export.exporting import FORMATS
from lightning_rcnn.export.graph import ExportGraph
from lightning_rcnn.export.metadata import describe
from lightning_rcnn.export.program import trace
from lightning_rcnn.masks.paste import paste_densely
from lightning_rcnn.parts import part
from tests.export.fitted_layers import fit_layers

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "tiny_coco" / "val2017"
UPRIGHT = ["000000006818", "000000122745", "000000322864", "000000331352"]
LYING = ["000000017627", "000000085329", "000000087038", "000000174482"]
OTHERS = ["000000058636", "000000153299"]
BATCHES = [*([name] for name in UPRIGHT + LYING + OTHERS), UPRIGHT, LYING, [*OTHERS, UPRIGHT[0], LYING[0]]]
FITTED = [*OTHERS, UPRIGHT[1], LYING[0]]
CLASSES = [f"class {number}" for number in range(1, 81)]

FOUND = 20
"""Objects in an image at least."""
ROUNDING = (1e-2, 1e-5)
"""Differences of boxes (pixels of the network's input) and scores up to which an ONNX file equals its detector."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.realdata,
    pytest.mark.skipif(not PHOTOS.is_dir(), reason="no shared/data/tiny_coco beside the checkout"),
]

SIZES = {"min_size": 320, "max_size": 544}
DETECTRON2 = {
    "rpn": {
        "anchors": {"order": "size_major"},
        "pre_nms_top_n": [2000, 1000],
        "post_nms_top_n": [1000, 1000],
        "min_size": 0.0,
    },
    "pooler": {"sampling_ratio": 0, "aligned": True, "level_rule": "detectron2"},
    "box": {"min_size": 0.0},
    "preprocessing": {
        **SIZES,
        "channel_order": "bgr",
        "pixel_range": 255.0,
        "pixel_mean": [103.53, 116.28, 123.675],
        "pixel_std": [1.0, 1.0, 1.0],
    },
}
ONE_MAP = {**DETECTRON2, "rpn": {**DETECTRON2["rpn"], "pre_nms_top_n": [12000, 6000], "post_nms_top_n": [2000, 300]}}
RESNET50 = {"name": "resnet50", "norm": "frozen_batch_norm", "stride_in_1x1": True}
OURS = {
    "faster_r18_fpn": (FasterRCNN, {"backbone": part(ResNetFPN, name="resnet18"), "preprocessing": SIZES}),
    "mask_r18_fpn": (MaskRCNN, {"backbone": part(ResNetFPN, name="resnet18"), "preprocessing": SIZES}),
    "mask_r50_fpn_detectron2": (MaskRCNN, {"backbone": part(ResNetFPN, **RESNET50), **DETECTRON2}),
    "mask_r50_c4_detectron2": (MaskRCNN, {"backbone": part(ResNetC4, **RESNET50), **ONE_MAP}),
    "faster_r50_dc5_detectron2": (FasterRCNN, {"backbone": part(ResNetDC5, **RESNET50), **DETECTRON2}),
    "fast_vgg16": (FastRCNN, {"backbone": part(PlainBackbone, name="vgg16"), "preprocessing": SIZES}),
}
TORCHVISION = [
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
]


def photos(names):
    return [decode_image((PHOTOS / f"{name}.jpg").read_bytes(), apply_exif=True) for name in names]


def own_detector(kind):
    detector_class, settings = OURS[kind]
    detector = detector_class(CLASSES, **settings).eval()
    inputs = inputs_of(detector, FITTED)
    fit_layers(detector, lambda: ExportGraph(detector)(*inputs))
    return detector


def converted_detector(name, folder):
    theirs = getattr(torchvision_detection, name)(weights=None, weights_backbone=None, **SIZES).eval()
    fit_layers(theirs, lambda: theirs([photo / 255 for photo in photos(FITTED)]))
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    sizes = [f"preprocessing.{name}={value}" for name, value in SIZES.items()]
    convert(str(folder / "theirs.pth"), out=folder / "ours.ckpt", set=sizes)
    return load_detector(folder / "ours.ckpt")


def inputs_of(detector, names):
    images = photos(names)
    if detector.search is None:
        return graph_inputs(detector, images)
    # Random regions instead of a search, which takes seconds an image.
    search, detector.search = detector.search, None
    inputs = graph_inputs(detector, images)
    detector.search = search
    corners = [torch.rand((500, 2, 2)).sort(dim=1).values * torch.tensor(image.shape[:0:-1]) for image in images]
    return *inputs, torch.stack(corners).flatten(2)


class Differences(NamedTuple):
    """Largest differences of one batch.

    Attributes:
        unmatched: detections that only one side has.
        unexplained: those of them without a tie; see `explained`.
        swaps: detections at another rank.
        boxes: pixels of the network's input.
        scores: probability.
        mask_iou: smallest IoU of two masks in the image, without pixels that are at one half but for rounding.
    """

    unmatched: int
    unexplained: int
    swaps: int
    boxes: float
    scores: float
    mask_iou: float

    def is_within(self, boxes, scores):
        return not self.unexplained and self.boxes < boxes and self.scores < scores and self.mask_iou >= 0.999


def compare(expected, found, inputs, detector):
    """Compare two outputs of a graph; print each detection that one of them lacks."""
    rows = []
    for slot in range(len(inputs[0])):
        size, original = inputs[1][slot], inputs[2][slot]
        both = (of_image(outputs, slot) for outputs in (expected, found))
        rows.append(compare_image(*both, original.tolist(), (size / original).min().item(), detector))
    unmatched, unexplained, swaps, boxes, scores, mask_ious = zip(*rows, strict=True)
    return Differences(sum(unmatched), sum(unexplained), sum(swaps), max(boxes), max(scores), min(mask_ious))


def of_image(outputs, slot):
    return {name: values[slot, : outputs["count"][slot]] for name, values in outputs.items() if name != "count"}


def compare_image(expected, found, size, scale, detector):
    free = set(range(len(found["labels"])))
    partners = []
    for box, label in zip(expected["boxes"], expected["labels"], strict=True):
        distances = (found["boxes"] - box).abs().amax(dim=1) * scale
        of_class = [other for other in free if found["labels"][other] == label and distances[other] < 1]
        partners.append(min(of_class, key=distances.__getitem__, default=None))
        free.discard(partners[-1])
    pairs = [(own, other) for own, other in enumerate(partners) if other is not None]
    missing = [own for own, other in enumerate(partners) if other is None]
    own, others = (torch.tensor([pair[side] for pair in pairs], dtype=torch.int64) for side in (0, 1))
    boxes = (expected["boxes"][own] - found["boxes"][others]).abs().max().item() * scale
    scores = (expected["scores"][own] - found["scores"][others]).abs().max().item()
    rivals = (pick(expected, missing), pick(found, sorted(free)))
    lasts = [one["scores"][-1].item() for one in (expected, found)]
    unexplained = [*explain(*rivals, lasts[1], scores, detector), *explain(*rivals[::-1], lasts[0], scores, detector)]
    for line in unexplained:
        print("   ", line)
    mask_iou = 1.0
    if "masks" in expected:
        where = expected["boxes"][own].float()  # the rules of whole pixels move a mask by one where a box moves by 1e-4
        masks, others_masks, lower, higher = (
            paste_densely(values, where, *size, detector.mask_paste)
            for values in (
                expected["masks"][own].float(),
                found["masks"][others].float(),
                expected["masks"][own].float() - ROUNDING[1],
                expected["masks"][own].float() + ROUNDING[1],
            )
        )
        is_clear = lower == higher  # at one half but for rounding, a pixel may lie on either side
        union, common = ((masks | others_masks) & is_clear).sum((1, 2)), (masks & others_masks & is_clear).sum((1, 2))
        mask_iou = torch.where(union > 0, common / union.clamp(min=1), 1.0).min().item()
    swaps = int((own != others).sum())
    return Differences(len(missing) + len(free), len(unexplained), swaps, boxes, scores, mask_iou)


def pick(detections, indices):
    return {name: values[torch.tensor(indices, dtype=torch.int64)] for name, values in detections.items()}


def explain(alone, rivals, last, rounding, detector):
    """Yield a line about each detection that no rival, which only the other side has, may have suppressed there.

    Args:
        alone: detections that only one side has.
        rivals: those that only the other side has.
        last: lowest score of the other side, below which it may have been cut off.
        rounding: difference of scores up to which they are tied.
    """
    ties = max(rounding, 1e-6)
    ious = box_iou(alone["boxes"].double(), rivals["boxes"].double())
    is_rival = (ious > detector.suppression.iou - 1e-4) & (alone["labels"][:, None] == rivals["labels"])
    is_rival &= rivals["scores"] >= alone["scores"][:, None] - ties
    for score, may_be_suppressed in zip(alone["scores"].tolist(), is_rival.any(dim=1).tolist(), strict=True):
        if not may_be_suppressed and score > last + ties and score > detector.box.settings.score_threshold + ties:
            yield f"without a rival: score {score:.7f}, the other side ends at {last:.7f}"


@pytest.mark.parametrize("kind", [*OURS, *TORCHVISION])
def test_files_of_full_size_find_what_their_detector_finds(tmp_path, kind):
    torch.manual_seed(0)
    detector = own_detector(kind) if kind in OURS else converted_detector(kind, tmp_path)
    exact = ExportGraph(copy.deepcopy(detector).double())
    runs = {format: opened(format, detector, tmp_path / "file") for format in ("pt2", "onnx")}
    wrong, rounding = [], (0.0, 0.0)
    for batch in BATCHES:
        inputs = inputs_of(detector, batch)
        with torch.inference_mode():
            expected = ExportGraph(detector)(*inputs)
        assert expected["count"].min() >= FOUND
        program = runs["pt2"](inputs)
        assert {name: torch.equal(values, program[name]) for name, values in expected.items()} == dict.fromkeys(
            expected, True
        )
        found = runs["onnx"](inputs)
        shape = (*inputs[0].shape[::2], inputs[0].shape[3])
        differences = compare(expected, found, inputs, detector)
        print(kind, *shape, int(expected["count"].sum()), *differences, flush=True)
        if differences.is_within(*limits(rounding)):
            continue
        with torch.inference_mode():
            float64 = exact(*inputs)
        own, error = (compare(float64, one, inputs, detector) for one in (expected, found))
        print("    from float64: the detector", *own, "the file", *error, flush=True)
        rounding = max(rounding[0], own.boxes), max(rounding[1], own.scores)
        if not all(one.is_within(*limits(rounding)) for one in (differences, error)):
            wrong.append((*shape, differences, own, error))
    assert not wrong


def opened(format, detector, path):
    with path.open("wb") as file:  # not by `export`, which refuses what is to be looked at here
        FORMATS[format].write(trace(detector, FORMATS[format].operators), describe(detector), file)
    return FORMATS[format].open(path)[0]


def limits(rounding):
    return [max(limit, 2 * one) for limit, one in zip(ROUNDING, rounding, strict=True)]
