"""`lightning-rcnn convert`: checkpoints of torchvision, detectron2 and mmdetection to ours, and ours to theirs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console
from rich.table import Table

from lightning_rcnn.checkpoints.coco_classes import UNUSED
from lightning_rcnn.checkpoints.detectron2_profiles import ProfileName
from lightning_rcnn.checkpoints.formats import FormatName, translate
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.checkpoints.split import is_split, joined
from lightning_rcnn.checkpoints.translation import Translation
from lightning_rcnn.cli.commands.converting_back import WRITERS, folding_table, one_line_for_bad_places, part_of
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.loading import DETECTORS, from_translation, save_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save, atomic_write
from lightning_rcnn.parsing import prepare_parsing
from lightning_rcnn.plain_data import settings_keys
from lightning_rcnn.plural import plural
from lightning_rcnn.suggestions import did_you_mean_key

prepare_parsing()


def convert(
    source: str,
    /,
    out: Path,
    format: FormatName | None = None,
    profile: ProfileName | None = None,
    config: Path | None = None,
    to: Literal["lightning_rcnn", "torchvision", "detectron2"] = "lightning_rcnn",
    class_names: str | None = None,
    only_used_classes: bool = False,
    set: Sequence[str] = (),
    allow: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Convert a checkpoint of torchvision, detectron2 or mmdetection to one of ours, or one of ours back to theirs.

    Beside the weights, a checkpoint of ours has all that reproduces the outputs of its source as hyperparameters:
    resizing, channels, anchors, sampling, norms. They also stand in a YAML file of the same name, which `fit` takes as
    a --config to fine-tune from the checkpoint. A split checkpoint of a sharded training becomes one file.

    Args:
        source: a file, a URL, detectron2:// and a path, a configuration of detectron2's model zoo such as
            COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml, or a name of torchvision's such as maskrcnn_resnet50_fpn_v2.
        out: file to write, usually *.ckpt; it and the YAML file appear when they are whole.
        format: program that wrote the source, or "backbone" for ImageNet weights; recognized by default.
        profile: settings of a detectron2 model that its file does not record: detectron1 for Detectron1-Comparisons,
            lvis, or cityscapes; by default that of its folder in the model zoo, if it is one of these.
        config: configuration that the source was trained with: YAML of detectron2, also of its LazyConfig, by default
            config.yaml beside the source; or Python of mmdetection, which is never executed, by default the one in the
            source. Its sizes, thresholds, solver and input become ours, and what has no counterpart is listed.
        to: format to write; torchvision and detectron2 take a checkpoint of ours. detectron2's *.pth comes with its
            configuration, a YAML file of the same name.
        class_names: names of the foreground classes, separated by commas, if they are not COCO's.
        only_used_classes: leave out classes that are called N/A, as ten of torchvision's 90 on COCO are; scores then
            change by what these had.
        set: hyperparameters that the source's file does not record, as KEY=VALUE, such as
            backbone.norm_epsilon=1e-5.
        allow: names of weights, or their prefixes up to a dot, that may be left out or left at initialization.
        overwrite: replace existing files.
    """
    recipe = out.with_suffix(".yaml")
    if recipe == out:
        raise InputError(f"--out {out}: is where the hyperparameters go; give it another ending, such as .ckpt")
    files = [out] if to == "torchvision" else [out, recipe]
    for written in files:
        require_file(written, "--out")
        if written.exists() and not overwrite:
            raise InputError(f"{written}: is there already; give another --out, or --overwrite")
    path = local_file(source, "source")
    if to != "lightning_rcnn":
        WRITERS[to](path, out)
        return
    content = read_content(path)
    if is_split(content):
        with one_line_for_bad_places(out):
            atomic_save(joined(content, path), out)
        print(f"The checkpoint, with its weights and optimizer states in one file: {out}")
        return
    translation = translate(path, format, profile, config)
    names = [part.strip() for part in class_names.split(",")] if class_names else None
    _choose_classes(translation, names, only_used_classes)
    translation.hyperparameters = _changed(DETECTORS[translation.detector], translation.hyperparameters, set)
    detector = from_translation(translation, allow)
    with one_line_for_bad_places(out):
        save_detector(detector, out)
        with atomic_write(recipe) as file:
            file.write(_configuration(translation, path, out).encode())
    Console().print(_table(translation))
    number = len(detector.class_names)
    print(
        f"{translation.format}, as {translation.detector} with {number} {'class' if number == 1 else 'classes'}: {out}"
    )
    print(f"Its hyperparameters, to fine-tune from it with fit --config: {recipe}")
    if UNUSED in detector.class_names:
        unused = detector.class_names.count(UNUSED)
        print(f"{unused} classes are {UNUSED}; --only_used_classes leaves them out, for data without them.")
    for note in translation.notes:
        print(note)


