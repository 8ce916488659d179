"""Detections of our detector's exported files, as runners like those of the detectors in this process."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lightning_rcnn.bench.detectors.scene import Scene
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.export.exporting import FORMATS, FormatName, choose_format
from lightning_rcnn.export.program import Runner
from lightning_rcnn.masks.paste import PasteRule, paste_densely
from lightning_rcnn.structures import Detections


def exported_detections(
    detector: Detector, scene: Scene, formats: Sequence[FormatName]
) -> Iterator[tuple[FormatName, Callable[[], object]]]:
    """Export a detector, and yield each format with what runs its file on the scene.

    Args:
        detector: the detector, in evaluation mode and on the device to measure.
        scene: batch; the files are compared with the detector on its first image.
        formats: formats.

    Raises:
        InputError: a format needs a package or a compiler, or the detector cannot be exported.
    """
    for name in formats:
        choose_format(Path(), name)
    for name in formats:
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"detector.{name}"
            detector.export(path, name, scene.images[0].cpu())
            run, _ = FORMATS[name].open(path)
        yield name, _detection(run, detector, scene)


def paste_all(detections: Detections, size: Sequence[int], paste: PasteRule) -> object:
    """Return detections with their masks pasted into images of this size (height, width), if they have masks."""
    if detections.masks is None:
        return detections
    images = zip(detections.masks, detections.boxes, detections.labels > 0, strict=True)
    return detections, [
        paste_densely(masks[is_there], boxes[is_there], size[0], size[1], paste) for masks, boxes, is_there in images
    ]


def _detection(run: Runner, detector: Detector, scene: Scene) -> Callable[[], object]:
    inputs, size = scene.inputs(), scene.images.shape[-2:]
    arguments = (inputs.images, inputs.image_sizes, inputs.image_sizes)

    def detect() -> object:
        with torch.inference_mode():
            found = run(arguments)
            detections = Detections(found["boxes"], found["scores"], found["labels"], found.get("masks"))
            return paste_all(detections, size, detector.mask_paste)

    return detect
