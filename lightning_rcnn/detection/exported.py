"""Exported files (.onnx, .pt2) in the place of a checkpoint: inference with the graph that was exported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.detectors.preprocessing import Preprocessing, PreprocessingSettings
from lightning_rcnn.errors import InputError, require_extra
from lightning_rcnn.export.aoti import is_compiled, open_aoti
from lightning_rcnn.export.onnx import open_onnx
from lightning_rcnn.export.program import Runner
from lightning_rcnn.export.pt2 import open_pt2
from lightning_rcnn.functional.class_suppression import Suppression
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import Detections, Inputs, Proposals

SUFFIXES = (".onnx", ".pt2")


class ExportedDetector:
    """A file of `lightning-rcnn export`, with what inference needs of a detector. It computes on the CPU.

    Args:
        path: file *.onnx or *.pt2; the latter also if it is compiled.

    Attributes:
        run: the graph of the file.
        has_free_precision: whether it also computes in 16 bits under `torch.autocast`.
        suppression: non-maximum suppression in the graph.
        main_result_type: the string "segm" if it predicts masks, "keypoints" with keypoints, else "bbox".

    Raises:
        InputError: the file cannot be read, is of another origin, or needs proposals.
    """

    search: Callable[[Tensor], np.ndarray] | None = None
    proposal_limit: int = 0
    training: bool = False
    device = torch.device("cpu")
    preprocessing: Preprocessing
    mask_paste: PasteRule
    skeleton: Skeleton | None
    suppression: Suppression
    run: Runner

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if path.suffix.lower() == ".onnx":
            require_extra("onnxruntime", "export", str(path))
        try:
            self.has_free_precision = path.suffix.lower() == ".pt2" and not is_compiled(path)
            self.run, text = _open(path)
        except Exception as error:  # the runtimes raise anything on damaged files
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"{path}: cannot be opened as {path.suffix} ({reason})") from error
        if not text:
            raise InputError(
                f"{path}: is not a file of `lightning-rcnn export`: it says nothing about classes and preprocessing"
            )
        try:
            self._take(json.loads(text), path)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: its description of classes and preprocessing is damaged ({error!r}); export it again"
            ) from error

    def _take(self, about: dict[str, Any], path: Path) -> None:
        """Take what the file says about itself; see `describe`."""
        if "proposals" in about["inputs"]:
            raise InputError(f"{path}: {about['detector']} needs proposals, which only its checkpoint can search for")
        self.class_names: list[str] = about["class_names"]
        self.category_ids: list[int] = about["category_ids"]
        if len(self.class_names) != len(self.category_ids):
            raise ValueError(f"{len(self.category_ids)} category_ids for {len(self.class_names)} class_names")
        self.mask_paste = about["mask_paste"] or "exact"
        self.suppression = Suppression(**about["suppression"])
        self.skeleton = Skeleton(**about["skeleton"]) if about.get("skeleton") else None
        self.main_result_type = "segm" if about["mask_paste"] else "keypoints" if self.skeleton else "bbox"
        self.keypoints_drawn_above: float = about.get("keypoints_drawn_above", 0.0)
        self.preprocessing = _preprocessing(about)

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections in the resized frame; a graph returns no proposals."""
        found = self.run((inputs.images, inputs.image_sizes, inputs.image_sizes))
        nothing = torch.zeros((len(inputs.images), 0))
        detections = Detections._make(found.get(name) for name in Detections._fields)
        return detections, Proposals(nothing[..., None].expand(-1, -1, 4), nothing, nothing.bool())

    def train(self, mode: bool = True) -> "ExportedDetector":
        """Do nothing: a graph has one mode."""
        return self


def _preprocessing(about: dict[str, Any]) -> Preprocessing:
    """Return sizes and padding by the rules in a file; normalization is in the graph.

    Raises:
        ValueError: a rule is none of ours, as that of a later version.
    """
    rule, images = about["resize"], about["images"]
    try:
        pixels = PixelFormat.from_plain(images["pixels"]) if "pixels" in images else RGB
        return PreprocessingSettings(
            rule["min_size"], rule["max_size"], rule["method"], images["size_divisor"], pixels=pixels
        ).build()
    except InputError as error:  # which does not name the file
        raise ValueError(str(error)) from error


def _open(path: Path) -> tuple[Runner, str]:
    """Return the function that runs a file, and the JSON in it; no text if it has none."""
    if path.suffix.lower() == ".onnx":
        return open_onnx(path)
    return open_aoti(path) if is_compiled(path) else open_pt2(path)
