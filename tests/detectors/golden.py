"""Seeded losses, gradients and detections of small detectors of every kind, on noise.

`python -m tests.detectors.golden FILE` writes them all as JSON, floats in hexadecimal, so that two commits can be
compared to the bit on one machine. `--pin` instead of the file writes a part of them, rounded, to `golden.json`, with
which `test_golden_values.py` compares; a commit that does so says why the numbers had to change.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge
from lightning_rcnn.roi_heads.box_head import ConvolutionalHead
from lightning_rcnn.structures import Batch, Bitmaps, ImageRecord, Polygons, Proposals, Targets

CLASSES = ["circle", "square", "triangle"]
SIZES = ((64, 96), (96, 64), (128, 160))

_SMALL: dict[str, Any] = {
    "class_names": CLASSES,
    "box": {"head": {"width": 64}, "samples_per_image": 32, "crowd_ioa": 0.7},
    "rpn": {"pre_nms_top_n": (100, 100), "post_nms_top_n": (50, 50), "crowd_ioa": 0.7},
    "preprocessing": {"min_size": 64, "max_size": 96},
}
_MASKS: dict[str, Any] = _SMALL | {"mask": {"width": 16}}
_ON_PROPOSALS: dict[str, Any] = {
    "class_names": CLASSES,
    "box": {"head": {"width": 32, "dropout": 0.0}, "crowd_ioa": 0.7},
    "preprocessing": {"min_size": 64, "max_size": 96},
}
_RCNN: dict[str, Any] = {
    "class_names": CLASSES,
    "regions": {"size": 63, "context": 4, "head": {"width": 32, "dropout": 0.0}},
    "preprocessing": {"min_size": 64, "max_size": 96},
}
_DETECTRON2: dict[str, Any] = {
    "rpn": {
        "anchors": {"order": "size_major"},
        "loss_denominator": "fixed",
        "box_loss": {"beta": 0.0},
        "min_size": 0.0,
    },
    "box": {"box_loss": {"beta": 0.0}, "min_size": 0.0},
    "pooler": {"sampling_ratio": 0, "aligned": True, "level_rule": "detectron2"},
    "preprocessing": {"channel_order": "bgr", "pixel_range": 255.0},
    "mask": {"target": "polygon"},
}
_TORCHVISION: dict[str, Any] = {
    "rpn": {"anchors": {"rounding": "rounded", "stride": "image_ratio"}, "ranking": "probability"},
    "preprocessing": {"resize": "bilinear", "memory_format": "contiguous"},
}
_V2: dict[str, Any] = {
    "rpn": {"num_layers": 2},
    "box": {"head": part(ConvolutionalHead, num_layers=2, channels=16, width=64, norm="batch_norm")},
}


def _fpn(**options: Any) -> ResNetFPN:
    return ResNetFPN("resnet18", channels=32, **options)


def _dc5() -> ResNetDC5:
    # With norms over a batch or a group, rounding alone changes the gradients of 50 untrained layers: weights that
    # differ by a millionth change them by a hundredth, or by .0003.
    return ResNetDC5("resnet50", norm="frozen_batch_norm")


def _alexnet() -> PlainBackbone:
    return PlainBackbone("alexnet", norm="batch_norm")


DETECTORS: dict[str, Callable[[], Detector]] = {
    "faster_fpn": lambda: FasterRCNN(backbone=_fpn(), **_SMALL),
    "faster_c4": lambda: FasterRCNN(
        backbone=ResNetC4("resnet18"), **merge(_SMALL, {"rpn": {"cross_boundary_anchors": "ignore"}})
    ),
    "faster_dc5": lambda: FasterRCNN(backbone=_dc5(), **_SMALL),
    "faster_torchvision": lambda: FasterRCNN(backbone=_fpn(), **merge(_SMALL, _TORCHVISION)),
    "faster_v2": lambda: FasterRCNN(backbone=_fpn(fpn_norm="batch_norm"), **merge(_SMALL, _V2)),
    "faster_alexnet": lambda: FasterRCNN(backbone=PlainBackbone("alexnet"), **_SMALL),
    "mask_fpn": lambda: MaskRCNN(backbone=_fpn(), **_MASKS),
    "mask_c4": lambda: MaskRCNN(backbone=ResNetC4("resnet18"), **_MASKS),
    "mask_dc5": lambda: MaskRCNN(backbone=_dc5(), **_MASKS),
    "mask_detectron2": lambda: MaskRCNN(
        backbone=_fpn(frozen_stages=2, norm="frozen_batch_norm"), **merge(_MASKS, _DETECTRON2)
    ),
    "mask_roi_pool": lambda: MaskRCNN(
        backbone=_fpn(), **merge(_MASKS, {"pooler": {"operator": "pool"}, "mask": {"target": "thresholded"}})
    ),
    "fast_alexnet": lambda: FastRCNN(backbone=PlainBackbone("alexnet"), **_ON_PROPOSALS),
    "fast_resnet": lambda: FastRCNN(
        backbone=ResNetFPN("resnet18"), **merge(_ON_PROPOSALS, {"pooler": {"operator": "align"}})
    ),
    "rcnn_fine_tuning": lambda: RCNNFineTuning(backbone=_alexnet(), **_RCNN),
    "rcnn_classification": lambda: RCNNClassification(backbone=_alexnet(), **_RCNN),
    "rcnn_box_regression": lambda: RCNNBoxRegression(backbone=_alexnet(), **_RCNN),
}
LEARNING = [name for name in DETECTORS if name not in ("rcnn_classification", "rcnn_box_regression")]
"""Those whose losses have gradients; the others are solved for."""


def make_detector(name: str) -> Detector:
    """A detector with seeded weights, its step seeded too; in training mode."""
    torch.manual_seed(0)
    detector = DETECTORS[name]()
    detector.sampling_seed.fill_(11)
    return detector


def make_batch(size: tuple[int, int], mask_form: str) -> Batch:
    """Two images of noise: one with three objects and a crowd, one with a single object; proposals around them."""
    height, width = size
    generator = torch.Generator().manual_seed(height)
    unit = torch.tensor(
        [
            [[0.05, 0.1, 0.45, 0.6], [0.3, 0.2, 0.9, 0.95], [0.6, 0.05, 0.8, 0.3], [0.0, 0.7, 0.2, 1.0]],
            [[0.2, 0.25, 0.7, 0.8], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        ]
    )
    boxes = unit * torch.tensor([width, height, width, height])
    labels = torch.tensor([[1, 2, 3, 1], [2, -1, -1, -1]])
    is_crowd = torch.tensor([[False, False, False, True], [False] * 4])
    noise = (torch.rand(2, 20, 4, generator=generator) - 0.5) * 20
    proposals = boxes[:, :1].repeat(1, 20, 1) + noise
    proposals = torch.cat((proposals[..., :2].clamp(min=0), proposals[..., 2:].clamp(min=24)), dim=-1)
    proposals = proposals.clamp(max=min(size)).sort(-1).values[..., [0, 1, 2, 3]]
    scores = torch.linspace(1, 0, 20).repeat(2, 1)
    targets = Targets(boxes, labels, is_crowd)
    if mask_form == "bitmaps":
        targets = targets._replace(masks=_triangles(boxes, targets.is_object, size))
    if mask_form == "polygons":
        targets = targets._replace(masks=_outlines(boxes, targets.is_object))
    return Batch(
        images=torch.randint(0, 256, (2, 3, height, width), generator=generator).byte(),
        image_sizes=torch.tensor([[height, width], [height - 9, width - 5]]),
        image_ids=torch.tensor([1, 2]),
        targets=targets,
        records=tuple(ImageRecord(number + 1, f"{number}.jpg", height, width) for number in range(2)),
        proposals=Proposals(proposals, scores, torch.ones_like(scores, dtype=torch.bool)),
    )


def losses_and_gradients(detector: Detector, batch: Batch, precision: torch.dtype) -> dict[str, float]:
    """Losses by name, and the norms of the gradients by the first part of the parameters' names."""
    detector.zero_grad(set_to_none=True)
    with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
        losses = detector.losses(batch.inputs, batch.targets)
    torch.stack(list(losses.values())).sum().backward()
    squares: dict[str, float] = {}
    for name, parameter in detector.named_parameters():
        if parameter.grad is not None:
            part = name.partition(".")[0]
            squares[part] = squares.get(part, 0.0) + parameter.grad.double().square().sum().item()
    norms = {f"gradient of {part}": square**0.5 for part, square in squares.items()}
    return {name: value.item() for name, value in losses.items()} | norms


