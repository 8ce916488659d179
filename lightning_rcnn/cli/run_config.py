"""The configuration of a run, saved in its folder."""

import re
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.callbacks.run_facts import run_facts
from lightning_rcnn.callbacks.wandb_logging import RUN_ID, DetectionWandbLogger
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
        if trainer.state.fn != TrainerFn.FITTING:  # which log into the run of a training
            return
        for logger in trainer.loggers:
            logger.log_hyperparams({**yaml.safe_load(text), **run_facts(trainer)})

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


def wandb_logger_of(run_dir: Path) -> dict[str, Any] | None:
    """Return the settings of the W&B logger that the training in a run folder logged to; None if there is none."""
    config = run_dir / CONFIG
    if not (run_dir / RUN_ID).is_file() or not config.is_file():
        return None
    logger = ((yaml.safe_load(config.read_text()) or {}).get("trainer") or {}).get("logger")
    # The path may be that of the package that exports it.
    is_ours = isinstance(logger, dict) and logger["class_path"].rpartition(".")[2] == DetectionWandbLogger.__name__
    return logger if is_ours else None
