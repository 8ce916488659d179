"""Detectors, backbones and conventions through each format; the export itself compares the file with its detector."""

import pytest
import torch

from lightning_rcnn import (
    CascadeMaskRCNN,
    CascadeRCNN,
    FasterRCNN,
    FastRCNN,
    KeypointRCNN,
    MaskRCNN,
    PointRend,
    Skeleton,
)
from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.export.check import draw_scenes
from lightning_rcnn.parts import part
from lightning_rcnn.roi_heads.box_head import ConvolutionalHead

RPN = {"pre_nms_top_n": [100, 100], "post_nms_top_n": [50, 50]}
SIZES = {"min_size": 96, "max_size": 160}
HEAD = {"head": {"width": 64}}
FPN = part(ResNetFPN, name="resnet18", channels=32)
TORCHVISION = {
    "rpn": {**RPN, "anchors": {"rounding": "rounded", "stride": "image_ratio"}, "ranking": "probability"},
    "preprocessing": {**SIZES, "resize": "bilinear"},
}
BYTES = {**SIZES, "channel_order": "bgr", "pixel_range": 255, "size_divisor": 1}
DETECTRON2 = {
    "rpn": {**RPN, "anchors": {"order": "size_major"}, "min_size": 0},
    "pooler": {"sampling_ratio": 0, "aligned": True, "level_rule": "detectron2"},
    "preprocessing": BYTES,
}
PLAIN = {"preprocessing": SIZES, "box": HEAD, "proposals": {"limit": 60}}

KINDS = {
    "faster_fpn": (FasterRCNN, {"backbone": FPN, "box": HEAD, "rpn": RPN, "preprocessing": SIZES}),
    "faster_fpn_torchvision": (FasterRCNN, {"backbone": FPN, "box": HEAD, **TORCHVISION}),
    "faster_fpn_torchvision_v2": (
        FasterRCNN,
        {
            "backbone": part(ResNetFPN, name="resnet50", channels=32, fpn_norm="batch_norm"),
            "box": {"head": part(ConvolutionalHead, channels=16, width=64, norm="batch_norm")},
            "rpn": {**TORCHVISION["rpn"], "num_layers": 2},
            "preprocessing": TORCHVISION["preprocessing"],
        },
    ),
    "faster_soft_nms": (
        FasterRCNN,
        {"backbone": FPN, "box": {**HEAD, "nms": "soft", "detections_per_image": 10}, "rpn": RPN},
    ),
    "mask_fpn_detectron2": (
        MaskRCNN,
        {"backbone": FPN, "box": {**HEAD, "min_size": 0}, "mask": {"width": 16}, **DETECTRON2},
    ),
    "faster_fpn_pool": (FasterRCNN, {"backbone": FPN, "box": HEAD, "rpn": RPN, "pooler": {"operator": "pool"}}),
    "mask_c4": (MaskRCNN, {"backbone": part(ResNetC4, name="resnet50"), "mask": {"width": 16}, **DETECTRON2}),
    "keypoint_fpn": (
        KeypointRCNN,
        {
            "backbone": FPN,
            "box": HEAD,
            "rpn": RPN,
            "keypoint": {"width": 16, "num_layers": 2},
            "skeleton": Skeleton(("a", "b", "c")),
        },
    ),
    "cascade_fpn": (CascadeRCNN, {"backbone": FPN, "box": HEAD, "rpn": RPN}),
    "cascade_mask_fpn": (CascadeMaskRCNN, {"backbone": FPN, "box": HEAD, "rpn": RPN, "mask": {"width": 16}}),
    "point_rend_fpn": (PointRend, {"backbone": FPN, "box": {**HEAD, "detections_per_image": 20}, "rpn": RPN}),
    "faster_dc5": (FasterRCNN, {"backbone": part(ResNetDC5, name="resnet50"), "box": HEAD, **DETECTRON2}),
    "fast_alexnet": (FastRCNN, {"backbone": part(PlainBackbone, name="alexnet"), **PLAIN}),
    "fast_vgg16": (FastRCNN, {"backbone": part(PlainBackbone, name="vgg16"), **PLAIN}),
}


def _fit_to_bytes(detector):
    """Make random weights like trained ones for pixels of 0 to 255: no score is certain, no box leaves the image."""
    with torch.no_grad():
        detector.backbone.body.conv1.weight.div_(57.0)
        for name, weight in detector.named_parameters():
            if name.startswith(("box.predictor", "rpn.head.deltas")):
                weight.mul_(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pt2", "onnx"])
@pytest.mark.parametrize("kind", KINDS)
def test_files_have_the_detections_of_their_detector(tmp_path, kind, format):
    detector_class, settings = KINDS[kind]
    torch.manual_seed(0)
    detector = detector_class(["circle", "square", "triangle"], **{"preprocessing": SIZES, **settings}).eval()
    if settings.get("preprocessing") == BYTES:
        _fit_to_bytes(detector)
    images = [image[:, ::3, ::3] for image in draw_scenes()]
    rows = detector.export(tmp_path / "detector", format, images=images, half=kind == "fast_alexnet")
    assert len(rows) == 5
    boxes, scores = (1e-4, 1e-6) if format == "pt2" else (1e-2, 1e-5)
    assert all(row.detections >= 5 for row in rows[:-1])
    for row in rows:
        assert row.unmatched == 0
        assert row.boxes < boxes
        assert max(row.scores, row.masks) < scores
        assert row.keypoints < 0.05
