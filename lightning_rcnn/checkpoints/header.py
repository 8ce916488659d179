"""Header of our own checkpoint files: class, hyperparameters and precision of the detector."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.checkpoints.missing import describe_missing
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save

_SIZES = re.compile(
    r"size mismatch for (?P<name>\S+): copying a param with shape torch\.Size\(\[(?P<there>.*?)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[(?P<here>.*?)\]\)"
)
_MISSING = re.compile(r'(?P<side>Missing|Unexpected) key\(s\) in state_dict: "(?P<name>[^"]+)"')

CLASS_PATH_KEY = "class_path"
"""Key of a checkpoint for the class of its detector."""
PRECISION_KEY = "precision"
"""Key of a checkpoint for the precision of its training."""
THRESHOLDS_KEY = "score_thresholds"
"""Key of a checkpoint for the scores with the best F1 in its last evaluation."""


class CheckpointHeader(NamedTuple):
    """Description of the model in a checkpoint.

    Attributes:
        class_path: import path of the detector's class.
        hyperparameters: arguments of its constructor.
        has_training: whether a training can resume from it; not from a converted checkpoint.
        precision: precision of the training, as Lightning names it; None if the file does not record it.
        thresholds: `score` with the best F1 over all classes, its `f1`, and scores `per_class` by name, from the last
            evaluation; empty if there was none.
    """

    class_path: str
    hyperparameters: dict[str, Any]
    has_training: bool
    precision: str | None
    thresholds: dict[str, Any]


def read_header(path: str | Path) -> CheckpointHeader:
    """Read the header of a checkpoint; its tensors stay in the file.

    Raises:
        InputError: no such file, not a checkpoint, or not one of ours.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: {describe_missing(Path(path))}")
    checkpoint = read_content(Path(path))
    if not is_ours(checkpoint):
        raise InputError(
            f"{path}: not a checkpoint of lightning-rcnn; give one that `fit` wrote, or `convert` one of "
            "torchvision's or detectron2's"
        )
    return header_in(checkpoint)


def write_thresholds(path: Path, thresholds: dict[str, Any]) -> None:
    """Store thresholds in a checkpoint; it is replaced when the new file is complete.

    Raises:
        InputError: see `read_content`.
        OSError: it cannot be written; it stays as it was.
    """
    atomic_save({**read_content(path), THRESHOLDS_KEY: thresholds}, path)


def position_of(path: str | Path) -> tuple[int, int]:
    """Return the epoch and the step of the training that a checkpoint was written at; 0 where it does not say."""
    content = read_content(Path(path))
    return int(content.get("epoch", 0)), int(content.get("global_step", 0))


def is_ours(content: Any) -> bool:
    """Tell whether the content of a file is a checkpoint of ours."""
    return (
        isinstance(content, dict)
        and isinstance(content.get(CLASS_PATH_KEY), str)
        and isinstance(content.get("hyper_parameters"), dict)
    )


def header_in(checkpoint: dict[str, Any]) -> CheckpointHeader:
    """Return the header from the content of a checkpoint of ours."""
    return CheckpointHeader(
        checkpoint[CLASS_PATH_KEY],
        dict(checkpoint["hyper_parameters"]),
        "optimizer_states" in checkpoint,
        checkpoint.get(PRECISION_KEY),
        dict(checkpoint.get(THRESHOLDS_KEY, {})),
    )


def first_mismatch(error: RuntimeError) -> str:
    """Return the first mismatch of a torch error on loading a state dict: the name of the weight and both shapes."""
    lines = [line.strip() for line in str(error).splitlines()[1:]]
    for line in sorted(lines, key=lambda line: not line.startswith("size mismatch")):
        if sizes := _SIZES.match(line):
            return shape_mismatch(sizes["name"], _numbers(sizes["there"]), _numbers(sizes["here"]))
        if missing := _MISSING.match(line):
            where = "only the model" if missing["side"] == "Missing" else "only the checkpoint"
            return f"{where} has {missing['name']}"
    return " ".join(str(error).split())


def shape_mismatch(name: str, there: Sequence[int], here: Sequence[int]) -> str:
    """Describe a weight with one shape in a checkpoint (`there`) and another in the model (`here`)."""
    return f"{name} is {list(there)} in the checkpoint and {list(here)} in the model"


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number.strip()]
