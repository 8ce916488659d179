"""Detectors from and to checkpoint files."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import lightning

from lightning_rcnn.checkpoints.formats import translate
from lightning_rcnn.checkpoints.header import first_mismatch, is_ours, read_header
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.checkpoints.translation import DetectorName, Translation
from lightning_rcnn.class_paths import import_path
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save

DETECTORS: dict[DetectorName, type[FasterRCNN] | type[MaskRCNN]] = {"FasterRCNN": FasterRCNN, "MaskRCNN": MaskRCNN}
"""Those that checkpoints from elsewhere hold."""


def load_detector(path: str | Path) -> Detector:
    """The detector in a checkpoint, on the CPU, in evaluation mode.

    Raises:
        InputError: see `read_header`; or the class cannot be imported, or its weights don't fit it.
    """
    class_path = read_header(path).class_path
    detector_class = import_path(class_path, f"{path}: its model")
    if not (isinstance(detector_class, type) and issubclass(detector_class, Detector)):
        raise InputError(f"{path}: its model {class_path} is no detector")
    name = detector_class.__name__
    try:
        detector = detector_class.load_from_checkpoint(path, map_location="cpu")
    except RuntimeError as error:
        raise InputError(f"{path}: its weights do not fit {name} of this version: {first_mismatch(error)}") from error
    except (InputError, TypeError) as error:
        raise InputError(f"{path}: its settings are not those of {name} of this version: {error}") from error
    return detector.eval()


def load(source: str | Path) -> Detector:
    """Load a detector, whoever trained it, on the CPU, in evaluation mode.

    Args:
        source: a checkpoint of ours, torchvision's or detectron2's as a file or URL, `detectron2://` and a path, or a
            name of torchvision's such as "maskrcnn_resnet50_fpn_v2".

    Raises:
        InputError: nothing to be had there, or no detector that is known.
    """
    path = local_file(str(source), "source")
    if is_ours(read_content(path)):
        return load_detector(path)
    return from_translation(translate(path)).eval()


def from_translation(translation: Translation, allow: Collection[str] = ()) -> Detector:
    """Build the detector that a foreign checkpoint holds.

    Args:
        translation: see there; it also notes what stays at initialization.
        allow: as in `Translation.fit_to`.

    Raises:
        InputError: weights are left over or missing.
    """
    detector = DETECTORS[translation.detector](**translation.hyperparameters)
    state = detector.state_dict()
    translation.left = translation.fit_to(state, allow)
    detector.load_state_dict(state | translation.weights)
    return detector


def save_detector(detector: Detector, path: Path) -> None:
    """Write a checkpoint that holds a detector and no state of a training; the file appears when it is whole."""
    checkpoint: dict[str, Any] = {
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
        "state_dict": detector.state_dict(),
    }
    detector.on_save_checkpoint(checkpoint)
    atomic_save(checkpoint, path)
