"""Loading and saving of detectors."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.checkpoints.formats import translate
from lightning_rcnn.checkpoints.header import first_mismatch, is_ours, read_header
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.checkpoints.sources import checkpoint_file, local_file
from lightning_rcnn.checkpoints.split import WEIGHTS, with_values
from lightning_rcnn.checkpoints.translation import DetectorName, Translation
from lightning_rcnn.class_paths import import_path
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN, CascadeRCNN
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.keypoint_rcnn import KeypointRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.point_rend import PointRend
from lightning_rcnn.detectors.proposal_network import ProposalNetwork
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save

DETECTORS: dict[DetectorName, type[Detector]] = {
    "ProposalNetwork": ProposalNetwork,
    "FastRCNN": FastRCNN,
    "FasterRCNN": FasterRCNN,
    "MaskRCNN": MaskRCNN,
    "CascadeRCNN": CascadeRCNN,
    "CascadeMaskRCNN": CascadeMaskRCNN,
    "PointRend": PointRend,
    "KeypointRCNN": KeypointRCNN,
}
"""Detectors that foreign checkpoints hold."""


def load_detector(path: str | Path) -> Detector:
    """Load the detector of a checkpoint of ours, on the CPU, in evaluation mode.

    Args:
        path: file, or its URL.

    Raises:
        InputError: see `checkpoint_file` and `read_header`; or the class cannot be imported, or its weights do not fit.
    """
    path = Path(checkpoint_file(path))
    header = read_header(path)
    class_path = header.class_path
    detector_class = import_path(class_path, f"{path}: its model")
    if not (isinstance(detector_class, type) and issubclass(detector_class, Detector)):
        raise InputError(f"{path}: its model {class_path} is not a detector")
    name = detector_class.__name__
    try:
        detector = detector_class(**header.hyperparameters)
        content = with_values(read_content(path), path, WEIGHTS[:1])
        detector.on_load_checkpoint(content)
        detector.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise InputError(f"{path}: its weights do not fit {name} of this version: {first_mismatch(error)}") from error
    except (InputError, TypeError) as error:
        raise InputError(f"{path}: its settings are not those of {name} of this version: {error}") from error
    return detector.eval()


def load(source: str | Path) -> Detector:
    """Load a detector of ours, torchvision's or detectron2's, on the CPU, in evaluation mode.

    What a foreign file does not record is assumed as `lightning-rcnn convert` does, and logged.

    Args:
        source: file or URL of a checkpoint, `detectron2://` and a path, or torchvision's name such as
            "maskrcnn_resnet50_fpn_v2".

    Raises:
        InputError: the source cannot be read, or its detector is unknown.
    """
    path = local_file(str(source), "source")
    if is_ours(read_content(path)):
        return load_detector(path)
    translation = translate(path)
    for note in translation.notes:
        rank_zero_info(f"{path.name}: {note}")
    return from_translation(translation).eval()


def from_translation(translation: Translation, allow: Collection[str] = ()) -> Detector:
    """Build the detector of a foreign checkpoint.

    Args:
        translation: the translated checkpoint; its `left` is set to the weights that stay initialized.
        allow: as in `Translation.fit_to`.

    Raises:
        InputError: weights are unexpected or missing.
    """
    detector = DETECTORS[translation.detector](**translation.hyperparameters)
    state = detector.state_dict()
    translation.left = translation.fit_to(state, allow)
    detector.load_state_dict(state | translation.weights)
    return detector


def save_detector(detector: Detector, path: Path) -> None:
    """Write a checkpoint with the detector and no training state, atomically."""
    checkpoint: dict[str, Any] = {
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
        "state_dict": detector.state_dict(),
    }
    detector.on_save_checkpoint(checkpoint)
    atomic_save(checkpoint, path)
