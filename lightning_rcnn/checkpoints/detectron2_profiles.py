"""What detectron2's files do not record: profiles of its zoo's folders, and the pixels that its backbones expect."""

from pathlib import Path
from typing import Any, Literal

from lightning_rcnn.checkpoints.residual_shapes import BASIC_RESNETS
from lightning_rcnn.checkpoints.translation import SMOOTH_L1, flat_settings, part
from lightning_rcnn.plain_data import INIT_ARGS

PIXELS: dict[str, Any] = {"pixel_range": 255.0, "channel_order": "bgr", "pixel_mean": [103.53, 116.28, 123.675]}
ProfileName = Literal["detectron1", "lvis", "cityscapes"]
SETTINGS: dict[ProfileName, dict[str, Any]] = {
    "detectron1": {
        "rpn": {"box_loss": part(SMOOTH_L1, beta=0.1111)},
        "pooler": {"sampling_ratio": 2, "aligned": False},
        "box": {"box_loss": part(SMOOTH_L1, beta=1.0)},
    },
    "lvis": {"box": {"score_threshold": 1e-4, "detections_per_image": 300}},
    "cityscapes": {"preprocessing": {"min_size": 1024, "max_size": 2048}},
}
"""Settings of its Detectron1-Comparisons, LVIS... and Cityscapes configurations; their weights have the usual names."""
_FOLDERS: dict[str, ProfileName] = {"Detectron1-": "detectron1", "LVIS": "lvis", "Cityscapes": "cityscapes"}
"""Prefixes of the model zoo's folders."""


def input_of(backbone: str) -> dict[str, Any]:
    """Return the settings that a backbone trained for detectron2 expects: pixels and strides.

    Args:
        backbone: our name of the backbone.
    """
    is_resnext = backbone.startswith("resnext")
    # The zoo's only ResNeXt-152 was trained on pixels that are not divided.
    is_divided = backbone == "resnext101_32x8d" or backbone.startswith("regnet")
    pixel_std = [57.375, 57.12, 58.395] if is_divided else [1.0, 1.0, 1.0]
    has_stride_in_1x1 = not is_resnext and backbone not in BASIC_RESNETS
    return {
        "preprocessing": {**PIXELS, "pixel_std": pixel_std},
        "backbone": {INIT_ARGS: {"stride_in_1x1": has_stride_in_1x1}},
    }


def profile_of(path: Path) -> ProfileName | None:
    """Return the profile of the folder of the zoo that a file is in."""
    return next((name for start, name in _FOLDERS.items() if any(f.startswith(start) for f in path.parts[:-1])), None)


def note_on_profile(profile: ProfileName | None) -> str:
    """Return what to say of a profile, or of there being none."""
    if profile:
        listed = ", ".join(f"{key} {value}" for key, value in flat_settings(SETTINGS[profile]))
        return f"Profile {profile}: {listed}."
    return (
        "The file does not record its settings; for a model of Detectron1-Comparisons, LVIS or "
        f"Cityscapes add --profile {'|'.join(SETTINGS)}, for your own --config config.yaml."
    )
