"""The configuration of a run, kept with what it produced."""

import re
from pathlib import Path

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.errors import InputError

CONFIG = "config.yaml"


class SaveRunConfig(SaveConfigCallback):
    """Writes the whole configuration to `config.yaml` in the run folder, and tells the loggers.

    The file gives the same run again: `lightning-rcnn fit --config RUN/config.yaml`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wait: a start that is refused leaves the file as it is."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save before the first step."""
        super().setup(trainer, pl_module, "fit")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save before the first batch, unless the validation is part of a training."""
        if trainer.state.fn != TrainerFn.FITTING:
            super().setup(trainer, pl_module, trainer.state.fn or "")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save before the first batch."""
        super().setup(trainer, pl_module, "test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save before the first batch."""
        super().setup(trainer, pl_module, "predict")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write and tell; called on the first rank only."""
        text = self._as_text()
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{CONFIG}.partial"
        partial.write_text(text)
        partial.replace(folder / CONFIG)
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(text))

    def _as_text(self) -> str:
        """The configuration as YAML.

        Raises:
            InputError: a value has no form in YAML; jsonargparse would only warn, and write that it could not.
        """
        text = self.parser.dump(self.config)
        unwritten = re.search(r"(\w+): Unable to serialize instance (.*)", text)
        if unwritten:
            name, value = unwritten.groups()
            raise InputError(
                f"{CONFIG} cannot hold {name} {value}: take a class whose arguments are numbers, text or lists"
            )
        return text
