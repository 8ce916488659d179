"""Lightning's loggers by their names, as ours that keep to the run folder and continue after a restart."""

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import yaml

from lightning_rcnn.callbacks import csv_logging, mlflow_logging, tensorboard_logging, wandb_logging
from lightning_rcnn.class_paths import class_path
from lightning_rcnn.errors import require_extra
from lightning_rcnn.plain_data import CLASS_PATH

KEY = "trainer.logger"
FLAGS = (f"--{KEY}", f"--{KEY}+", f"--{KEY}.{CLASS_PATH}")
MODULES = ("", "lightning.pytorch.loggers", "pytorch_lightning.loggers")
"""Modules under which Lightning's loggers are named; "" for a short name."""


class Kind(NamedTuple):
    """A logger of ours, and the package and the extra that it needs, if it needs any."""

    path: str
    package: str = ""
    extra: str = ""


KINDS = {
    "WandbLogger": Kind(class_path(wandb_logging.DetectionWandbLogger)),
    "CSVLogger": Kind(class_path(csv_logging.DetectionCSVLogger)),
    "TensorBoardLogger": Kind(
        class_path(tensorboard_logging.DetectionTensorBoardLogger),
        tensorboard_logging.PACKAGE,
        tensorboard_logging.EXTRA,
    ),
    "MLFlowLogger": Kind(
        class_path(mlflow_logging.DetectionMLFlowLogger), mlflow_logging.PACKAGE, mlflow_logging.EXTRA
    ),
}


def with_our_loggers(value: Any) -> Any:
    """Return the value of `trainer.logger`, a class or a list of classes, with ours for Lightning's.

    Raises:
        InputError: the package of a logger is missing.
    """
    if isinstance(value, list):
        return [with_our_loggers(item) for item in value]
    if isinstance(value, Mapping):
        return {**value, CLASS_PATH: with_our_loggers(value[CLASS_PATH])} if CLASS_PATH in value else value
    if value is True:  # as Lightning chooses
        return with_our_loggers("TensorBoardLogger" if find_spec("tensorboard") else "CSVLogger")
    if not isinstance(value, str):
        return value
    module, _, name = value.rpartition(".")
    is_lightnings = any(module == known or (known and module.startswith(f"{known}.")) for known in MODULES)
    kind = KINDS.get(name.removeprefix("Detection"))
    if kind is None or not (is_lightnings or module.startswith("lightning_rcnn.")):
        return value
    if kind.package:
        require_extra(kind.package, kind.extra, f"{KEY} {name}")
    return kind.path


def replace_loggers(content: dict[str, Any]) -> None:
    """Put ours for Lightning's into the content of configuration files."""
    trainer = content.get("trainer")
    if isinstance(trainer, dict) and "logger" in trainer:
        trainer["logger"] = with_our_loggers(trainer["logger"])


def flags_with_our_loggers(flags: list[str]) -> list[str]:
    """Return the flags of a command with ours for Lightning's."""
    return list(_replaced(flags))


def _replaced(flags: list[str]) -> Iterator[str]:
    is_value = False
    for word in flags:
        flag, separator, value = word.partition("=")
        if is_value:
            yield _flag_value(word)
        elif separator and flag in FLAGS:
            yield f"{flag}={_flag_value(value)}"
        else:
            yield word
        is_value = not is_value and word in FLAGS


def _flag_value(text: str) -> str:
    """Replace loggers in a flag's value, a name or JSON."""
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    replaced = with_our_loggers(content)
    return text if replaced == content else replaced if isinstance(replaced, str) else json.dumps(replaced)
