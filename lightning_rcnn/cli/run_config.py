"""The configuration of a run, saved in its folder."""

import re
from pathlib import Path

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write

CONFIG = "config.yaml"


class SaveRunConfig(SaveConfigCallback):
    """Writes the whole configuration to `config.yaml` in the run folder, and sends it to the loggers.

    The file repeats the run: `lightning-rcnn fit --config RUN/config.yaml`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Do nothing yet: a refused start leaves the file as it is."""

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
        """Write the file and tell the loggers; called on rank 0 only."""
        text = self._as_text()
        with atomic_write(Path(trainer.default_root_dir) / CONFIG) as file:
            file.write(text.encode())
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(text))

    def _as_text(self) -> str:
        """Return the configuration as YAML.

        Raises:
            InputError: YAML cannot hold a value; jsonargparse would only warn and write that text instead.
        """
        text = self.parser.dump(self.config)
        unwritten = re.search(r"(\w+): Unable to serialize instance (.*)", text)
        if unwritten:
            name, value = unwritten.groups()
            raise InputError(
                f"{CONFIG} cannot hold {name} {value}: take a class whose arguments are numbers, text or lists"
            )
        return text
