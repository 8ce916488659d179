"""Translation of a detector of another program: settings, weights, and what the conversion reports."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS, merge

DetectorName = Literal[
    "ProposalNetwork",
    "FastRCNN",
    "FasterRCNN",
    "MaskRCNN",
    "CascadeRCNN",
    "CascadeMaskRCNN",
    "PointRend",
    "KeypointRCNN",
]
RULES_OF_RPN: dict[str, Any] = {
    "low_quality_iou": 0.0,
    "low_quality_target": "best_object",
    "cross_boundary_anchors": "keep",
    "padding_divisor": 0,
    "crowd_ioa": None,
    "nms_iou": 0.7,
    "min_scale": 0.0,
}
RULES_OF_POOLER: dict[str, Any] = {"operator": "align", "canonical": [4, 224.0]}
RULES_OF_BOXES: dict[str, Any] = {
    "low_quality_iou": None,
    "crowd_ioa": None,
    "score_threshold": 0.05,
    "nms": "hard",
    "nms_iou": 0.5,
    "nms_across_classes": False,
    "detections_per_image": 100,
    "min_scale": 0.0,
    "passes_on": "sampled",
}
"""Rules that torchvision, detectron2 and mostly mmdetection share, in the settings of the branches."""
_SIZES: list[tuple[tuple[str, ...], str, int]] = [
    (("backbone", "init_args", "channels"), r"backbone\.fpn\.inner_blocks\.0\.0\.weight", 0),
    (("box", "head", "init_args", "width"), r"box\.(stages\.0\.)?head\.fc6\.weight", 0),
    (("box", "head", "init_args", "channels"), r"box\.(stages\.0\.)?head\.convolutions\.0\.(0\.)?weight", 0),
    (("mask", "width"), r"mask\.head\.logits\.weight", 1),
    (("mask", "width"), r"mask\.point_head\.layers\.0\.weight", 0),
    (("mask", "coarse_width"), r"mask\.coarse\.reduce\.weight", 0),
    (("mask", "coarse_hidden"), r"mask\.coarse\.layers\.0\.weight", 0),
]
"""Setting, the weight whose size gives it, and the dimension."""


@dataclass
class Translation:
    """A detector of another program, translated to ours.

    Attributes:
        format: description of the recognized format.
        source: the file, for messages.
        detector: name of our class.
        hyperparameters: arguments of the class: the architecture, and the profile that reproduces the source's outputs.
        weights: weights under our names.
        names: their name -> our name, for every weight that is kept.
        changed: our name -> how the weight was changed beside its name.
        dropped: their name -> why the weight is not needed.
        unexpected: their names that have no place in the detector.
        made: our name -> how a weight was filled in that the file lacks.
        may_be_missing: prefixes of our names that the source may lack.
        notes: sentences on what the file does not record.
        foreign: prefix of their names -> a part of their model for which we have no network.
        run: settings of a training beside those of the detector, from the configuration of the source.
        left: our names that stay at initialization, known when a detector has been built.
    """

    format: str
    source: Path
    detector: DetectorName
    hyperparameters: dict[str, Any]
    weights: dict[str, Tensor]
    names: dict[str, str]
    changed: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)
    may_be_missing: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def keep_classes(self, keep: list[bool]) -> None:
        """Drop classes; the softmax spreads their probability over the others.

        Args:
            keep: for each class, whether it is kept.
        """
        if all(keep):
            return
        if self.detector == "PointRend":
            raise InputError(f"{self.source}: PointRend scores points by all of its classes, so none can be dropped")
        rows = torch.tensor(keep)
        for key in ("class_names", "category_ids"):
            values = self.hyperparameters[key]
            if values is not None:
                self.hyperparameters[key] = [value for value, kept in zip(values, keep, strict=True) if kept]
        with_background = torch.cat((torch.tensor([True]), rows))
        for layer, kept_rows in (
            (r"box\.(stages\.\d\.)?predictor\.class_logits", with_background),
            (r"box\.predictor\.box_deltas", rows.repeat_interleave(4)),
            (r"mask\.head\.logits", rows),
        ):
            for name in filter(re.compile(rf"{layer}\.(weight|bias)").fullmatch, self.weights):
                if len(self.weights[name]) == len(kept_rows):  # one box may serve all classes
                    self.weights[name] = self.weights[name][kept_rows]

    def fit_to(self, expected: Mapping[str, Tensor], allow: Collection[str] = ()) -> list[str]:
        """Check that no weight is left over and none is missing.

        Args:
            expected: state dict of the detector.
            allow: names, or their prefixes up to a dot: theirs to leave out, ours to leave at initialization.

        Returns:
            Our names that stay at initialization.

        Raises:
            InputError: a weight does not fit; the message names the first one.
        """
        unused = [name for name in self.unexpected if not _is_one_of(name, allow)]
        for prefix, description in self.foreign.items():
            if any(name.startswith(f"{prefix}.") for name in unused):
                raise InputError(
                    f"{self.source}: has {description}, for which we have no network; --allow {prefix} takes the rest"
                )
        if unused:
            raise InputError(
                f"{self.source}: {_count(unused, 'has', 'have')} no place in {self.format}, first {unused[0]!r}; "
                f"leave out what you don't need with --allow {unused[0]}"
            )
        self.dropped |= dict.fromkeys(self.unexpected, "allowed")
        for theirs, ours in list(self.names.items()):
            if ours not in expected or self.weights[ours].shape != expected[ours].shape:
                if not (_is_one_of(theirs, allow) or _is_one_of(ours, allow)):
                    raise InputError(self._misfit(theirs, ours, expected))
                del self.names[theirs], self.weights[ours]
                self.dropped[theirs] = "allowed"
        for theirs, ours in self.names.items():
            if not self.weights[ours].isfinite().all():
                raise InputError(
                    f"{self.source}: {theirs!r} is not finite everywhere: its training diverged; "
                    "take an earlier checkpoint"
                )
        missing = [name for name in expected if name not in self.weights]
        wanted = [name for name in missing if not _is_one_of(name, (*allow, *self.may_be_missing))]
        if wanted:
            raise InputError(
                f"{self.source}: {_count(wanted, 'is', 'are')} missing of {self.detector}, first {wanted[0]!r}; is the "
                f"file whole? --allow {wanted[0]} leaves it at initialization"
            )
        return missing

    def _misfit(self, theirs: str, ours: str, expected: Mapping[str, Tensor]) -> str:
        if ours not in expected:
            return (
                f"{self.source}: {theirs!r} has no place in {self.detector} with these hyperparameters; "
                f"--allow {theirs} leaves it out"
            )
        return (
            f"{self.source}: {theirs!r} has the shape {_shape(self.weights[ours])}, but {ours!r} of {self.detector} "
            f"with these hyperparameters has {_shape(expected[ours])}; give those of its training by --config or --set"
        )


def renamed(name: str, prefixes: Iterable[tuple[str, str]]) -> str | None:
    """Return the name with its first matching prefix replaced; None if no prefix matches."""
    for old, new in prefixes:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None


RESNET_FPN = "lightning_rcnn.backbones.fpn.ResNetFPN"
RESNET_C4 = "lightning_rcnn.backbones.c4.ResNetC4"
RESNET_DC5 = "lightning_rcnn.backbones.dc5.ResNetDC5"
SWIN_FPN = "lightning_rcnn.backbones.swin.SwinFPN"
REGNET_FPN = "lightning_rcnn.backbones.regnet.RegNetFPN"
VITDET = "lightning_rcnn.backbones.vitdet.ViTDet"
MOBILENET_FPN = "lightning_rcnn.backbones.mobilenet.MobileNetFPN"
TWO_LAYER_HEAD = "lightning_rcnn.roi_heads.box_head.TwoLayerHead"
CONVOLUTIONAL_HEAD = "lightning_rcnn.roi_heads.box_head.ConvolutionalHead"
SMOOTH_L1 = "lightning_rcnn.box_losses.SmoothL1Loss"
OVERLAP_LOSSES = {name: f"lightning_rcnn.box_losses.{name}" for name in ("GIoULoss", "DIoULoss", "CIoULoss")}
"""Paths instead of classes: backbones import this package to read ImageNet weights."""
USUAL_MASK_LAYERS = 4
"""Convolutions of a mask head with a pyramid, the default of `MaskSettings`."""


def part(class_path: str, **init_args: Any) -> dict[str, Any]:
    """Return a part or settings as plain data."""
    return {CLASS_PATH: class_path, INIT_ARGS: init_args}


def flat_settings(settings: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of nested settings."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{key}{name}.")
        else:
            yield f"{key}{name}", value


def layer_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the sizes of layers, as settings of the detector.

    Args:
        weights: weights under our names.
    """
    settings: dict[str, Any] = {}
    for keys, pattern, axis in _SIZES:
        for name in filter(re.compile(pattern).fullmatch, weights):
            size: Any = weights[name].shape[axis]
            for key in reversed(keys):
                size = {key: size}
            settings = merge(settings, size)
    return settings


def _is_one_of(name: str, allowed: Collection[str]) -> bool:
    return any(name == entry or name.startswith(f"{entry.rstrip('.')}.") for entry in allowed)


def _count(names: list[str], singular: str, plural: str) -> str:
    return f"1 weight {singular}" if len(names) == 1 else f"{len(names)} weights {plural}"


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
