"""Resuming a run folder: with which settings, and whether anything is left to do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.cli.run_settings import is_finished
from lightning_rcnn.errors import InputError


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
