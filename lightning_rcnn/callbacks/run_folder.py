"""The run folder of a trainer."""

from pathlib import Path

from lightning.pytorch import Trainer

from lightning_rcnn.data.stores.addresses import is_remote
from lightning_rcnn.errors import InputError


def run_folder(trainer: Trainer) -> Path:
    """Return the folder for all files of the run; the command line sets it as `default_root_dir`.

    Raises:
        InputError: it is a URL.
    """
    if is_remote(str(trainer.default_root_dir)):
        raise InputError(
            f"trainer.default_root_dir {trainer.default_root_dir}: files of a run are written to a folder; give one, "
            "or the URL to `lightning-rcnn fit` as --run_dir, which keeps a copy"
        )
    return Path(trainer.default_root_dir)
