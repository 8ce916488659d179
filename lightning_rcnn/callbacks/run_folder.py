"""The run folder of a trainer."""

from pathlib import Path

from lightning.pytorch import Trainer


def run_folder(trainer: Trainer) -> Path:
    """Return the folder for all files of the run; the command line sets it as `default_root_dir`."""
    return Path(trainer.default_root_dir)