def detections(detector: Detector, batch: Batch, precision: torch.dtype) -> dict[str, float]:
    """Detections as sums that any change would alter."""
    detector.eval()
    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision is not torch.float32):
        found, proposals = detector.predict(batch.inputs)
    detector.train()
    figures = {
        "boxes": found.boxes.double().sum().item(),
        "scores": found.scores.double().sum().item(),
        "labels": found.labels.double().sum().item(),
        "proposals": proposals.boxes.double().sum().item(),
    }
    return figures if found.masks is None else {**figures, "masks": found.masks.double().sum().item()}


def _triangles(boxes: torch.Tensor, is_object: torch.Tensor, size: tuple[int, int]) -> Bitmaps:
    """The lower left half of each box, as a bitmap of the whole image."""
    height, width = size
    y, x = np.mgrid[:height, :width] + 0.5
    bits, first_byte = [], np.zeros(is_object.shape, np.int64)
    for slot, number in np.argwhere(is_object.numpy()):
        x1, y1, x2, y2 = boxes[slot, number].tolist()
        mask = (x > x1) & (y < y2) & ((x - x1) / (x2 - x1) < (y - y1) / (y2 - y1))
        first_byte[slot, number] = sum(map(len, bits))
        bits.append(np.packbits(mask))
    sizes = torch.where(is_object[..., None], torch.tensor([height, width]), 0)
    whole = torch.where(is_object[..., None], torch.tensor([0.0, 0.0, width, height]), 0.0)
    return Bitmaps(torch.from_numpy(np.concatenate(bits)), torch.from_numpy(first_byte), sizes, whole)


