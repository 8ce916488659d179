"""Starting in a run folder that has been used: with which settings, and whether anything is left to do."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.callbacks.mlflow_logging import RUN_ID as MLFLOW_RUN_ID
from lightning_rcnn.callbacks.wandb_logging import BEST_VALIDATION
from lightning_rcnn.callbacks.wandb_runs import RUN_ID
from lightning_rcnn.cli.run_settings import is_finished
from lightning_rcnn.errors import InputError
from lightning_rcnn.launchers import healing_job

IDENTITY = (RUN_ID, BEST_VALIDATION, MLFLOW_RUN_ID)
"""Files in a run folder that say which run of a logger it is, and what that run has in its summary."""


class Finished(Exception):  # noqa: N818  # it is no error
    """The training has nothing left to do."""


def check_resume(run_dir: Path, checkpoint: Path, trainer: Mapping[str, Any], changes: Sequence[str]) -> None:
    """Log the changed settings of a run that resumes; stop one that is finished.

    Args:
        run_dir: folder of the run.
        checkpoint: file to resume from.
        trainer: the trainer's settings.
        changes: settings that differ from the run's, as "key before -> now".

    Raises:
        Finished: nothing is left to do.
        InputError: nothing is left to do, but the settings differ: another training was meant.
    """
    listed = ", ".join(changes)
    if not is_finished(checkpoint, trainer):
        if listed:
            rank_zero_info(f"{run_dir} resumes with changed settings: {listed}.")
        return
    if listed:
        raise InputError(
            f"{run_dir} is a finished training with other settings: {listed}; name another folder with --run_dir, or "
            "resume with more --trainer.max_epochs or max_steps"
        )
    raise Finished(f"{run_dir} is finished; raise --trainer.max_epochs or max_steps to resume it.")


def begin_other_run(run_dir: Path, checkpoint: Path | None, changes: Sequence[str]) -> None:
    """Let loggers begin a new run, if a training starts from scratch where one with other settings has begun.

    The rows of both would be in one run: of a first start that failed, or of another configuration of the same name.
    Ranks that `lightning_rcnn.healing` starts again are of one training: they have larger batches after a loss.

    Args:
        run_dir: folder of the run.
        checkpoint: file to resume from; None for a training from scratch.
        changes: settings that differ from the run's, as "key before -> now".
    """
    known = [run_dir / name for name in IDENTITY if (run_dir / name).exists()]
    if checkpoint is not None or not changes or not known or healing_job(os.environ):
        return
    for path in known:
        path.unlink()
    rank_zero_info(
        f"{run_dir} has no checkpoint, and was begun with other settings: {', '.join(changes)}. "
        "The training starts from scratch, as a new run of its loggers."
    )
