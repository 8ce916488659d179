"""The configuration of a run, saved in its folder."""

import re
from pathlib import Path
from typing import Any, TypeGuard

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.callbacks.run_facts import run_facts
from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.callbacks.wandb_runs import RUN_ID
from lightning_rcnn.cli.rank_settings import require_same_settings
from lightning_rcnn.cli.run_loggers import KINDS
from lightning_rcnn.cli.run_paths import CONFIG
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write
from lightning_rcnn.plain_data import CLASS_PATH


class SaveRunConfig(SaveConfigCallback):
    """Writes the whole configuration to `config.yaml` in the run folder, and sends it to the loggers.

    The file repeats the run: `lightning-rcnn fit --config RUN/config.yaml`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare the settings of all ranks; save nothing yet: a refused start leaves the file as it is.

        Raises:
            InputError: a rank of a training has other settings than rank 0.
        """
        if stage == "fit":
            require_same_settings(yaml.safe_load(self._as_text()))

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
        with atomic_write(run_folder(trainer) / CONFIG) as file:
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


def loggers_of(run_dir: Path) -> list[dict[str, Any]]:
    """Return the settings of those loggers of the training in a run folder that can log more into its run."""
    config = run_dir / CONFIG
    if not config.is_file():
        return []
    given = ((yaml.safe_load(config.read_text()) or {}).get("trainer") or {}).get("logger")
    return [one for one in (given if isinstance(given, list) else [given]) if _continues(one, run_dir)]


def _continues(logger: Any, run_dir: Path) -> TypeGuard[dict[str, Any]]:
    """Tell whether a logger of a configuration is one of ours, and in W&B has a run."""
    # The path may be that of the package that exports it.
    name = logger[CLASS_PATH].rpartition(".")[2] if isinstance(logger, dict) else None
    if name == DetectionWandbLogger.__name__:
        return (run_dir / RUN_ID).is_file()
    return name in {kind.path.rpartition(".")[2] for kind in KINDS.values()}
