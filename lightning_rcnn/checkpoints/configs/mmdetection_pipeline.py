"""Pipelines of mmdetection's configurations: sizes and pixels of images, transforms of training."""

import re
from typing import Any

from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.configs.training import transforms_of

Step = dict[str, Any]
_LOADING = re.compile(r"Load\w+|DefaultFormatBundle|Collect|PackDetInputs|ImageToTensor|WrapFieldsToLists")
"""Steps that change no image."""
_RESIZES = ("RandomChoiceResize", "RandomResize", "Resize")
_FREE: tuple[Any, ...] = ()
_OF_RESIZE: dict[str, tuple[Any, ...]] = {
    "img_scale": _FREE,
    "scale": _FREE,
    "scales": _FREE,
    "keep_ratio": _FREE,
    "multiscale_mode": _FREE,
    "ratio_range": _FREE,
    "bbox_clip_border": (True,),
    "clip_object_border": (True,),
    "backend": ("cv2",),
    "interpolation": ("bilinear",),
    "resize_type": ("Resize",),
}
_ARGUMENTS: dict[str, dict[str, tuple[Any, ...]]] = {
    **dict.fromkeys(_RESIZES, _OF_RESIZE),
    "RandomFlip": {"prob": _FREE, "flip_ratio": _FREE, "direction": _FREE},
    "Normalize": {"mean": _FREE, "std": _FREE, "to_rgb": _FREE},
    "Pad": {"size_divisor": _FREE, "pad_val": (0,), "pad_val.img": (0, [0, 0, 0]), "pad_val.masks": (0,)},
    "MultiScaleFlipAug": {"img_scale": _FREE, "flip": (False,), "flip_direction": _FREE},
}
"""Steps that have a counterpart: their arguments, with the values of those that have a single one, or that are read."""
_OF_CROP: dict[str, tuple[Any, ...]] = {
    "crop_size": _FREE,
    "crop_type": _FREE,
    "recompute_bbox": _FREE,
    "bbox_clip_border": (True,),
    "allow_negative_crop": (True,),
}
_AUGMENTS = "model.data_preprocessor.batch_augments"