def _outlines(boxes: torch.Tensor, is_object: torch.Tensor) -> Polygons:
    """The same halves as outlines."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    corners = ((x1, y1), (x2, y2), (x1, y2))
    pairs = zip(corners, (*corners[1:], corners[0]), strict=True)
    edges = torch.stack([torch.stack((*start, *end), dim=-1) for start, end in pairs], dim=2)
    return Polygons(torch.where(is_object[..., None, None], edges, 0.0))


def values_of(name: str, batch: Batch, precision: torch.dtype) -> dict[str, dict[str, float]]:
    """Outputs of a detector for a batch: "losses", if it trains by gradients, and "detections"."""
    values = {}
    if name in LEARNING:
        values["losses"] = losses_and_gradients(make_detector(name), batch, precision)
    return values | {"detections": detections(make_detector(name), batch, precision)}


def all_values() -> dict[str, Any]:
    """All values of all detectors, floats in hexadecimal."""
    values: dict[str, Any] = {}
    for name in DETECTORS:
        detector = make_detector(name)
        values[f"{name} keys"] = {
            key: f"{tuple(value.shape)} {value.double().sum().item().hex()}"
            for key, value in detector.state_dict().items()
        }
        for size in SIZES:
            batch = make_batch(size, detector.mask_form)
            for precision in (torch.float32, torch.bfloat16):
                key = f"{name} {size[0]}x{size[1]} {str(precision).removeprefix('torch.')}"
                for what, figures in values_of(name, batch, precision).items():
                    values[f"{key} {what}"] = {figure: float(value).hex() for figure, value in figures.items()}
        print(name, file=sys.stderr)
    return values


def pinned_values() -> dict[str, Any]:
    """The values in `golden.json`: one size, float32, rounded."""
    return {name: _rounded(values_of(name, pinned_batch(name), torch.float32)) for name in DETECTORS}


def pinned_batch(name: str) -> Batch:
    """The batch of `pinned_values`."""
    return make_batch(SIZES[0], make_detector(name).mask_form)


def _rounded(values: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {what: {name: float(f"{value:.8g}") for name, value in figures.items()} for what, figures in values.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    content = pinned_values() if sys.argv[1] == "--pin" else all_values()
    path = Path(__file__).with_name("golden.json") if sys.argv[1] == "--pin" else Path(sys.argv[1])
    path.write_text(json.dumps(content, indent=1) + "\n")
