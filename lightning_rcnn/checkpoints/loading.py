"""Our own checkpoint files: which detector they hold, and the detector itself."""

import importlib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_rcnn.detectors.base import CLASS_PATH_KEY, Detector
from lightning_rcnn.errors import InputError


class CheckpointHeader(NamedTuple):
    """What a checkpoint says about its model.

    Attributes:
        class_path: import path of the detector's class.
        hyperparameters: arguments of its constructor.
    """

    class_path: str
    hyperparameters: dict[str, Any]


def read_header(path: str | Path) -> CheckpointHeader:
    """Class and hyperparameters of a checkpoint; its tensors are not read.

    Raises:
        InputError: no such file, not a checkpoint, or not one of ours.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a checkpoint, or a damaged one")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for a file that is not one of its own
        raise InputError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]})") from error
    if not isinstance(checkpoint, dict) or CLASS_PATH_KEY not in checkpoint:
        raise InputError(f"{path}: not a checkpoint of lightning-rcnn; those that `fit` writes are")
    hyperparameters = dict(checkpoint["hyper_parameters"])
    # Lightning's own notes on how the command line built the model.
    hyperparameters.pop("_instantiator", None)
    hyperparameters.pop("_class_path", None)
    return CheckpointHeader(checkpoint[CLASS_PATH_KEY], hyperparameters)


def load_detector(path: str | Path) -> Detector:
    """The detector in a checkpoint, on the CPU, in evaluation mode.

    Raises:
        InputError: see `read_header`; or the class cannot be imported, or its weights don't fit it.
    """
    class_path = read_header(path).class_path
    module, _, name = class_path.rpartition(".")
    try:
        detector_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{path}: its model {class_path} cannot be imported ({error})") from error
    if not (isinstance(detector_class, type) and issubclass(detector_class, Detector)):
        raise InputError(f"{path}: its model {class_path} is no detector")
    try:
        detector = detector_class.load_from_checkpoint(path, map_location="cpu")
    except RuntimeError as error:
        raise InputError(f"{path}: its weights do not fit {name} of this version: {first_mismatch(error)}") from error
    return detector.eval()


def first_mismatch(error: RuntimeError) -> str:
    """The first of the keys that torch lists where weights do not fit a module."""
    return next((line.strip().partition(",")[0] for line in str(error).splitlines()[1:]), str(error))