def read_pipelines(keys: SourceKeys, training_set: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings of the preprocessing, and those of our data module.

    Args:
        keys: settings of the configuration.
        training_set: start of the keys of the set with the pipeline of the training.
    """
    train = _steps(keys, f"{training_set}.pipeline", "train_pipeline")
    test = _steps(keys, "test_dataloader.dataset.pipeline", "data.test.pipeline", "test_pipeline")
    resizes = [step for step in train if step["type"] in _RESIZES]
    resize = resizes[0] if resizes else {}
    jitter = _jitter(resize, train)
    lengths = [] if jitter else _lengths(resize)
    preprocessing = _pixels(keys, train) | _padding(keys, train)
    sizes = _sizes(next((step for step in test if step["type"] == "Resize"), {}))
    if len(sizes) > 1:
        keys.name_left(f"test_pipeline MultiScaleFlipAug img_scale {sizes}")
    sizes = sizes or ([] if jitter else sorted(_sizes(resize), key=min)[-1:])
    if sizes:
        preprocessing |= {"min_size": min(sizes[0]), "max_size": max(sizes[0])}
    longer = sorted({max(pair) for pair in _sizes(resize)})
    if lengths and longer != [preprocessing["max_size"]]:
        keys.name_left(f"train_pipeline {resize['type']} with longer edges of {longer} (the model has one limit)")
    _name_steps(keys, "test", test, None)
    _name_steps(keys, "train", train, jitter)
    _name_augments(keys, jitter)
    for step in resizes[1:]:
        keys.name_left(f"train_pipeline {step['type']} behind {resize['type']}")
    if not train:
        return preprocessing, {}
    transforms = [flip for step in train if step["type"] == "RandomFlip" for flip in _flips(keys, step)]
    if jitter or lengths:
        transforms += transforms_of("none", lengths, jitter)
    return preprocessing, {"train_transforms": transforms}


def _steps(keys: SourceKeys, *names: str) -> list[Step]:
    """Return the steps of the first pipeline that there is; those of a test with views follow what holds them."""
    found = next((items for name in names if (items := keys.items_of(name))), [])
    steps: list[Step] = []
    for step in found:
        inner: dict[str, Step] = {}
        outer: Step = {"type": "", **{name: value for name, value in step.items() if "transforms." not in name}}
        for name, value in step.items():
            if match := re.fullmatch(r"transforms\.(\d+)\.(.+)", name):
                inner.setdefault(match[1], {"type": ""})[match[2]] = value
        if outer["type"] == "MultiScaleFlipAug":
            for each in inner.values():
                if each["type"] == "Resize":
                    each.setdefault("img_scale", outer.get("img_scale"))
            steps += [outer, *inner.values()]
        else:
            steps.append(step | outer)
    return steps


def _name_steps(keys: SourceKeys, phase: str, steps: list[Step], jitter: list[float] | None) -> None:
    """Name the steps and the arguments without a counterpart.

    Args:
        keys: where they are named.
        phase: "train" or "test".
        steps: the pipeline.
        jitter: large-scale jitter that is taken over, with the crop and the padding of it; None without.
    """
    known = _ARGUMENTS | ({"RandomCrop": _OF_CROP} if jitter else {})
    for step in steps:
        kind = step["type"]
        if _LOADING.fullmatch(kind) or (jitter and _removes_empty_boxes(step)):
            continue
        if kind not in known:
            keys.name_left(f"{phase}_pipeline {kind}")
            continue
        for name, value in step.items():
            if name == "type" or (kind == "Pad" and jitter and name == "size" and value == jitter[2:]):
                continue
            allowed = known[kind].get(name)
            if allowed is None or (allowed != _FREE and value not in (*allowed, None)):
                keys.name_left(f"{phase}_pipeline {kind} {name} {value}")
        if kind in _RESIZES and not step.get("keep_ratio", "img_scale" in step):  # 2.x keeps it by default, 3.x not
            keys.name_left(f"{phase}_pipeline {kind} keep_ratio=False (images keep their aspect ratio here)")
        if kind in _RESIZES and "ratio_range" in step and not jitter:
            keys.name_left(f"{phase}_pipeline {kind} ratio_range {step['ratio_range']}")
        if kind == "RandomCrop" and not step.get("allow_negative_crop"):
            keys.name_left(f"{phase}_pipeline {kind} allow_negative_crop=False")


def _removes_empty_boxes(step: Step) -> bool:
    return step["type"] == "FilterAnnotations" and max(step.get("min_gt_bbox_wh", [1])) <= 1


def _name_augments(keys: SourceKeys, jitter: list[float] | None) -> None:
    """Name what the preprocessing does to batches, unless it pads them to the size of the jitter, as ours does."""
    augments = keys.items_of(_AUGMENTS)
    pads = [each.get("type") == "BatchFixedSizePad" and jitter and each.get("size") == jitter[2:] for each in augments]
    for number, is_ours in enumerate(pads):
        if not is_ours:
            keys.name_left(f"{_AUGMENTS}.{number}.type")


def _pixels(keys: SourceKeys, train: list[Step]) -> dict[str, Any]:
    """Return mean, deviation and order of channels: of `data_preprocessor` (3.x) or the step `Normalize` (2.x)."""
    found = next((step for step in train if step["type"] == "Normalize"), None) or keys.section("img_norm_cfg")
    mean, std, is_rgb = found.get("mean"), found.get("std"), found.get("to_rgb", True)
    if keys.is_given("model.data_preprocessor.mean") or (keys.names_below("model.data_preprocessor") and mean is None):
        mean, std = keys["model.data_preprocessor.mean"], keys["model.data_preprocessor.std"]
        mean, is_rgb = mean or [0.0, 0.0, 0.0], keys["model.data_preprocessor.bgr_to_rgb"]  # without a mean as they are
    if mean is None:
        return {}
    return {
        "pixel_mean": list(mean),
        "pixel_std": list(std or [1.0, 1.0, 1.0]),
        "channel_order": "rgb" if is_rgb else "bgr",
    }


def _padding(keys: SourceKeys, train: list[Step]) -> dict[str, Any]:
    """Return the divisor of padded edges: of `data_preprocessor` (3.x, 1 if not given) or the step `Pad` (2.x)."""
    if keys.names_below("model.data_preprocessor"):
        return {"size_divisor": keys["model.data_preprocessor.pad_size_divisor"]}
    divisor = next((step.get("size_divisor") for step in train if step["type"] == "Pad"), None)
    return {"size_divisor": divisor} if divisor else {}


def _sizes(resize: Step) -> list[list[int]]:
    """Return pairs of edges, pixels, from one pair or several."""
    scale = resize.get("scales") or resize.get("scale") or resize.get("img_scale")
    if not isinstance(scale, list) or not scale:
        return []
    return scale if isinstance(scale[0], list) else [scale]


def _lengths(resize: Step) -> list[int]:
    """Return the lengths of the shorter edge to draw from, pixels; two of a range become steps of 32."""
    lengths = sorted({min(pair) for pair in _sizes(resize)})
    mode = resize.get("multiscale_mode", "range")  # the default of 2.x
    is_range = resize.get("type") == "RandomResize" or (resize.get("type") == "Resize" and mode == "range")
    if is_range and len(lengths) == 2:
        return [*range(lengths[0], lengths[1], 32), lengths[1]]
    return lengths


def _jitter(resize: Step, train: list[Step]) -> list[float] | None:
    """Return smallest and largest factor, height and width of large-scale jitter; None if it is none.

    It draws a factor of one size, and crops to this size.
    """
    sizes, factors = _sizes(resize), resize.get("ratio_range")
    crop = next((step for step in train if step["type"] == "RandomCrop"), None)
    if not factors or len(sizes) != 1 or crop is None:
        return None
    width, height = sizes[0]
    kinds = ("absolute", "absolute_range") if width == height else ("absolute",)  # a range from the height to the width
    if crop.get("crop_size") != [height, width] or crop.get("crop_type", "absolute") not in kinds:
        return None
    return [*factors, height, width]


def _flips(keys: SourceKeys, step: Step) -> list[dict[str, Any]]:
    """Return flips, which ours draw independently of each other; theirs draw one of several directions."""
    share, direction = step.get("prob", step.get("flip_ratio")) or 0.0, step.get("direction", "horizontal")
    directions = direction if isinstance(direction, list) else [direction]
    each = share if isinstance(share, list) else [share / len(directions)] * len(directions)
    of = dict.fromkeys(("horizontal", "vertical", "diagonal"), 0.0) | dict(zip(directions, each, strict=False))
    across, down, both = of["horizontal"], of["vertical"], of["diagonal"]
    if abs((across + both) * (down + both) - both) < 1e-6:
        across, down = across + both, down + both
    else:
        keys.name_left(f"train_pipeline RandomFlip direction {direction} (flips are drawn independently here)")
    flips = {"HorizontalFlip": across, "VerticalFlip": down}
    return [
        {"class_path": name, **({"init_args": {"p": round(p, 6)}} if abs(p - 0.5) > 1e-6 else {})}
        for name, p in flips.items()
        if p
    ]
