"""`lightning-rcnn convert`: checkpoints of torchvision and detectron2 to ours, and ours to torchvision's."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from rich.console import Console
from rich.table import Table

from lightning_rcnn.checkpoints import torchvision
from lightning_rcnn.checkpoints.coco_classes import UNUSED
from lightning_rcnn.checkpoints.formats import FormatName, translate
from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.checkpoints.reading import read_weights
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.checkpoints.translation import Translation
from lightning_rcnn.checkpoints.writing import write_whole
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError

_CLASSES: dict[str, type[Detector]] = {"FasterRCNN": FasterRCNN, "MaskRCNN": MaskRCNN}


def convert(
    source: str,
    /,
    out: Path,
    format: FormatName | None = None,
    to: Literal["lightning_rcnn", "torchvision"] = "lightning_rcnn",
    class_names: str | None = None,
    only_used_classes: bool = False,
    set: Sequence[str] = (),
    allow: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Convert a checkpoint of torchvision or detectron2 to one of ours, or one of ours back to torchvision's.

    Beside the weights, a checkpoint of ours has all that reproduces the outputs of its source as hyperparameters:
    resizing, channels, anchors, sampling, norms. They also stand in a YAML file of the same name, which `fit` takes as
    a --config to fine-tune from the checkpoint.

    Args:
        source: a file, a URL, detectron2:// and a path, or a name of torchvision's such as maskrcnn_resnet50_fpn_v2.
        out: the file to write; appears when it is whole.
        format: whose the source is; by default that is recognised.
        to: what to write; torchvision takes a checkpoint of ours.
        class_names: names of the foreground classes with commas between them, where they are not those of COCO.
        only_used_classes: leave out classes that are called N/A, as ten of torchvision's 90 on COCO are; scores then
            change by what these had.
        set: hyperparameters that the source's file does not tell, as KEY=VALUE, such as norm_epsilon=1e-5.
        allow: names of weights, or their beginnings up to a dot, that may be left out or left at initialisation.
        overwrite: replace a file that is there.
    """
    if out.exists() and not overwrite:
        raise InputError(f"{out}: is there already; give another --out, or --overwrite")
    path = local_file(source, "source")
    if to == "torchvision":
        _to_torchvision(path, out)
        return
    translation = translate(path, format)
    names = [part.strip() for part in class_names.split(",")] if class_names else None
    _choose_classes(translation, names, only_used_classes)
    translation.hyperparameters |= dict(_setting(entry) for entry in set)
    try:
        detector = _CLASSES[translation.detector](**translation.hyperparameters)
    except TypeError as error:
        raise InputError(f"--set: {translation.detector} does not take this ({error})") from error
    state = detector.state_dict()
    new = translation.fit_to(state, allow)
    detector.load_state_dict(state | translation.weights)
    save_detector(detector, out)
    config = out.with_suffix(".yaml")
    config.write_text(_configuration(translation, path, out))
    Console().print(_table(translation, new))
    print(f"{translation.format}, as {translation.detector} with {len(detector.class_names)} classes: {out}")
    print(f"Its hyperparameters, to fine-tune from it with fit --config: {config}")
    if UNUSED in detector.class_names:
        number = detector.class_names.count(UNUSED)
        print(f"{number} classes are {UNUSED}; --only_used_classes leaves them out, for data without them.")


def _choose_classes(translation: Translation, names: list[str] | None, only_used: bool) -> None:
    hyperparameters = translation.hyperparameters
    number = len(hyperparameters["class_names"])
    if names is not None:
        if "box_predictor.class_logits.weight" in translation.weights and len(names) != number:
            raise InputError(f"--class_names: {len(names)} names for the {number} classes of {translation.source}")
        hyperparameters |= {"class_names": names, "category_ids": None}
    if only_used:
        translation.keep_classes([name != UNUSED for name in hyperparameters["class_names"]])


def _setting(entry: str) -> tuple[str, Any]:
    key, separator, value = entry.partition("=")
    if not separator:
        raise InputError(f"--set {entry}: give KEY=VALUE")
    parsed = yaml.safe_load(value)
    try:  # YAML takes 1e-5 for a word
        return key, float(parsed) if isinstance(parsed, str) else parsed
    except ValueError:
        return key, parsed


def _to_torchvision(path: Path, out: Path) -> None:
    class_names = read_header(path).hyperparameters["class_names"]
    weights = read_weights(path)
    exported = torchvision.export(weights, path)
    write_whole(exported, out)
    table = Table("here", "in torchvision", "weights")
    pairs = ((_part(ours), _part(theirs)) for ours, theirs in zip(weights, exported, strict=True))
    for row, number in Counter(pairs).items():
        table.add_row(*row, str(number))
    Console().print(table)
    print(f"A state dict for torchvision's module of this architecture, num_classes={len(class_names) + 1}: {out}")


def _configuration(translation: Translation, path: Path, out: Path) -> str:
    """A part of a configuration; the classes come from the data."""
    hyperparameters = {
        key: value for key, value in translation.hyperparameters.items() if key not in ("class_names", "category_ids")
    }
    model = {"class_path": translation.detector, "init_args": {**hyperparameters, "weights": str(out)}}
    header = (
        f"# {translation.format}, converted from {path.name}: the architecture and the conventions of its weights.\n"
    )
    return header + yaml.safe_dump({"model": model}, sort_keys=False)


def _table(translation: Translation, new: list[str]) -> Table:
    table = Table("in the source", "here", "what", "weights")
    taken = (
        (_part(theirs), _part(ours), _what(translation, theirs, ours)) for theirs, ours in translation.names.items()
    )
    for row, number in Counter(taken).items():
        table.add_row(*row, str(number))
    for (part, reason), number in Counter((_part(name), why) for name, why in translation.dropped.items()).items():
        table.add_row(part, "", f"dropped: {reason}", str(number))
    for (part, value), number in Counter((_part(name), value) for name, value in translation.made.items()).items():
        table.add_row("", part, f"made: {value}", str(number))
    for part, number in Counter(map(_part, new)).items():
        table.add_row("", part, "left at initialisation", str(number))
    return table


def _what(translation: Translation, theirs: str, ours: str) -> str:
    return ", ".join(["loaded" if theirs == ours else "renamed", *filter(None, [translation.changed.get(ours)])])


def _part(name: str) -> str:
    """What the table calls a weight: the module that it belongs to, two names deep."""
    return ".".join(name.split(".")[:2])
