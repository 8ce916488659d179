"""The parser of the training commands, and the trainer whose options it shows."""

import json
import re
from typing import Any, Literal

from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from lightning_rcnn.precision import AUTO


class RunTrainer(Trainer):
    """Lightning's trainer as the command line describes it: its precision may be "auto"."""

    def __init__(self, *, precision: _PRECISION_INPUT | Literal["auto"] | None = AUTO, **kwargs: Any) -> None:
        super().__init__(precision=precision, **kwargs)  # type: ignore[arg-type]  # "auto" is decided before


class ParserError(Exception):
    """An error of jsonargparse, in its words."""


class TrainingParser(LightningArgumentParser):
    """Lightning's parser, which raises its errors instead of printing them."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise the error.

        Raises:
            ParserError: always.
        """
        raise ParserError(message) from ex


def as_yaml(content: dict[str, Any]) -> str:
    """Write a configuration as JSON that YAML reads too: YAML rejects an emoji escaped as two surrogates."""
    text = json.dumps(content, default=str, ensure_ascii=False)
    return re.sub(r"[\x7f-\uffff]", lambda letter: f"\\u{ord(letter[0]):04x}", text)
