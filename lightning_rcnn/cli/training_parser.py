"""The parser of the training commands, and the trainer whose options it shows."""

import json
import re
from pathlib import Path
from typing import Any, Literal

from jsonargparse import set_parsing_settings
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from lightning_rcnn.precision import AUTO

# Lightning has jsonargparse open whatever looks like a URL, shards among them, as if it were a configuration file.
set_parsing_settings(config_read_mode_fsspec_enabled=False)


class RunTrainer(Trainer):
    """Lightning's trainer.

    This is how the command line describes it: its precision may be "auto", and it can `show`.
    """

    def __init__(self, *, precision: _PRECISION_INPUT | Literal["auto"] | None = AUTO, **kwargs: Any) -> None:
        super().__init__(precision=precision, **kwargs)  # type: ignore[arg-type]  # "auto" is decided before

    @staticmethod
    def show(
        model: LightningModule,
        datamodule: LightningDataModule,
        out: str | None = None,
        batches: PositiveInt = 4,
        epoch: NonNegativeInt = 0,
    ) -> None:
        """Draw the batches that training gets, with the anchors that match, and count what becomes of the objects.

        Args:
            model: detector.
            datamodule: data module.
            out: Folder for the sheets, one for each batch; required.
            batches: Number of batches.
            epoch: Epoch, from 0; each has other draws.
        """
        from lightning_rcnn.cli.commands.show import show_batches

        assert out is not None, "checked with the configuration"
        show_batches(model, datamodule, Path(out), batches, epoch)  # type: ignore[arg-type]


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
