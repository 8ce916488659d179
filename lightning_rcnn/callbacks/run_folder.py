"""Where a run keeps its files."""

from pathlib import Path

from lightning.pytorch import Trainer


def run_folder(trainer: Trainer) -> Path:
    """The folder for all that the run writes; the command line sets it as the trainer's `default_root_dir`."""
    return Path(trainer.default_root_dir)
