"""Starting a training from the weights of another one: ours, torchvision's or detectron2's."""

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from lightning_rcnn.checkpoints.formats import translate_weights
from lightning_rcnn.checkpoints.header import header_in, is_ours, shape_mismatch
from lightning_rcnn.checkpoints.reading import read_content, weights_in
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.errors import InputError

PREDICTORS = ("box_predictor.", "mask_head.logits.", "softmax.", "svms.", "box_regressors.")
"""Whose size is that of the classes: with other classes they start anew."""
PARTS_OF_ONE_DETECTOR = ("mask_head.",)
"""What Mask R-CNN has and Faster R-CNN has not."""
CONVENTIONS = (
    "channel_order",
    "pixel_range",
    "pixel_mean",
    "pixel_std",
    "norm",
    "norm_epsilon",
    "stride_in_1x1",
    "anchor_rounding",
    "anchor_order",
    "anchor_stride",
    "roi_sampling_ratio",
    "roi_aligned",
    "region_size",
    "region_context",
)
"""Hyperparameters under which weights mean what they meant."""


class _Given(NamedTuple):
    weights: dict[str, Tensor]
    hyperparameters: dict[str, Any]


def start_from(detector: Detector, source: str) -> None:
    """Load what fits, say what starts anew, and warn of conventions that differ.

    Args:
        detector: as constructed.
        source: see `checkpoints.sources.local_file`.

    Raises:
        InputError: nothing to be had there, or weights of another architecture.
    """
    path = local_file(source, "model.weights")
    given = _read(path)
    own = detector.state_dict()
    fitting = {name: value for name, value in given.weights.items() if name in own and own[name].shape == value.shape}
    # Loaded by half, a predictor would be worse than a new one.
    if any(name not in fitting for name in given.weights if name in own and name.startswith(PREDICTORS)):
        fitting = {name: value for name, value in fitting.items() if not name.startswith(PREDICTORS)}
    optional = (
        *PREDICTORS,
        *(part for part in PARTS_OF_ONE_DETECTOR if not (_has(own, part) and _has(given.weights, part))),
    )
    misfits = [name for name in own if name not in fitting and not _is_optional(name, optional)]
    misfits += [name for name in given.weights if name not in own and not _is_optional(name, optional)]
    if misfits:
        raise InputError(
            f"model.weights {path}: not of the model's architecture: {len(misfits)} weights do not fit, the first: "
            f"{_misfit(misfits[0], given.weights, own)}; its hyperparameters are shown by lightning-rcnn convert"
        )
    detector.load_state_dict(fitting, strict=False)
    _say_what_is_new(detector, path, given, [name for name in own if name not in fitting])
    _warn_of_conventions(detector, path, given.hyperparameters)
    _warn_of_classes(detector, path, given, fitting)


def _read(path: Path) -> _Given:
    content = read_content(path)
    weights = weights_in(content, path)
    if is_ours(content):
        return _Given(weights, header_in(content).hyperparameters)
    translation = translate_weights(weights, path)
    if translation.may_be_missing:
        raise InputError(f"model.weights {path}: {translation.format}, no detector; give it as model.backbone_weights")
    if translation.unexpected:
        raise InputError(
            f"model.weights {path}: {len(translation.unexpected)} weights have no place here, the first is "
            f"{translation.unexpected[0]!r}; lightning-rcnn convert can leave them out"
        )
    return _Given(translation.weights, translation.hyperparameters)


def _misfit(name: str, there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> str:
    if name in there and name in here:
        return shape_mismatch(name, there[name].shape, here[name].shape)
    return f"only the {'file' if name in there else 'model'} has {name!r}"


def _has(weights: Mapping[str, Tensor], part: str) -> bool:
    return any(name.startswith(part) for name in weights)


def _is_optional(name: str, optional: tuple[str, ...]) -> bool:
    return name.startswith(optional) or name.endswith("num_batches_tracked")


def _say_what_is_new(detector: Detector, path: Path, given: _Given, new: list[str]) -> None:
    parts = sorted({name.rpartition(".")[0] for name in new if not name.endswith("num_batches_tracked")})
    known = len(given.hyperparameters.get("class_names") or ())
    rank_zero_info(
        f"Weights of {path}: "
        + (f"all taken over but {', '.join(parts)}, which start anew" if parts else "all taken over")
        + (f" ({known} classes there, {len(detector.class_names)} here)." if any_predictor(parts) else ".")
    )


def any_predictor(parts: list[str]) -> bool:
    """Whether something is among the parts that depends on the classes."""
    return any(f"{part}.".startswith(PREDICTORS) for part in parts)


def _warn_of_conventions(detector: Detector, path: Path, theirs: dict[str, Any]) -> None:
    """The weights were trained under the conventions of their source; others make them worse than they are."""
    own = _defaults(type(detector)) | dict(detector.hparams)
    assumed = _defaults(type(detector)) | theirs
    differing = [key for key in CONVENTIONS if key in own and _plain(own[key]) != _plain(assumed[key])]
    if differing:
        listed = ", ".join(f"{key} {assumed[key]}" for key in differing)
        rank_zero_warn(f"model.weights {path} were trained with {listed}; the model is configured otherwise")


def _warn_of_classes(detector: Detector, path: Path, given: _Given, fitting: Collection[str]) -> None:
    """As many classes are taken for the same ones; where they have other names, each begins as another one."""
    names = given.hyperparameters.get("class_names") or ()
    pairs = [pair for pair in zip(names, detector.class_names, strict=False) if pair[0] != pair[1]]
    if pairs and any(name.startswith(PREDICTORS) for name in fitting):
        there, here = pairs[0]
        rank_zero_warn(
            f"model.weights {path}: {len(pairs)} of {len(names)} classes have other names there: {here!r} starts from "
            f"{there!r}"
        )


def _defaults(detector_class: type[Detector]) -> dict[str, Any]:
    classes = [parent for parent in reversed(detector_class.__mro__) if issubclass(parent, Detector)]
    return {
        name: parameter.default
        for parent in classes
        for name, parameter in inspect.signature(parent).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
