"""What an exported file says about itself, as JSON: all that a program needs to use it without this package."""

import json
from typing import Any

import torch
import torchvision
from torch import Tensor

import lightning_rcnn
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.export.program import Exportable, image_dtype, input_names

KEY = "lightning_rcnn"
"""Name of the JSON in a file: of an extra file in .pt2, of an entry of `metadata_props` in .onnx."""

_RESIZED_SIZE = {
    "bilinear": "scale = min(min_size / min(h, w), max_size / max(h, w)); floor(h * scale), floor(w * scale), "
    "at least 1",
    "antialiased": "the shorter edge becomes min_size, then both shrink by min(1, max_size / longer edge); "
    "floor(edge + 0.5), at least 1",
}
_PIXELS = {
    "bilinear": "float32, bilinear between pixel centers, no antialiasing, not rounded",
    "antialiased": "uint8, bilinear with antialiasing",
    "opencv": "uint8, bilinear without antialiasing, as cv2.resize with INTER_LINEAR",
    "pillow": "uint8, bilinear with antialiasing, as PIL.Image.resize with Resampling.BILINEAR",
}


def describe(detector: Exportable) -> str:
    """Describe a detector that has the limits of its export.

    Returns:
        JSON with `detector`, `class_names` and `category_ids` of labels 1..K, `inputs` and `outputs` in order,
        `images`, `resize`, `normalization` (which is in the graph), `limits`, `suppression` (`iou`, and whether it is
        `across_classes`), `mask_paste` (None without masks), `skeleton` (None without keypoints),
        `keypoints_drawn_above`, `weights` (the type in which most are stored) and `versions`.
    """
    preprocessing, pixels = detector.preprocessing.settings, detector.preprocessing.pixels
    method = preprocessing.resize
    has_masks = detector.main_result_type == "segm"
    further = [*(["masks"] if has_masks else []), *(["keypoints"] if detector.skeleton is not None else [])]
    settings = getattr(getattr(detector, "box", None), "settings", None)
    content: dict[str, Any] = {
        "detector": type(detector).__name__,
        "class_names": detector.class_names,
        "category_ids": detector.category_ids,
        "inputs": input_names(detector),
        "outputs": ["boxes", "scores", "labels", "count", *further],
        "images": {
            "layout": _layout(pixels),
            "dtype": str(image_dtype(detector)).removeprefix("torch."),
            "size_divisor": preprocessing.size_divisor,
        }
        | ({} if pixels.is_rgb else {"pixels": pixels.to_plain()}),
        "resize": {
            "min_size": preprocessing.min_size,
            "max_size": preprocessing.max_size,
            "method": method,
            "size": _RESIZED_SIZE.get(method, _RESIZED_SIZE["antialiased"]),
            "pixels": _PIXELS[method],
        },
        "normalization": {
            "channel_order": preprocessing.channel_order,
            "pixel_range": preprocessing.pixel_range,
            "pixel_mean": preprocessing.per_channel(preprocessing.pixel_mean),
            "pixel_std": preprocessing.per_channel(preprocessing.pixel_std),
        },
        "limits": {
            "score_threshold": getattr(settings, "score_threshold", None),
            "detections_per_image": getattr(settings, "detections_per_image", None),
        },
        "suppression": detector.suppression._asdict(),
        "mask_paste": detector.mask_paste if has_masks else None,
        "skeleton": None if detector.skeleton is None else detector.skeleton.plain_arguments(),
        "keypoints_drawn_above": detector.keypoints_drawn_above,
        "weights": str(max(detector.parameters(), key=Tensor.numel).dtype).removeprefix("torch."),
        "versions": {
            "lightning_rcnn": lightning_rcnn.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
    }
    return json.dumps(content)


def _layout(pixels: PixelFormat) -> str:
    """Say what the axes and values of the images are."""
    values = "RGB, 0 to 255" if pixels.is_rgb else "0 to 255"
    if not pixels.is_eight_bit:
        values += f", where files have {pixels.range_text}"
    return f"[batch, {pixels.channels}, height, width], {values}, padded on the right and at the bottom by anything"
