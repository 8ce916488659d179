"""Transfer of weights from another training: ours, torchvision's or detectron2's."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from lightning_rcnn.backbones.stem import with_adapted_stem
from lightning_rcnn.checkpoints.formats import translate_weights
from lightning_rcnn.checkpoints.header import header_in, is_ours, shape_mismatch
from lightning_rcnn.checkpoints.reading import read_content, weights_in
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.detectors.core import DetectorCore
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS, all_arguments, import_class


class _Given(NamedTuple):
    weights: dict[str, Tensor]
    hyperparameters: dict[str, Any]


def start_from(detector: DetectorCore, source: str) -> None:
    """Load the weights that fit, report those that stay initialized, and warn of conventions that differ.

    A first convolution on RGB is adapted to other channels; see `backbones/stem.py`.

    Args:
        detector: the detector, just constructed.
        source: file, URL or name; see `checkpoints.sources.local_file`.

    Raises:
        InputError: the source cannot be read, or its weights are of another architecture.
    """
    path = local_file(source, "model.weights")
    given = _read(path)
    own = detector.state_dict()
    given = given._replace(weights=with_adapted_stem(given.weights, own))
    predictors = class_layers(detector)
    fitting = {name: value for name, value in given.weights.items() if name in own and own[name].shape == value.shape}
    # A predictor with only half of its weights loaded would be worse than a new one.
    if any(name not in fitting for name in given.weights if name in own and name.startswith(predictors)):
        fitting = {name: value for name, value in fitting.items() if not name.startswith(predictors)}
    optional = (*predictors, *(f"{branch}." for branch in _branches(own) ^ _branches(given.weights)))
    misfits = [name for name in own if name not in fitting and not _is_optional(name, optional)]
    misfits += [name for name in given.weights if name not in own and not _is_optional(name, optional)]
    if misfits:
        raise InputError(
            f"model.weights {path}: not of the model's architecture: {len(misfits)} weights do not fit, the first: "
            f"{_misfit(misfits[0], given.weights, own)}; its settings are shown by lightning-rcnn convert"
        )
    detector.load_state_dict(fitting, strict=False)
    _say_what_is_new(detector, path, given, [name for name in own if name not in fitting])
    _warn_of_conventions(detector, path, given.hyperparameters)
    _warn_of_classes(detector, path, given, fitting)


def _read(path: Path) -> _Given:
    content = read_content(path)
    file = weights_in(content, path)
    if is_ours(content):
        return _Given(dict(file.weights), header_in(content).hyperparameters)
    translation = translate_weights(file)
    if translation.may_be_missing:
        raise InputError(
            f"model.weights {path}: {translation.format}, not a detector; give it as model.backbone.weights"
        )
    if translation.unexpected:
        raise InputError(
            f"model.weights {path}: {len(translation.unexpected)} weights are unexpected, the first is "
            f"{translation.unexpected[0]!r}; lightning-rcnn convert can leave them out"
        )
    return _Given(translation.weights, translation.hyperparameters)


def _misfit(name: str, there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> str:
    if name in there and name in here:
        return shape_mismatch(name, there[name].shape, here[name].shape)
    return f"only the {'file' if name in there else 'model'} has {name!r}"


def class_layers(detector: DetectorCore) -> tuple[str, ...]:
    """Return name prefixes of the weights whose size depends on the number of classes, as the parts list them."""
    return tuple(
        f"{prefix}.{layer}.".lstrip(".")
        for prefix, module in detector.named_modules()
        for layer in getattr(module, "class_layers", ())
    )


def _branches(weights: Iterable[str]) -> set[str]:
    """Return names of whole branches, such as the mask branch, which only one of two detectors may have."""
    return {name.partition(".")[0] for name in weights}


def _is_optional(name: str, optional: tuple[str, ...]) -> bool:
    return name.startswith(optional) or name.endswith("num_batches_tracked")


def _say_what_is_new(detector: DetectorCore, path: Path, given: _Given, new: list[str]) -> None:
    parts = sorted({name.rpartition(".")[0] for name in new if not name.endswith("num_batches_tracked")})
    known = len(given.hyperparameters.get("class_names") or ())
    depends_on_classes = any(f"{part}.".startswith(class_layers(detector)) for part in parts)
    rank_zero_info(
        f"Weights of {path}: "
        + (f"all are loaded but {', '.join(parts)}, which start from initialization" if parts else "all are loaded")
        + (f" ({known} classes there, {len(detector.class_names)} here)." if depends_on_classes else ".")
    )


def _warn_of_conventions(detector: DetectorCore, path: Path, theirs: dict[str, Any]) -> None:
    """Warn of settings that differ from those that the weights were trained with, which costs accuracy."""
    own = _conventions(type(detector), detector.init_args)
    assumed = _conventions(type(detector), theirs)
    differing = [key for key in own.keys() & assumed.keys() if own[key] != assumed[key]]
    if differing:
        listed = ", ".join(f"{key} {assumed[key]}" for key in sorted(differing))
        rank_zero_warn(f"model.weights {path} were trained with {listed}; the model is configured otherwise")


def _conventions(of_class: type, arguments: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """Return the settings that must match those the weights were trained with, by dotted key.

    Args:
        of_class: detector, part or settings, with its `conventions`.
        arguments: arguments of its constructor, as plain data or built; defaults may be left out.
        key: prefix of the dotted keys.
    """
    conventions: dict[str, Any] = {}
    for name, value in all_arguments(of_class, arguments).items():
        if name in getattr(of_class, "conventions", ()):
            conventions[f"{key}{name}"] = value
        elif isinstance(value, Mapping) and CLASS_PATH in value:
            conventions |= _conventions(import_class(value[CLASS_PATH]), value[INIT_ARGS], f"{key}{name}.")
    return conventions


def _warn_of_classes(detector: DetectorCore, path: Path, given: _Given, fitting: Collection[str]) -> None:
    """Warn if the weights have equally many classes of other names: their predictors were loaded all the same."""
    names = given.hyperparameters.get("class_names") or ()
    pairs = [pair for pair in zip(names, detector.class_names, strict=False) if pair[0] != pair[1]]
    if pairs and any(name.startswith(class_layers(detector)) for name in fitting):
        there, here = pairs[0]
        rank_zero_warn(
            f"model.weights {path}: {len(pairs)} of {len(names)} classes have other names there: {here!r} starts from "
            f"{there!r}"
        )
