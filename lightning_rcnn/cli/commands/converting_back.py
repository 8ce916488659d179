"""The way back of `convert`: checkpoints of ours to torchvision's and detectron2's layouts."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_rcnn.checkpoints import detectron2_export, torchvision
from lightning_rcnn.checkpoints.configs.detectron2_differences import other_conventions, other_rules_of_training
from lightning_rcnn.checkpoints.configs.detectron2_writing import config_of
from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.checkpoints.reading import read_weights
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save, atomic_write

_STAGE = re.compile(r"(layer\d|res\d|(res_)?conv1|bn1|stem|fc)(?=[._\d])")


def to_torchvision(path: Path, out: Path) -> None:
    """Write a state dict for torchvision's module of the same architecture, and report.

    Args:
        path: checkpoint of ours.
        out: file to write.

    Raises:
        InputError: torchvision has no such detector, or the file cannot be written.
    """
    hyperparameters = read_header(path).hyperparameters
    file = read_weights(path)
    exported = torchvision.export(file)
    with one_line_for_bad_places(out):
        atomic_save(exported, out)
    _report(file.weights, exported, "torchvision")
    number = len(hyperparameters["class_names"]) + 1
    print(f"A state dict for torchvision's module of this architecture, num_classes={number}: {out}")
    _report_differences(torchvision.other_conventions(hyperparameters))


def to_detectron2(path: Path, out: Path) -> None:
    """Write weights and a configuration for detectron2, and report.

    Args:
        path: checkpoint of ours.
        out: file to write; the configuration is a YAML file of the same name.

    Raises:
        InputError: detectron2 has no such detector, or a file cannot be written.
    """
    hyperparameters = read_header(path).hyperparameters
    file = read_weights(path)
    exported = detectron2_export.export(file)
    if "rpn" not in hyperparameters:
        raise InputError(f"{path}: has no region proposal network; only detectors with one are written for detectron2")
    recipe = out.with_suffix(".yaml")
    config = config_of(hyperparameters)
    config["MODEL"]["WEIGHTS"] = str(out.resolve())
    with one_line_for_bad_places(out):
        atomic_save({"model": exported}, out)
        with atomic_write(recipe) as written:
            written.write(yaml.safe_dump(config, sort_keys=False).encode())
    _report(file.weights, exported, "detectron2")
    print(f"Weights for detectron2: {out}; its configuration: {recipe}")
    _report_differences(other_conventions(hyperparameters))
    if rules := other_rules_of_training(hyperparameters):
        print(f"A training there goes by other rules: the weights were trained with {', '.join(rules)}.")


WRITERS: dict[str, Callable[[Path, Path], None]] = {"torchvision": to_torchvision, "detectron2": to_detectron2}
"""Program -> function that writes its layout."""


def _report(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], program: str) -> None:
    table = folding_table("here", f"in {program}", "weights")
    kept = [name for name in ours if not name.endswith(detectron2_export.COUNTS)]
    pairs = ((part_of(name), part_of(other)) for name, other in zip(kept, theirs, strict=True))
    for row, number in Counter(pairs).items():
        table.add_row(*row, str(number))
    Console().print(table)


def _report_differences(differences: Sequence[str]) -> None:
    if differences:
        print(f"It will not find the same: the weights were made with {', '.join(differences)}.")


@contextmanager
def one_line_for_bad_places(out: Path) -> Iterator[None]:
    """Turn an error on writing into one line that names the option."""
    try:
        yield
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error})") from error


def folding_table(*headings: str) -> Table:
    """Return a table that folds long names instead of cutting them."""
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def part_of(name: str) -> str:
    """Return the name of a weight in a table: its module, two names deep; for a ResNet alone, the stage."""
    stage = _STAGE.match(name)
    return stage[0] if stage else ".".join(name.split(".")[:2])
