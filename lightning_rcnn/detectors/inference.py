"""Inference on images of any size, shared by Python and the command line.

Shape letters: N images, D detections.
"""

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.detectors.given_proposals import searched_proposals
from lightning_rcnn.detectors.preprocessing import Preprocessing
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.postprocess import to_original_frame
from lightning_rcnn.plural import plural
from lightning_rcnn.structures import Detections, Inputs, Proposals


class Predictor(Protocol):
    """Interface of a detector that inference needs."""

    class_names: list[str]
    preprocessing: Preprocessing
    proposal_limit: int
    search: Callable[[Tensor], np.ndarray] | None
    training: bool

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections and proposals; see `Detector.predict`."""

    def train(self, mode: bool = True) -> object:
        """Set the mode; see `torch.nn.Module.train`."""


@torch.inference_mode()
def detect_tensors(
    detector: Predictor,
    images: Sequence[Tensor],
    threshold: float | Sequence[float] = 0.5,
    batch_size: int = 1,
    resize: Callable[[Tensor], Tensor] | None = None,
) -> list[Detections]:
    """Find objects in tensors [C, h, w] of the detector's pixel format; masks stay grids in their boxes.

    Args:
        detector: the detector; its mode (training or evaluation) is restored.
        images: tensors of any sizes.
        threshold: minimum score of detections, 0 to 1; one for all classes, or one for each of labels 1..K.
        batch_size: number of images in one pass of the network, if their inputs have the same size.
        resize: function that resizes an image for the network; by default the detector's own rule.

    Returns:
        One `Detections` per image, N = 1, in the frame of the image.

    Raises:
        InputError: a threshold or the batch size is out of range, or there is not one threshold for each class.
    """
    minimum = least_scores(threshold, detector.class_names)
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise InputError(f"batch_size {batch_size!r}: a whole number, at least 1")
    was_training = detector.training
    detector.train(False)
    try:
        return _detect_in_batches(detector, images, minimum, batch_size, resize or detector.preprocessing.resize)
    finally:
        detector.train(was_training)


def least_scores(threshold: float | Sequence[float], class_names: Sequence[str]) -> Tensor:
    """Return the minimum score of each label, float64 [K + 1]; label 0, the background, has 1.

    Raises:
        InputError: a threshold is out of range, or there is not one for each class.
    """
    is_one = isinstance(threshold, str) or not isinstance(threshold, Sequence)
    thresholds: list[Any] = [threshold] * len(class_names) if is_one else list(threshold)  # type: ignore[arg-type]
    for one in thresholds:
        if not isinstance(one, Real) or not 0 <= float(one) <= 1:
            raise InputError(f"threshold {one!r}: a score is from 0 to 1")
    if len(thresholds) != len(class_names):
        raise InputError(
            f"{plural(len(thresholds), 'threshold')} for {plural(len(class_names), 'class')}: give one, or one for "
            "each class"
        )
    return torch.tensor([1.0, *thresholds], dtype=torch.float64)


def inputs_of(detector: Predictor, images: Sequence[Tensor], resized: Sequence[Tensor] | None = None) -> Inputs:
    """Resize and pad images [C, h, w] of one padded size, and search proposals if the detector needs them.

    Args:
        detector: the detector whose preprocessing and search apply.
        images: images in the original frame; none if they are resized already and the detector searches no proposals.
        resized: the same images in the resized frame, if they are resized already.
    """
    inputs = detector.preprocessing.batch(resized or [detector.preprocessing.resize(image) for image in images])
    if detector.search is None:
        return inputs
    pixels = detector.preprocessing.pixels
    searched = [detector.search(shown_bands(image.cpu(), pixels)) for image in images]
    sizes = torch.tensor(_sizes(images), device=inputs.image_sizes.device)
    proposals = searched_proposals(searched, detector.proposal_limit, sizes, inputs.image_sizes)
    return inputs._replace(proposals=proposals)


def detect_batch(
    detector: Predictor, inputs: Inputs, sizes: Sequence[tuple[int, int]], minimum: Tensor
) -> list[Detections]:
    """Find objects in one pass of the network; the detector is in evaluation mode.

    Args:
        detector: the detector.
        inputs: images in the resized frame, see `inputs_of`.
        sizes: height and width of each image in the original frame, pixels.
        minimum: minimum score of each label, see `least_scores`.

    Returns:
        One `Detections` per image, N = 1, in the original frame.
    """
    original_sizes = torch.tensor(sizes, device=inputs.image_sizes.device)
    detections = to_original_frame(detector.predict(inputs)[0], inputs.image_sizes, original_sizes)
    thresholds = minimum.to(detections.scores)[detections.labels.clamp(min=0)]
    is_kept = (detections.labels > 0) & (detections.scores >= thresholds)
    return [
        Detections._make(None if part is None else part[slot : slot + 1, is_kept[slot]] for part in detections)
        for slot in range(len(sizes))
    ]


def _detect_in_batches(
    detector: Predictor,
    images: Sequence[Tensor],
    minimum: Tensor,
    batch_size: int,
    resize: Callable[[Tensor], Tensor],
) -> list[Detections]:
    """Batch images of equal padded size, so that a batch pads no image further than alone."""
    results: dict[int, Detections] = {}
    waiting: dict[tuple[int, int], dict[int, Tensor]] = {}

    def run(batch: dict[int, Tensor]) -> None:
        members = [images[number] for number in batch]
        inputs = inputs_of(detector, members, list(batch.values()))
        found = detect_batch(detector, inputs, _sizes(members), minimum)
        results.update(zip(batch, found, strict=True))
        batch.clear()

    for number, image in enumerate(images):
        resized = resize(image)
        batch = waiting.setdefault(detector.preprocessing.padded_size(*resized.shape[-2:]), {})
        batch[number] = resized
        if len(batch) == batch_size:
            run(batch)
    for batch in waiting.values():
        if batch:
            run(batch)
    return [results[number] for number in range(len(images))]


def _sizes(images: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return height and width of each image, pixels."""
    return [(image.shape[-2], image.shape[-1]) for image in images]