def _choose_classes(translation: Translation, names: list[str] | None, only_used: bool) -> None:
    hyperparameters = translation.hyperparameters
    number = len(hyperparameters["class_names"])
    if names is not None:
        if "box.predictor.class_logits.weight" in translation.weights and len(names) != number:
            raise InputError(
                f"--class_names: {plural(len(names), 'name')} for the {plural(number, 'class')} of {translation.source}"
            )
        hyperparameters |= {"class_names": names, "category_ids": None}
    if only_used:
        translation.keep_classes([name != UNUSED for name in hyperparameters["class_names"]])


def _changed(kind: type[Detector], settings: dict[str, Any], entries: Sequence[str]) -> dict[str, Any]:
    """Return the settings with KEY=VALUE entries applied, each converted to the type of its setting."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, fail_untyped=False)
    for entry in entries:
        key, separator, value = entry.partition("=")
        if not separator:
            raise InputError(f"--set {entry}: give KEY=VALUE")
        known = sorted(settings_keys(kind, settings))
        if key not in known:
            raise InputError(f"--set {entry}: {kind.__name__} takes no {key}{did_you_mean_key(key, known)}")
        try:
            parsed = parser.parse_args([f"--{key}={value}"], namespace=parser.parse_object(settings))
        except ArgumentError as error:
            raise InputError(f"--set {entry}: {value!r} is no value of {key} ({_reason(error)})") from error
        top = key.partition(".")[0]
        settings = settings | {top: parsed.as_dict()[top]}
    return settings


def _reason(error: ArgumentError) -> str:
    return " ".join(str(error).split()).rpartition("Error: ")[2][:200]


def _configuration(translation: Translation, path: Path, out: Path) -> str:
    """Return a configuration of the model and, if its source tells, of a training; the classes come from the data."""
    hyperparameters = {
        key: value for key, value in translation.hyperparameters.items() if key not in ("class_names", "category_ids")
    }
    model = {"class_path": translation.detector, "init_args": {**hyperparameters, "weights": str(out.resolve())}}
    header = (
        f"# {translation.format}, converted from {path.name}: the architecture and the conventions of its weights.\n"
    )
    return header + yaml.safe_dump({"model": model, **translation.run}, sort_keys=False)


def _table(translation: Translation) -> Table:
    table = folding_table("in the source", "here", "what", "weights")
    taken = (
        (part_of(theirs), part_of(ours), _what(translation, theirs, ours)) for theirs, ours in translation.names.items()
    )
    for row, number in Counter(taken).items():
        table.add_row(*row, str(number))
    for (part, reason), number in Counter((part_of(name), why) for name, why in translation.dropped.items()).items():
        table.add_row(part, "", f"dropped: {reason}", str(number))
    for (part, value), number in Counter((part_of(name), value) for name, value in translation.made.items()).items():
        table.add_row("", part, f"made: {value}", str(number))
    for part, number in Counter(map(part_of, translation.left)).items():
        table.add_row("", part, "left at initialization", str(number))
    return table


def _what(translation: Translation, theirs: str, ours: str) -> str:
    return ", ".join(["loaded" if theirs == ours else "renamed", *filter(None, [translation.changed.get(ours)])])
