"""Detectors from and to checkpoint files."""

import importlib
from pathlib import Path
from typing import Any

import lightning

from lightning_rcnn.checkpoints.header import first_mismatch, read_header
from lightning_rcnn.checkpoints.writing import write_whole
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.errors import InputError


def load_detector(path: str | Path) -> Detector:
    """The detector in a checkpoint, on the CPU, in evaluation mode.

    Raises:
        InputError: see `read_header`; or the class cannot be imported, or its weights don't fit it.
    """
    class_path = read_header(path).class_path
    module, _, name = class_path.rpartition(".")
    try:
        detector_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: its model {class_path} cannot be imported ({error})") from error
    if not (isinstance(detector_class, type) and issubclass(detector_class, Detector)):
        raise InputError(f"{path}: its model {class_path} is no detector")
    try:
        detector = detector_class.load_from_checkpoint(path, map_location="cpu")
    except RuntimeError as error:
        raise InputError(f"{path}: its weights do not fit {name} of this version: {first_mismatch(error)}") from error
    except TypeError as error:
        raise InputError(f"{path}: its hyperparameters are not those of {name} of this version: {error}") from error
    return detector.eval()


def save_detector(detector: Detector, path: Path) -> None:
    """Write a checkpoint that holds a detector and no state of a training; the file appears when it is whole."""
    checkpoint: dict[str, Any] = {
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
        "state_dict": detector.state_dict(),
        "hyper_parameters": dict(detector.hparams),
        "hparams_name": "kwargs",
    }
    detector.on_save_checkpoint(checkpoint)
    write_whole(checkpoint, path)
